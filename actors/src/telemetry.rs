//! Names of the actors' metrics and spans.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_actor_commands` | counter | commands | taken from mailboxes |
//! | `annals_actor_rejections` | counter | commands | answered with a rejection of the domain |
//! | `annals_actor_failures` | counter | commands | answered with a failure: certainly not carried out |
//! | `annals_actor_unknown_outcomes` | counter | commands | answered that nobody knows |
//! | `annals_actor_mailbox_depth` | gauge | commands | wait in mailboxes |
//! | `annals_actor_held_replies` | gauge | commands | decided, waiting for the disk |
//! | `annals_actor_active_entities` | gauge | entities | in memory |
//! | `annals_actor_restarts` | counter | restarts | states thrown away; label `reason` |
//! | `annals_actor_fencings` | counter | entities | stopped because a newer owner took them |
//! | `annals_actor_passivations` | counter | entities | left memory because they were idle or asked to |
//! | `annals_actor_recoveries` | counter | recoveries | ended well |
//! | `annals_actor_recovery_failures` | counter | recoveries | given up: an operator must look |
//! | `annals_actor_recovery_seconds` | histogram | seconds | from the claim to ready |
//! | `annals_actor_recovered_events` | counter | events | replayed by recoveries |
//!
//! | span | fields | what |
//! |---|---|---|
//! | `annals.command` | `persistence_id`, `command`, `seq_nr` (the head it is decided on) | one decision (level debug) |
//! | `annals.recovery` | `persistence_id`, `seq_nr` (the head that was claimed) | one recovery |

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::entity::RestartReason;

/// Commands taken from mailboxes.
pub const COMMANDS: &str = "annals_actor_commands";
/// Commands that the domain rejected.
pub const REJECTIONS: &str = "annals_actor_rejections";
/// Commands that were certainly not carried out.
pub const FAILURES: &str = "annals_actor_failures";
/// Commands of which nobody knows.
pub const UNKNOWN_OUTCOMES: &str = "annals_actor_unknown_outcomes";
/// Commands that wait in mailboxes.
pub const MAILBOX_DEPTH: &str = "annals_actor_mailbox_depth";
/// Commands that were decided and wait for the disk.
pub const HELD_REPLIES: &str = "annals_actor_held_replies";
/// Entities in memory.
pub const ACTIVE_ENTITIES: &str = "annals_actor_active_entities";
/// States that were thrown away, by `reason`.
pub const RESTARTS: &str = "annals_actor_restarts";
/// Entities that a newer owner took.
pub const FENCINGS: &str = "annals_actor_fencings";
/// Entities that left memory.
pub const PASSIVATIONS: &str = "annals_actor_passivations";
/// Recoveries that ended well.
pub const RECOVERIES: &str = "annals_actor_recoveries";
/// Recoveries that were given up.
pub const RECOVERY_FAILURES: &str = "annals_actor_recovery_failures";
/// From claim to ready, in seconds.
pub const RECOVERY_SECONDS: &str = "annals_actor_recovery_seconds";
/// Events that recoveries replayed.
pub const RECOVERED_EVENTS: &str = "annals_actor_recovered_events";
/// Span around one decision.
pub const COMMAND_SPAN: &str = "annals.command";
/// Span around one recovery.
pub const RECOVERY_SPAN: &str = "annals.recovery";

/// Handles, made once a node, so that the hot path looks nothing up.
pub(crate) struct ActorMetrics {
    pub(crate) commands: Counter,
    pub(crate) rejections: Counter,
    pub(crate) failures: Counter,
    pub(crate) unknown_outcomes: Counter,
    pub(crate) mailbox_depth: Gauge,
    pub(crate) held_replies: Gauge,
    pub(crate) active_entities: Gauge,
    pub(crate) fencings: Counter,
    pub(crate) passivations: Counter,
    pub(crate) recoveries: Counter,
    pub(crate) recovery_failures: Counter,
    pub(crate) recovery_seconds: Histogram,
    pub(crate) recovered_events: Counter,
}

impl ActorMetrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: counter!(COMMANDS),
            rejections: counter!(REJECTIONS),
            failures: counter!(FAILURES),
            unknown_outcomes: counter!(UNKNOWN_OUTCOMES),
            mailbox_depth: gauge!(MAILBOX_DEPTH),
            held_replies: gauge!(HELD_REPLIES),
            active_entities: gauge!(ACTIVE_ENTITIES),
            fencings: counter!(FENCINGS),
            passivations: counter!(PASSIVATIONS),
            recoveries: counter!(RECOVERIES),
            recovery_failures: counter!(RECOVERY_FAILURES),
            recovery_seconds: histogram!(RECOVERY_SECONDS),
            recovered_events: counter!(RECOVERED_EVENTS),
        }
    }

    /// Restarts are rare: the handle is looked up.
    pub(crate) fn restarted(&self, reason: RestartReason) {
        counter!(RESTARTS, "reason" => reason.label()).increment(1);
    }
}
