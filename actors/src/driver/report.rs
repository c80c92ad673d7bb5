use annals_journal::PersistenceId;
use tracing::{debug, error, info, warn};

use crate::entity::Report;
use crate::node::Shared;

impl Report {
    /// Says it in log and metrics.
    pub(super) fn say(self, id: &PersistenceId, node: &Shared) {
        match self {
            Self::Restart { reason, held } => {
                node.metrics.restarted(reason);
                warn!(persistence_id = %id, reason = reason.label(), held, "state thrown away: claims and recovers");
            }
            Self::Panicked { reason, message, held, pause: Some(pause) } => {
                node.metrics.restarted(reason);
                let reason = reason.label();
                warn!(persistence_id = %id, reason, message, held, ?pause, "entity panicked: recovers, then commands wait");
            }
            Self::Panicked { reason, message, held, pause: None } => {
                node.metrics.given_up.increment(1);
                let reason = reason.label();
                error!(persistence_id = %id, reason, message, held, "entity panicked too often: refuses commands for a while");
            }
            Self::UnreadableSnapshot { seq_nr, reason } => node.snapshots.pass_over(id, seq_nr, &reason),
            Self::SnapshotStoreUnavailable(reason) => {
                warn!(persistence_id = %id, reason, "snapshot store unavailable: recovers from events");
            }
            Self::SnapshotNotTaken(reason) => {
                warn!(persistence_id = %id, reason, "no snapshot: its policy panicked, or the state cannot be encoded");
            }
            Self::JournalUnavailable(reason) => {
                warn!(persistence_id = %id, reason, "the journal cannot be asked: tries again");
            }
            Self::RecoveryFailed(reason) => {
                error!(persistence_id = %id, %reason, "recovery failed: restore or repair; the next command after a pause tries again");
            }
            Self::Erased => {
                info!(persistence_id = %id, "the entity was erased: its commands are refused until a new life is allowed");
            }
            Self::CallerGone => {
                debug!(persistence_id = %id, "a command was dropped: its caller had given up")
            }
        }
    }
}
