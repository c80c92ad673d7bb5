use super::{InvalidRing, MasterKeyError, MasterKeyId, NoNewKey};
use crate::{JournalError, Timestamp, WriterId};

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
    /// The sources were not read.
    #[error("the master keys were not read: {reason}")]
    Unread {
        /// Why.
        reason: String,
    },
    /// There is no source of master keys at all.
    #[error("no source of master keys is named; name one, such as file:ring.json")]
    NoSource,
    /// The journal knows no such passphrase, and may not take it for a new one.
    #[error(
        "{place}: this journal knows no such passphrase; correct it, or name the source of the active key behind it, to rotate to a new one"
    )]
    UnknownPassphrase {
        /// The source.
        place: String,
    },
    /// Processes that are running have not announced the key to which a rotation is to move.
    #[error(
        "{} did not announce master key {id} yet, to which this rotation moves; give them a ring that has it (they read it every few seconds), or wait until a process that is gone counts as gone, or force the rotation",
        processes(.missing)
    )]
    NotAnnounced {
        /// The key.
        id: MasterKeyId,
        /// Who does not have it, and until when each counts as running.
        missing: Vec<(WriterId, Timestamp)>,
    },
    /// Another rotation moved on to another key while this one ran.
    #[error(
        "master key {active} became the active one while data keys were rewrapped under {to}; the other rotation goes on"
    )]
    RotatedElsewhere {
        /// The key of this rotation.
        to: MasterKeyId,
        /// The key that is active now.
        active: MasterKeyId,
    },
    /// The keys were opened for reading.
    #[error("the keys were opened for reading: nothing is changed with them")]
    ForReading,
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

fn processes(missing: &[(WriterId, Timestamp)]) -> String {
    let named: Vec<_> = missing
        .iter()
        .map(|(process, until)| format!("process {process} (running until {until} at least)"))
        .collect();
    named.join(", ")
}

fn list(ids: &[MasterKeyId]) -> String {
    ids.iter().map(MasterKeyId::to_string).collect::<Vec<_>>().join(", ")
}
