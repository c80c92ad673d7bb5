//! Names of the journal's metrics and spans.
//!
//! Metrics go to whatever recorder the process installed for the [`metrics`] crate; without one they cost next to nothing.
//! They are recorded by [`GroupCommit`](crate::GroupCommit), which sees every write and read of a node; those of keys by who keeps them.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_journal_appended_events` | counter | events | stored and acknowledged |
//! | `annals_journal_appended_bytes` | counter | bytes | payloads of these |
//! | `annals_journal_batch_entries` | histogram | entries | appends, claims and verifications of one commit |
//! | `annals_journal_commit_seconds` | histogram | seconds | from handing a batch to the backend to its answers |
//! | `annals_journal_queue_entries` | gauge | entries | waiting for the commit on its way |
//! | `annals_journal_conflicts` | counter | entries | not stored: someone else wrote |
//! | `annals_journal_fencings` | counter | entries | not stored: a newer epoch owns the id |
//! | `annals_journal_superseded` | counter | entries | not stored: a newer activation claimed the id |
//! | `annals_journal_rejected` | counter | entries | not stored: refused for what they are |
//! | `annals_journal_unknown` | counter | entries | outcome unknown |
//! | `annals_journal_unavailable` | counter | entries | not stored: the backend could not be asked |
//! | `annals_journal_corrupt` | counter | entries | not decided: what is stored cannot be read |
//! | `annals_journal_key_errors` | counter | entries | not stored: a key is missing or wrong |
//! | `annals_journal_erased` | counter | entries | not stored: the id was erased |
//! | `annals_journal_replayed_events` | counter | events | given by replays |
//! | `annals_journal_deletions` | counter | calls | deletions that were acknowledged |
//! | `annals_journal_readers_held_seconds` | gauge | seconds | for how long readers have been held up by transactions that are open on the PostgreSQL server; 0: they are not |
//! | `annals_keys_refusals` | counter | looks | newer master keys that cannot be used: those from before stay in use |
//! | `annals_keys_rewrapped` | counter | keys | data keys that a rotation in this process rewrapped |
//! | `annals_keys_resealed` | counter | events, snapshots | those that a rekeying or an encrypting in this process sealed |
//!
//! | span | fields | what |
//! |---|---|---|
//! | `annals.persist` | `entries`, `events`, `bytes`, `persistence_id`, `seq_nr` (of the first entry: its head when it is stored) | one commit |

use metrics::{Counter, Gauge, Histogram};

use crate::JournalError;

/// Events that were stored and acknowledged.
pub const APPENDED_EVENTS: &str = "annals_journal_appended_events";
/// Payload bytes of these events.
pub const APPENDED_BYTES: &str = "annals_journal_appended_bytes";
/// Entries of one commit.
pub const BATCH_ENTRIES: &str = "annals_journal_batch_entries";
/// How long a commit took, in seconds.
pub const COMMIT_SECONDS: &str = "annals_journal_commit_seconds";
/// Entries that wait for the commit on its way.
pub const QUEUE_ENTRIES: &str = "annals_journal_queue_entries";
/// Entries that lost to another writer.
pub const CONFLICTS: &str = "annals_journal_conflicts";
/// Entries of an epoch that no longer owns the id.
pub const FENCINGS: &str = "annals_journal_fencings";
/// Entries of an activation that is no longer the newest.
pub const SUPERSEDED: &str = "annals_journal_superseded";
/// Entries that were refused for what they are.
pub const REJECTED: &str = "annals_journal_rejected";
/// Entries whose outcome is unknown.
pub const UNKNOWN: &str = "annals_journal_unknown";
/// Entries that were not stored because the backend could not be asked.
pub const UNAVAILABLE: &str = "annals_journal_unavailable";
/// Entries that could not be decided because stored bytes cannot be read.
pub const CORRUPT: &str = "annals_journal_corrupt";
/// Entries that were not stored because a key is missing or wrong.
pub const KEY_ERRORS: &str = "annals_journal_key_errors";
/// Entries of an id that was erased.
pub const ERASED: &str = "annals_journal_erased";
/// Events that replays gave.
pub const REPLAYED_EVENTS: &str = "annals_journal_replayed_events";
/// Deletions that were acknowledged.
pub const DELETIONS: &str = "annals_journal_deletions";
/// For how long readers have been held up by transactions that are open on the PostgreSQL server, in seconds.
pub const READERS_HELD_SECONDS: &str = "annals_journal_readers_held_seconds";
/// Looks at newer master keys that cannot be used.
pub const KEY_REFUSALS: &str = "annals_keys_refusals";
/// Data keys that a rotation rewrapped.
pub const REWRAPPED_KEYS: &str = "annals_keys_rewrapped";
/// Events and snapshots that a rekeying or an encrypting sealed anew.
pub const RESEALED: &str = "annals_keys_resealed";
/// Span around one commit.
pub const PERSIST_SPAN: &str = "annals.persist";

/// Handles of the metrics above, made once: recording looks nothing up and allocates nothing.
pub(crate) struct JournalMetrics {
    pub(crate) appended_events: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) batch_entries: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) queue_entries: Gauge,
    pub(crate) replayed_events: Counter,
    pub(crate) deletions: Counter,
    conflicts: Counter,
    fencings: Counter,
    superseded: Counter,
    rejected: Counter,
    unknown: Counter,
    unavailable: Counter,
    corrupt: Counter,
    key_errors: Counter,
    erased: Counter,
}

impl JournalMetrics {
    pub(crate) fn new() -> Self {
        Self {
            appended_events: metrics::counter!(APPENDED_EVENTS),
            appended_bytes: metrics::counter!(APPENDED_BYTES),
            batch_entries: metrics::histogram!(BATCH_ENTRIES),
            commit_seconds: metrics::histogram!(COMMIT_SECONDS),
            queue_entries: metrics::gauge!(QUEUE_ENTRIES),
            replayed_events: metrics::counter!(REPLAYED_EVENTS),
            deletions: metrics::counter!(DELETIONS),
            conflicts: metrics::counter!(CONFLICTS),
            fencings: metrics::counter!(FENCINGS),
            superseded: metrics::counter!(SUPERSEDED),
            rejected: metrics::counter!(REJECTED),
            unknown: metrics::counter!(UNKNOWN),
            unavailable: metrics::counter!(UNAVAILABLE),
            corrupt: metrics::counter!(CORRUPT),
            key_errors: metrics::counter!(KEY_ERRORS),
            erased: metrics::counter!(ERASED),
        }
    }

    /// Counts an entry that was answered with an error.
    pub(crate) fn failed(&self, error: &JournalError) {
        match error {
            JournalError::Conflict { .. } => &self.conflicts,
            JournalError::Fenced { .. } => &self.fencings,
            JournalError::Superseded { .. } => &self.superseded,
            JournalError::Rejected { .. } => &self.rejected,
            JournalError::Unknown { .. } => &self.unknown,
            JournalError::Unavailable { .. } => &self.unavailable,
            JournalError::Corrupt { .. } => &self.corrupt,
            JournalError::Key { .. } => &self.key_errors,
            JournalError::Erased { .. } => &self.erased,
        }
        .increment(1);
    }
}
