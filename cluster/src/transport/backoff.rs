use std::time::Duration;

/// How long to wait before a peer is tried again: twice as long each time, up to a bound, and spread, so that nodes that lost one peer
/// together do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, failures: 0 }
    }

    /// After one more failure; `chance` from 0 to 1,000 spreads it over the upper half.
    pub(crate) fn failed(&mut self, chance: u32) -> Duration {
        let pause = self.least.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        pause / 2 + pause / 2 * chance.min(1_000) / 1_000
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again_after_success() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(100), millis(1_000));
        let pauses: Vec<_> = (0..6).map(|_| backoff.failed(1_000).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.failed(0), millis(500));
        backoff.succeeded();
        assert_eq!(backoff.failed(500), millis(75));
    }

    #[test]
    fn years_of_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        for _ in 0..100_000 {
            backoff.failed(1_000);
        }
    }
}
