use annals_journal::{JournalError, WriterId};
use annals_snapshot::SnapshotError;

use crate::{Form, MemberError};

/// Why a rewriting ended early. What it has replaced stays replaced; start it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The snapshots cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The journal's records of versions cannot be asked, or do not let it take part.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Somebody who runs could not read what would be written.
    #[error("nothing is written as {form}: {reason}")]
    Refused {
        /// What would be written.
        form: Form,
        /// Who, and what to do.
        reason: String,
    },
    /// Somebody who runs could store again what would be removed.
    #[error("{form} would not be gone: {reason}")]
    InTheWay {
        /// What would be removed; of several the first.
        form: Form,
        /// Who, and what to do.
        reason: String,
    },
    /// What would be lost is in the memory of somebody who runs.
    #[error(
        "nothing is rewritten that loses something while process {node:?} ({id}) hosts kind {kind:?}: what it has in memory would not be what \
         is stored; stop it"
    )]
    Hosted {
        /// The name of the process.
        node: String,
        /// Its id.
        id: WriterId,
        /// The kind.
        kind: String,
    },
    /// It was away for longer than its lease, so that others did not count with it.
    #[error("the rewriting was away for longer than its lease of {0:?}: run it again, it does the rest")]
    Away(std::time::Duration),
    /// An event is not what it was to be.
    #[error(
        "{of} events were looked at again, and they are not what they were to be: somebody has replaced events meanwhile, or the store has \
         not kept them; run it again"
    )]
    Different {
        /// How many.
        of: u64,
    },
}
