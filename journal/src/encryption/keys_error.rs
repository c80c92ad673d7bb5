use super::{InvalidRing, MasterKeyError, MasterKeyId, NoNewKey};
use crate::JournalError;

/// Why a journal's keys cannot be used; never has a part of a key in it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The ring's file or variable cannot be read.
    #[error("{place}: {reason}")]
    Unreadable {
        /// The source.
        place: String,
        /// Why.
        reason: String,
    },
    /// What was read is no ring.
    #[error("{place}: {error}")]
    InvalidRing {
        /// The source.
        place: String,
        /// What is wrong with it.
        error: InvalidRing,
    },
    /// Data keys of the journal need master keys that are not here.
    #[error("data keys of this journal need master key {}, which the ring here does not have; add it", list(.ids))]
    MissingMasterKeys {
        /// Which, by number.
        ids: Vec<MasterKeyId>,
    },
    /// The key here is another one than the journal knows under this number.
    #[error(
        "master key {id} of the ring here is not the one that this journal knows under this number; put the right one there, or give the new key a new number"
    )]
    WrongMasterKey {
        /// Which.
        id: MasterKeyId,
    },
    /// A master key did not do what it was asked.
    #[error("{what}: {error}")]
    MasterKey {
        /// Whose key was to be wrapped or opened.
        what: String,
        /// Why not.
        error: MasterKeyError,
    },
    /// No key could be made.
    #[error(transparent)]
    NoNewKey(#[from] NoNewKey),
    /// Others change the same records all the time.
    #[error("{what} changed again and again while it was to be changed; try again")]
    Busy {
        /// Which record.
        what: String,
    },
    /// The journal's records could not be read or changed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl KeysError {
    /// The same for who asked the journal.
    pub(super) fn into_journal(self, what: &str) -> JournalError {
        match self {
            Self::Journal(error) => error,
            Self::Busy { .. } | Self::MasterKey { error: MasterKeyError::Unavailable { .. }, .. } => {
                JournalError::Unavailable { reason: self.to_string(), source: None }
            }
            Self::MasterKey { error, .. } => JournalError::key(what, error.to_string()),
            other => JournalError::key(what, other.to_string()),
        }
    }
}

fn list(ids: &[MasterKeyId]) -> String {
    ids.iter().map(MasterKeyId::to_string).collect::<Vec<_>>().join(", ")
}
