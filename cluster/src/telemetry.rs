//! Names of the cluster's metrics.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_shutdown_phase_seconds` | histogram | seconds | a phase of coordinated shutdown took; label `phase` |
//! | `annals_shutdown_unfinished_tasks` | counter | tasks | of coordinated shutdown that failed or were not done in time; label `phase` |

/// A phase of coordinated shutdown took, by `phase`.
pub const SHUTDOWN_PHASE_SECONDS: &str = "annals_shutdown_phase_seconds";
/// Tasks of coordinated shutdown that failed or were not done in time, by `phase`.
pub const SHUTDOWN_UNFINISHED_TASKS: &str = "annals_shutdown_unfinished_tasks";
