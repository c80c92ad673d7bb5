use annals_journal::{JournalError, ReaderName, SeqNr};

use crate::SnapshotError;

/// What became of a snapshot and of the retention after it; all failures in it are logged and counted already.
#[derive(Debug, Clone)]
#[must_use = "a snapshot that was not saved is to be taken again"]
pub struct SaveReport {
    /// Whether the snapshot is stored.
    pub saved: Result<(), SnapshotError>,
    /// What was deleted after it; nothing when it was not saved.
    pub pruned: Pruned,
}

/// What retention deleted.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Events up to this number, if any were.
    pub events_to: Option<SeqNr>,
    /// Snapshots up to this number, if any were.
    pub snapshots_to: Option<SeqNr>,
    /// The reader for which events were kept that would have been deleted.
    pub held_for: Option<ReaderName>,
    /// Why not all was done that should have been.
    pub failure: Option<PruneFailure>,
}

/// Why retention did not do all that it should; the next save tries again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PruneFailure {
    /// The snapshot store did not list, load or delete.
    #[error("{0}")]
    Snapshots(#[source] SnapshotError),
    /// The journal did not answer or delete.
    #[error("{0}")]
    Events(#[source] JournalError),
    /// The snapshot that should cover the deleted events cannot be relied on, so they stay.
    #[error("events are kept, because snapshot {covered_by:?} cannot stand for them: {reason}")]
    NotCovered {
        /// Which snapshot.
        covered_by: SeqNr,
        /// What is wrong with it.
        reason: String,
    },
}
