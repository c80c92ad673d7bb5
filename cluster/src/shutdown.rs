//! Coordinated shutdown: one order in which a process stops, with a deadline for each phase, for single nodes as for members of a cluster.
//!
//! ```text
//! SIGTERM, SIGINT, a call, downing, a failed join
//!    │ the first reason counts
//!    ▼
//! announce → stop accepting → drain → stop services → passivate → flush → leave → close ──→ report, exit code
//!    │ tasks of a phase run together; what is not done at its deadline is dropped, and the next phase begins
//!    └── a second signal: at once
//! ```
//!
//! [`CoordinatedShutdown::start`] listens for signals on a thread of its own, so that a runtime whose threads are all blocked holds nothing
//! up. Whoever has something to do at the end registers it with [`CoordinatedShutdown::register`]. Needs the feature `shutdown`, and
//! nothing else of this crate.
//!
//! ```
//! use annals_cluster::shutdown::{CoordinatedShutdown, Phase, Reason, ShutdownSettings};
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let settings = ShutdownSettings::default().exits(false).signals(false); // else a signal begins it, and its end exits the process
//! let shutdown = CoordinatedShutdown::start(settings)?;
//! shutdown.register(Phase::Flush, "audit log", async { Ok::<(), std::io::Error>(()) })?;
//!
//! shutdown.begin(Reason::Requested("an operator asked".into()));
//! let report = shutdown.ended().await;
//! assert!(report.is_complete());
//! assert_eq!(report.exit_code(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coordinated_shutdown;
pub use coordinated_shutdown::{CoordinatedShutdown, Registration, StartError};
mod phase;
pub use phase::Phase;
mod settings;
pub use settings::{DeadlinesTooLong, ShutdownSettings};
mod reason;
pub use reason::{Reason, Signal};
mod report;
pub use report::{PhaseReport, Report, TaskOutcome, TaskReport};

mod driver;
mod procedure;
pub use procedure::TooLate;
#[cfg(test)]
mod tests;
