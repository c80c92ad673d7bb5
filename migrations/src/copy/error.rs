use annals_journal::{JournalError, PersistenceId};
use annals_snapshot::SnapshotError;

/// Why a copy ended early. It is started again and goes on, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A snapshot cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The target has something that is not of this copy.
    #[error("{to} is not empty, and is no copy of {from} that was begun: name a journal that does not exist")]
    NotEmpty {
        /// The source.
        from: String,
        /// The target.
        to: String,
    },
    /// The gate of one side is another than it should be.
    #[error("{name}: {reason}")]
    Closed {
        /// Which side.
        name: String,
        /// What its gate says.
        reason: String,
    },
    /// Somebody else has changed the gate meanwhile: another copy, or one that gives it up.
    #[error(
        "somebody else has changed the gate of {name} meanwhile: run only one copy at a time, and look with --dry-run"
    )]
    Raced {
        /// Which side.
        name: String,
    },
    /// An id's events in the target are not those of the source, and cannot be made so. The source is open again.
    #[error("{persistence_id} is not the same in both journals: {reason}")]
    Different {
        /// Which id.
        persistence_id: PersistenceId,
        /// What is different.
        reason: String,
    },
}
