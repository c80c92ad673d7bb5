use std::fmt;

/// Number of an event within its persistence id; the first event has number 1.
///
/// [`SeqNr::ZERO`] is no event's number: it is the head of an id that has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeqNr(u64);

impl SeqNr {
    /// Before the first event.
    pub const ZERO: Self = Self(0);
    /// The first event's number.
    pub const FIRST: Self = Self(1);
    /// The highest number that every backend can store.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The number, or `None` above [`SeqNr::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next number; stays at [`SeqNr::MAX`].
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number before; stays at [`SeqNr::ZERO`].
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The number `count` further; stays at [`SeqNr::MAX`].
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        let sum = self.0.saturating_add(count);
        if sum > Self::MAX.0 { Self::MAX } else { Self(sum) }
    }
}

impl fmt::Display for SeqNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SeqNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
