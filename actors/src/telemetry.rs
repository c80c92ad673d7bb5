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
//! | `annals_actor_revision_deletion_failures` | counter | deletions | of older revisions of a durable state that failed; they are tried again |
//! | `annals_actor_given_up` | counter | entities | stopped because they panicked too often |
//! | `annals_actor_recovery_seconds` | histogram | seconds | from the claim to ready |
//! | `annals_actor_recovered_events` | counter | events | replayed by recoveries |
//! | `annals_actor_spawned` | counter | actors | plain actors that were spawned, children too |
//! | `annals_actor_running_actors` | gauge | actors | plain actors that have not terminated |
//! | `annals_actor_messages` | counter | messages | handled by plain actors, from mailboxes, stashes and timers |
//! | `annals_actor_waiting_messages` | gauge | messages | wait in mailboxes of plain actors |
//! | `annals_actor_stashed_messages` | gauge | messages | put aside by plain actors |
//! | `annals_actor_refused_messages` | counter | messages | given back to their senders because a mailbox was full |
//! | `annals_actor_dead_letters` | counter | messages | that reached nobody; label `reason` |
//! | `annals_actor_plain_failures` | counter | failures | of plain actors, by panic, error or escalation |
//! | `annals_actor_plain_restarts` | counter | restarts | of plain actors by their supervision |
//! | `annals_actor_escalations` | counter | failures | handed to the parent |
//! | `annals_actor_missed_events` | counter | events | of the event stream that a full subscriber missed |
//! | `annals_actor_breaker_opened` | counter | times | a circuit breaker opened; label `breaker` |
//! | `annals_actor_breaker_refusals` | counter | calls | that an open circuit breaker refused; label `breaker` |
//! | `annals_actor_written_version` | gauge | version | in which a manifest is written now, 0: not at all; label `manifest` |
//! | `annals_actor_held_version` | gauge | version | at which a manifest is held, -1: it is not, 0: it is not written at all; label `manifest` |
//! | `annals_actor_retries` | counter | tries | after a failed one, by `retry` |
//!
//! | span | fields | what |
//! |---|---|---|
//! | `annals.command` | `persistence_id`, `command`, `seq_nr` (the head it is decided on) | one decision (level debug) |
//! | `annals.recovery` | `persistence_id`, `seq_nr` (the head that was claimed) | one recovery |

use annals_journal::Manifest;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::entity::RestartReason;
use crate::plain::DeadLetterReason;

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
/// Deletions of older revisions that failed.
pub const REVISION_DELETION_FAILURES: &str = "annals_actor_revision_deletion_failures";
/// Entities that panicked too often.
pub const GIVEN_UP: &str = "annals_actor_given_up";
/// From claim to ready, in seconds.
pub const RECOVERY_SECONDS: &str = "annals_actor_recovery_seconds";
/// Events that recoveries replayed.
pub const RECOVERED_EVENTS: &str = "annals_actor_recovered_events";
/// Plain actors that were spawned.
pub const SPAWNED: &str = "annals_actor_spawned";
/// Plain actors that have not terminated.
pub const RUNNING_ACTORS: &str = "annals_actor_running_actors";
/// Messages that plain actors handled.
pub const MESSAGES: &str = "annals_actor_messages";
/// Messages that wait in mailboxes of plain actors.
pub const WAITING_MESSAGES: &str = "annals_actor_waiting_messages";
/// Messages that plain actors put aside.
pub const STASHED_MESSAGES: &str = "annals_actor_stashed_messages";
/// Messages that a full mailbox gave back.
pub const REFUSED_MESSAGES: &str = "annals_actor_refused_messages";
/// Messages that reached nobody, by `reason`.
pub const DEAD_LETTERS: &str = "annals_actor_dead_letters";
/// Failures of plain actors.
pub const ACTOR_FAILURES: &str = "annals_actor_plain_failures";
/// Restarts of plain actors.
pub const ACTOR_RESTARTS: &str = "annals_actor_plain_restarts";
/// Failures that were handed to the parent.
pub const ESCALATIONS: &str = "annals_actor_escalations";
/// Events that a full subscriber missed.
pub const MISSED_EVENTS: &str = "annals_actor_missed_events";
/// Times that circuit breakers opened, by `breaker`.
pub const BREAKER_OPENED: &str = "annals_actor_breaker_opened";
/// Calls that open circuit breakers refused, by `breaker`.
pub const BREAKER_REFUSALS: &str = "annals_actor_breaker_refusals";
/// The version in which a manifest is written now, by `manifest`.
pub const WRITTEN_VERSION: &str = "annals_actor_written_version";
/// The version at which a manifest is held, by `manifest`.
pub const HELD_VERSION: &str = "annals_actor_held_version";
/// Tries after a failed one.
pub const RETRIES: &str = "annals_actor_retries";
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
    pub(crate) revision_deletion_failures: Counter,
    pub(crate) given_up: Counter,
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
            revision_deletion_failures: counter!(REVISION_DELETION_FAILURES),
            given_up: counter!(GIVEN_UP),
            recovery_seconds: histogram!(RECOVERY_SECONDS),
            recovered_events: counter!(RECOVERED_EVENTS),
        }
    }

    /// Restarts are rare: the handle is looked up.
    pub(crate) fn restarted(&self, reason: RestartReason) {
        counter!(RESTARTS, "reason" => reason.label()).increment(1);
    }
}

/// Set at each renewal: the handle is looked up.
pub(crate) fn written_version(manifest: &Manifest) -> Gauge {
    gauge!(WRITTEN_VERSION, "manifest" => manifest.as_str().to_owned())
}

/// As [`written_version`].
pub(crate) fn version_held(manifest: &Manifest) -> Gauge {
    gauge!(HELD_VERSION, "manifest" => manifest.as_str().to_owned())
}

/// Handles of plain actors, made once a system.
pub(crate) struct PlainMetrics {
    pub(crate) spawned: Counter,
    pub(crate) running_actors: Gauge,
    pub(crate) messages: Counter,
    pub(crate) waiting_messages: Gauge,
    pub(crate) stashed_messages: Gauge,
    pub(crate) refused_messages: Counter,
    pub(crate) actor_failures: Counter,
    pub(crate) actor_restarts: Counter,
    pub(crate) escalations: Counter,
    pub(crate) missed_events: Counter,
}

impl PlainMetrics {
    pub(crate) fn new() -> Self {
        Self {
            spawned: counter!(SPAWNED),
            running_actors: gauge!(RUNNING_ACTORS),
            messages: counter!(MESSAGES),
            waiting_messages: gauge!(WAITING_MESSAGES),
            stashed_messages: gauge!(STASHED_MESSAGES),
            refused_messages: counter!(REFUSED_MESSAGES),
            actor_failures: counter!(ACTOR_FAILURES),
            actor_restarts: counter!(ACTOR_RESTARTS),
            escalations: counter!(ESCALATIONS),
            missed_events: counter!(MISSED_EVENTS),
        }
    }

    /// Dead letters are not meant to be many: the handle is looked up.
    pub(crate) fn dead_letter(&self, reason: DeadLetterReason) {
        counter!(DEAD_LETTERS, "reason" => reason.label()).increment(1);
    }
}

/// Counts how often the breaker of this name opened.
pub(crate) fn breaker_opened(name: &str) -> Counter {
    counter!(BREAKER_OPENED, "breaker" => name.to_owned())
}

/// Counts what the breaker of this name refused.
pub(crate) fn breaker_refused(name: &str) -> Counter {
    counter!(BREAKER_REFUSALS, "breaker" => name.to_owned())
}
