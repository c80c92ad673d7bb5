use std::time::Duration;

/// Whether commits are short of late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many were, one after the other, up to [`CALM`].
    short: u8,
}

impl Pace {
    /// Notes what a commit took.
    pub(super) fn observe(&mut self, took: Duration) {
        self.short = if took <= SHORT { CALM.min(self.short + 1) } else { 0 };
    }

    pub(super) fn is_quick(&self) -> bool {
        self.short == CALM
    }
}

/// What a worker of a runtime may spend on a commit. On a disk where it takes longer, the way to another thread and back is no
/// large part of it.
const SHORT: Duration = Duration::from_micros(400);
/// So many short ones make another one likely.
const CALM: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

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
