use crate::{KeyId, SeqNr, Timestamp};

/// What the store says about an id's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Nothing was ever sealed for the id.
    None,
    /// What was sealed since the last erasure, if there was one, can be opened.
    Live {
        /// Each generation and the first event that it may have sealed, by number; none when a new life was allowed, and has not begun.
        generations: Vec<(KeyId, SeqNr)>,
        /// What this generation and those before it sealed was erased: this is a new life.
        erased_to: Option<KeyId>,
    },
    /// The key was destroyed on purpose, or is about to be.
    Erased {
        /// The last generation that was.
        erased_to: KeyId,
        /// When.
        at: Timestamp,
    },
}
