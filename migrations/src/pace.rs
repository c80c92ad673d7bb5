use std::time::{Duration, Instant};

/// Slows a sweep down to so many events a second.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    per_second: Option<u32>,
    done: u64,
}

impl Pace {
    pub(crate) fn new(per_second: Option<u32>, now: Instant) -> Self {
        Self { began: now, per_second, done: 0 }
    }

    /// How long to wait after so many more.
    pub(crate) fn after(&mut self, more: u64, now: Instant) -> Duration {
        self.done += more;
        let Some(rate) = self.per_second else { return Duration::ZERO };
        #[allow(clippy::cast_precision_loss, reason = "a duration, not a count")]
        let due = Duration::from_secs_f64(self.done as f64 / f64::from(rate.max(1)));
        due.saturating_sub(now.saturating_duration_since(self.began))
    }

    pub(crate) async fn wait_after(&mut self, more: u64) {
        let wait = self.after(more, Instant::now());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_is_ahead_waits_and_one_that_is_behind_does_not() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(100), now);
        assert_eq!(pace.after(50, now), Duration::from_millis(500));
        assert_eq!(pace.after(50, now + Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(Pace::new(None, now).after(1_000_000, now), Duration::ZERO);
    }
}
