//! Names of the cluster's metrics.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_shutdown_phase_seconds` | histogram | seconds | a phase of coordinated shutdown took; label `phase` |
//! | `annals_shutdown_unfinished_tasks` | counter | tasks | of coordinated shutdown that failed or were not done in time; label `phase` |
//! | `annals_cluster_members` | gauge | members | that this node knows; 0: it is in no cluster |
//! | `annals_cluster_unreachable_members` | gauge | members | of them that somebody finds unreachable |
//! | `annals_cluster_decisions` | counter | decisions | about unreachable members that this node took |
//! | `annals_cluster_sent_messages` | counter | messages | written to a peer; labels `peer`, `lane` |
//! | `annals_cluster_sent_bytes` | counter | bytes | the same with frames, before TLS; labels `peer`, `lane` |
//! | `annals_cluster_received_messages` | counter | messages | of a peer; labels `peer`, `lane` |
//! | `annals_cluster_received_bytes` | counter | bytes | the same with frames, after TLS; labels `peer`, `lane` |
//! | `annals_cluster_queued_messages` | gauge | messages | wait to be written to a peer; labels `peer`, `lane` |
//! | `annals_cluster_dropped` | counter | messages | not written; labels `lane`, `reason` |
//! | `annals_cluster_undelivered` | counter | messages | told by other nodes, that no actor here got; label `reason` |
//! | `annals_cluster_failed_connections` | counter | connections | that could not be made; label `reason` |
//! | `annals_cluster_refused_connections` | counter | connections | of others that were not taken; label `reason` |
//! | `annals_cluster_failed_reloads` | counter | looks | at certificates, keys, roots or secrets that cannot be used: those from before stay in use |

/// A phase of coordinated shutdown took, by `phase`.
pub const SHUTDOWN_PHASE_SECONDS: &str = "annals_shutdown_phase_seconds";
/// Tasks of coordinated shutdown that failed or were not done in time, by `phase`.
pub const SHUTDOWN_UNFINISHED_TASKS: &str = "annals_shutdown_unfinished_tasks";
/// Members that this node knows.
pub const MEMBERS: &str = "annals_cluster_members";
/// Members that somebody finds unreachable.
pub const UNREACHABLE_MEMBERS: &str = "annals_cluster_unreachable_members";
/// Decisions about unreachable members that this node took.
pub const DECISIONS: &str = "annals_cluster_decisions";
/// Messages written to a peer, by `peer` and `lane`.
pub const SENT_MESSAGES: &str = "annals_cluster_sent_messages";
/// Bytes written to a peer, by `peer` and `lane`.
pub const SENT_BYTES: &str = "annals_cluster_sent_bytes";
/// Messages of a peer, by `peer` and `lane`.
pub const RECEIVED_MESSAGES: &str = "annals_cluster_received_messages";
/// Bytes of a peer, by `peer` and `lane`.
pub const RECEIVED_BYTES: &str = "annals_cluster_received_bytes";
/// Messages that wait to be written to a peer, by `peer` and `lane`.
pub const QUEUED_MESSAGES: &str = "annals_cluster_queued_messages";
/// Messages that were not written, by `lane` and `reason`.
pub const DROPPED: &str = "annals_cluster_dropped";
/// Messages of other nodes that no actor here got, by `reason`.
pub const UNDELIVERED: &str = "annals_cluster_undelivered";
/// Connections that could not be made, by `reason`.
pub const FAILED_CONNECTIONS: &str = "annals_cluster_failed_connections";
/// Connections of others that were not taken, by `reason`.
pub const REFUSED_CONNECTIONS: &str = "annals_cluster_refused_connections";
/// Looks at certificates, keys, roots or secrets that cannot be used.
pub const FAILED_RELOADS: &str = "annals_cluster_failed_reloads";
