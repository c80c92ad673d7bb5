//! How long a test may go on, and the seed that makes it repeatable.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// When a test that could go on for ever must end.
pub(crate) fn deadline() -> Instant {
    let seconds = number("ANNALS_TIME_BUDGET_SECS").unwrap_or(15);
    Instant::now() + Duration::from_secs(seconds)
}

/// `ANNALS_SEED`, or a new one.
pub(crate) fn seed() -> u64 {
    number("ANNALS_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed") >> 16)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}
