use std::fmt;

use crate::InvalidName;

/// A place in a journal's order of events: nothing ever appears at or before an offset that a reader has passed.
///
/// Three numbers, compared from left to right; what they mean is the backend's own business, so offsets of
/// different journals have nothing to do with each other. SQLite and memory use the last one only, a backend
/// with transactions that overlap uses (generation, transaction, position). An offset is never used twice,
/// also after the newest events were deleted. Written `generation.major.minor`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset {
    /// Raised when a backend's own numbers start over.
    pub generation: u64,
    /// The coarse position.
    pub major: u64,
    /// The fine position.
    pub minor: u64,
}

impl Offset {
    /// Before the first event.
    pub const BEGINNING: Self = Self { generation: 0, major: 0, minor: 0 };

    /// An offset of a backend that numbers its events one by one.
    pub const fn of_position(position: u64) -> Self {
        Self { generation: 0, major: 0, minor: position }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.major, self.minor)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Offset {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::new("offset", text, "must be three numbers: generation.major.minor");
        let mut parts = text.split('.').map(|part| part.parse::<u64>().map_err(|_| wrong()));
        let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
        let offset = Self { generation: next()?, major: next()?, minor: next()? };
        if parts.next().is_some() { Err(wrong()) } else { Ok(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_survives_being_written_down() {
        let offset = Offset { generation: 1, major: 22, minor: 333 };
        assert_eq!(offset.to_string().parse(), Ok(offset));
        for bad in ["", "1", "1.2", "1.2.x", "1.2.3.4", "-1.0.0"] {
            assert!(bad.parse::<Offset>().is_err(), "{bad:?}");
        }
    }
}
