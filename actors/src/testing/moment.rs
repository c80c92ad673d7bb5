use std::sync::atomic::{AtomicU64, Ordering};

use annals_journal::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Clock, Ids};

/// The time of a test that sets none: 2026-01-01 00:00 UTC.
pub(super) const NEW_YEAR: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// A clock that stands.
#[derive(Debug)]
pub(super) struct Standing(pub(super) Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The ids that a test names, then numbered ones: the same in every run.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    named: Vec<Uuid>,
    used: AtomicU64,
}

impl Numbered {
    pub(super) fn first(named: Vec<Uuid>) -> Self {
        Self { named, used: AtomicU64::new(0) }
    }
}

impl Ids for Numbered {
    fn new_id(&self, now: Timestamp) -> Uuid {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        let named = usize::try_from(number).ok().and_then(|at| self.named.get(at));
        named.copied().unwrap_or_else(|| {
            let mut bytes = [0; 10];
            bytes[2..].copy_from_slice(&number.to_be_bytes());
            uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &bytes).into_uuid()
        })
    }
}

/// A clock that begins where a test says and goes on with tokio's time, which a test can pause and advance.
#[derive(Debug)]
pub(super) struct VirtualClock {
    start: Timestamp,
    began: Instant,
}

impl VirtualClock {
    pub(super) fn starting(start: Timestamp) -> Self {
        Self { start, began: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.began.elapsed())
    }
}

/// Ids that look random and are the same for the same seed.
#[derive(Debug)]
pub(super) struct Seeded {
    seed: u64,
    used: AtomicU64,
}

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, used: AtomicU64::new(0) }
    }

    /// SplitMix64: one step for each number drawn.
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let drawn = self.used.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut z = self.seed.wrapping_add(drawn.wrapping_mul(STEP));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Ids for Seeded {
    fn new_id(&self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.draw().to_be_bytes());
        bytes[8..].copy_from_slice(&self.draw().to_be_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &bytes).into_uuid()
    }
}
