//! Names of the snapshots' metrics and spans.
//!
//! Metrics go to whatever recorder the process installed for the [`metrics`] crate. All are recorded by
//! [`SnapshotKeeper`](crate::SnapshotKeeper), so one keeper a node sees them all.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_snapshot_saved` | counter | snapshots | stored and acknowledged |
//! | `annals_snapshot_save_failures` | counter | snapshots | not stored, or not known to be; the entity goes on and tries again |
//! | `annals_snapshot_save_seconds` | histogram | seconds | from handing a snapshot to the store to its answer, failures too |
//! | `annals_snapshot_bytes` | histogram | bytes | payloads that were stored |
//! | `annals_snapshot_load_seconds` | histogram | seconds | loading the newest readable snapshot |
//! | `annals_snapshot_unreadable` | counter | snapshots | met in a load and passed over: damaged, of a newer format, or of another history |
//! | `annals_snapshot_pruned` | counter | snapshots | deleted by retention |
//! | `annals_snapshot_pruned_events` | counter | events | deleted by retention |
//! | `annals_snapshot_prune_failures` | counter | runs | retention that could not do all that it should; the next save does |
//! | `annals_snapshot_prunes_held` | counter | runs | events were kept because a registered reader has not passed them |
//!
//! | span | fields | what |
//! |---|---|---|
//! | `annals.snapshot.save` | `persistence_id`, `seq_nr`, `bytes` | saving one snapshot and the retention after it |
//! | `annals.snapshot.load` | `persistence_id`, `at_most` | loading the newest readable snapshot |

use metrics::{Counter, Histogram};

/// Snapshots that were stored.
pub const SAVED: &str = "annals_snapshot_saved";
/// Snapshots that were not stored, or not known to be.
pub const SAVE_FAILURES: &str = "annals_snapshot_save_failures";
/// How long a save took, in seconds.
pub const SAVE_SECONDS: &str = "annals_snapshot_save_seconds";
/// Payload bytes of a stored snapshot.
pub const BYTES: &str = "annals_snapshot_bytes";
/// How long a load took, in seconds.
pub const LOAD_SECONDS: &str = "annals_snapshot_load_seconds";
/// Snapshots that a load passed over.
pub const UNREADABLE: &str = "annals_snapshot_unreadable";
/// Snapshots that retention deleted.
pub const PRUNED: &str = "annals_snapshot_pruned";
/// Events that retention deleted.
pub const PRUNED_EVENTS: &str = "annals_snapshot_pruned_events";
/// Retention that could not do all that it should.
pub const PRUNE_FAILURES: &str = "annals_snapshot_prune_failures";
/// Retention that kept events for a reader.
pub const PRUNES_HELD: &str = "annals_snapshot_prunes_held";
/// Span around saving one snapshot.
pub const SAVE_SPAN: &str = "annals.snapshot.save";
/// Span around loading one.
pub const LOAD_SPAN: &str = "annals.snapshot.load";

/// Handles of the metrics above, made once.
pub(crate) struct SnapshotMetrics {
    pub(crate) saved: Counter,
    pub(crate) save_failures: Counter,
    pub(crate) save_seconds: Histogram,
    pub(crate) bytes: Histogram,
    pub(crate) load_seconds: Histogram,
    pub(crate) unreadable: Counter,
    pub(crate) pruned: Counter,
    pub(crate) pruned_events: Counter,
    pub(crate) prune_failures: Counter,
    pub(crate) prunes_held: Counter,
}

impl SnapshotMetrics {
    pub(crate) fn new() -> Self {
        Self {
            saved: metrics::counter!(SAVED),
            save_failures: metrics::counter!(SAVE_FAILURES),
            save_seconds: metrics::histogram!(SAVE_SECONDS),
            bytes: metrics::histogram!(BYTES),
            load_seconds: metrics::histogram!(LOAD_SECONDS),
            unreadable: metrics::counter!(UNREADABLE),
            pruned: metrics::counter!(PRUNED),
            pruned_events: metrics::counter!(PRUNED_EVENTS),
            prune_failures: metrics::counter!(PRUNE_FAILURES),
            prunes_held: metrics::counter!(PRUNES_HELD),
        }
    }
}
