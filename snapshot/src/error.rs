use std::error::Error as StdError;

use annals_journal::{Cause, PersistenceId, SeqNr};

/// What went wrong with a snapshot, split by what the caller does next; none of it ever fails a command.
///
/// | variant | what to do |
/// |---|---|
/// | [`Unavailable`](Self::Unavailable) | go on; save or prune again at the next opportunity. In recovery: try again, or replay the events |
/// | [`Corrupt`](Self::Corrupt) | load below its number for an older one; with none left, replay the events |
/// | [`Rejected`](Self::Rejected) | make the state smaller or take no snapshots of it; the same one is refused again |
/// | [`Key`](Self::Key) | give the process the master key that the message names; then try again |
/// | [`Erased`](Self::Erased) | nothing: it was erased on purpose, and cannot be read again |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store cannot be asked now; whether a save or delete was done is not known.
    ///
    /// Both may be done again: a snapshot that was saved is replaced by itself.
    #[error("snapshot store unavailable: {reason}")]
    Unavailable {
        /// What happened, and what to do about it.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// This snapshot cannot be read; an older one may be.
    #[error("snapshot {seq_nr:?} of {persistence_id} is unreadable: {reason}")]
    Corrupt {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which snapshot.
        seq_nr: SeqNr,
        /// What is wrong.
        reason: String,
    },
    /// The store refuses it, and will refuse it again; nothing was stored, and nothing replaced.
    #[error("snapshot {seq_nr:?} of {persistence_id} rejected: {reason}")]
    Rejected {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which snapshot.
        seq_nr: SeqNr,
        /// Why, and what is allowed.
        reason: String,
    },
    /// A key that is needed to seal or to open it is not there, or is not the right one; nothing was stored.
    #[error("snapshot {seq_nr:?} of {persistence_id}: key: {reason}")]
    Key {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which snapshot.
        seq_nr: SeqNr,
        /// What is wrong with the key, and what to do about it.
        reason: String,
    },
    /// The data key was destroyed on purpose: the snapshot can never be read again.
    #[error("snapshot {seq_nr:?} of {persistence_id} was erased")]
    Erased {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which snapshot.
        seq_nr: SeqNr,
    },
}

impl SnapshotError {
    /// A store that cannot be asked, with its cause.
    pub fn unavailable(reason: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unavailable { reason: reason.into(), source: Some(Cause::new(source)) }
    }

    /// A stored snapshot that is not what was saved.
    pub fn corrupt(persistence_id: &PersistenceId, seq_nr: SeqNr, reason: impl ToString) -> Self {
        Self::Corrupt { persistence_id: persistence_id.clone(), seq_nr, reason: reason.to_string() }
    }

    /// The variant's name in lower case, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Corrupt { .. } => "corrupt",
            Self::Rejected { .. } => "rejected",
            Self::Key { .. } => "key",
            Self::Erased { .. } => "erased",
        }
    }
}
