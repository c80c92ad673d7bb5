use annals_journal::{Cause, PersistenceId, SeqNr};

/// What went wrong with a snapshot; none of it ever fails a command.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store cannot be asked now; whether a save or delete was done is not known. Try again at the next opportunity.
    #[error("snapshot store unavailable: {reason}")]
    Unavailable {
        /// What happened.
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
    /// The store refuses it, and will refuse it again.
    #[error("snapshot {seq_nr:?} of {persistence_id} rejected: {reason}")]
    Rejected {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which snapshot.
        seq_nr: SeqNr,
        /// Why, and what is allowed.
        reason: String,
    },
}
