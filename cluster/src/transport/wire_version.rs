use std::ops::RangeInclusive;

/// Versions of the wire that this build speaks: its own and the one before.
///
/// | version | what |
/// |---|---|
/// | 1 | each message names its recipient and its manifest |
/// | 2 | both are named once in a connection, and have a number from then on |
pub(crate) const SPOKEN: RangeInclusive<u32> = 1..=2;

/// The newest that both speak.
pub(crate) fn common(ours: &RangeInclusive<u32>, theirs: &RangeInclusive<u32>) -> Option<u32> {
    let newest = *ours.end().min(theirs.end());
    (newest >= *ours.start() && newest >= *theirs.start()).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_speak_the_newest_that_both_know() {
        assert_eq!(common(&(1..=2), &(1..=2)), Some(2));
        assert_eq!(common(&(1..=2), &(1..=1)), Some(1));
        assert_eq!(common(&(2..=3), &(1..=2)), Some(2));
        assert_eq!(common(&(3..=4), &(1..=2)), None);
        let (oldest, newest) = (5, 1);
        assert_eq!(common(&(1..=2), &(oldest..=newest)), None, "what a hostile peer may send");
    }
}
