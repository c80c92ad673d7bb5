use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out the numbers of tickets: each above all that were handed out or seen before, and near the time in microseconds.
///
/// Nothing rests on the time being right: a clock that is ahead takes the others with it, one that is behind is taken along.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: AtomicU64,
}

impl Clock {
    /// The next number, `now` if it can be.
    pub(super) fn next(&self, now: u64) -> u64 {
        let step = |last: u64| now.max(last + 1);
        let update = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(step(last)));
        step(update.unwrap_or_else(|last| last))
    }

    /// Takes a number along that somebody else has used.
    pub(super) fn observe(&self, seen: u64) {
        self.last.fetch_max(seen, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_whatever_the_time_does() {
        let clock = Clock::default();
        assert_eq!([clock.next(100), clock.next(90), clock.next(300)], [100, 101, 300]);
        clock.observe(1_000);
        clock.observe(5);
        assert_eq!([clock.next(400), clock.next(2_000)], [1_001, 2_000]);
    }
}
