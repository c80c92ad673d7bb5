use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Spreads what is done over time.
#[derive(Debug)]
pub(super) struct Pace {
    each: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many a second.
    pub(super) fn new(rate: NonZeroU32) -> Self {
        Self { each: Duration::from_secs(1) / rate.get(), next: Mutex::new(None) }
    }

    /// Waits until this many more may be done.
    pub(super) async fn wait(&self, count: u64) {
        let takes = self.each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = Some(at + takes);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}
