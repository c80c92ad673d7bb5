use std::time::Duration;

/// Whether commits are short of late, or slow.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many were short, one after the other, up to [`CALM`].
    short: u8,
    /// How many were slow, one after the other, up to [`CALM`].
    slow: u8,
}

impl Pace {
    /// Notes what a commit took.
    pub(super) fn observe(&mut self, took: Duration) {
        self.short = if took <= SHORT { CALM.min(self.short + 1) } else { 0 };
        self.slow = if took >= SLOW { CALM.min(self.slow + 1) } else { 0 };
    }

    /// Whether the disk takes long for an fsync.
    pub(super) fn is_slow(&self) -> bool {
        self.slow == CALM
    }

    pub(super) fn is_quick(&self) -> bool {
        self.short == CALM
    }
}

/// What a worker of a runtime may spend on a commit. On a disk where it takes longer, the way to another thread and back is no
/// large part of it.
const SHORT: Duration = Duration::from_micros(400);
/// A commit of hundreds of events takes less on a disk that is fast.
const SLOW: Duration = Duration::from_millis(4);
/// So many of a kind, one after the other, make another one likely.
const CALM: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_when_several_commits_were_and_no_longer_after_one_that_was_not() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            for _ in 0..CALM {
                assert!(!pace.is_slow());
                pace.observe(Duration::from_millis(6));
            }
            assert!(pace.is_slow());
            pace.observe(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_long_commit_makes_the_next_ones_wait_elsewhere() {
        let mut pace = Pace::default();
        assert!(!pace.is_quick());
        for _ in 0..2 {
            for _ in 0..10 {
                pace.observe(Duration::from_micros(150));
            }
            assert!(pace.is_quick());
            pace.observe(Duration::from_micros(900));
            for _ in 1..CALM {
                pace.observe(Duration::from_micros(150));
                assert!(!pace.is_quick());
            }
            pace.observe(Duration::from_micros(150));
            assert!(pace.is_quick());
        }
    }
}
