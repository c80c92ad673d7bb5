use std::fmt;

#[cfg(doc)]
use crate::{Journal, Write};

/// 32 bytes that a layer above the backend keeps beside an id's head, and that the backend does not look into.
///
/// They are changed with an append, in the same atomic step, or by [`Write::Mark`]; [`Head::mark`](crate::Head::mark) gives them back.
/// Encryption keeps there what authenticates the newest event.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; Self::BYTES]);

impl Mark {
    /// How many bytes a mark has.
    pub const BYTES: usize = 32;

    /// The mark with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// The conditional change of an id's mark: made only where the stored one is still `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkChange {
    /// The mark that must be stored; `None`: the id has none yet.
    pub from: Option<Mark>,
    /// The mark that takes its place.
    pub to: Mark,
}
