//! The conformance suite: whether a backend keeps what [`Journal`] and [`Records`] promise.
//!
//! A backend's author writes one constructor and one macro call, in a test of their own crate; each clause becomes
//! a `#[test]`:
//!
//! ```
//! use std::sync::Arc;
//! use annals_journal::conformance::Store;
//! use annals_journal::MemoryJournal;
//!
//! annals_journal::conformance!(memory, |_place| async {
//!     let journal = Arc::new(MemoryJournal::new());
//!     Store::new(journal.clone(), journal)
//! });
//! ```
//!
//! The constructor opens the store that belongs to a [`Place`]: a directory of its own for files, and a name of its
//! own for a schema or keyspace. It is called again with the same place to open the same store anew (after closing it, or as
//! a second handle beside the first), if [`Store::outlives_process`] says so; then the clauses about reopening
//! and about processes that are killed apply too.
//!
//! The clauses are grouped by topic. A number such as `(12)` in a clause's text is its number in the list of what
//! Pekko's TCK checks; the others are what that kit leaves out.
//!
//! `ANNALS_TIME_BUDGET_SECS` bounds how long the suite kills processes: a quarter of it, 4 seconds when it is not set.

#![allow(clippy::unwrap_used, reason = "a clause fails by a panic")]

mod clauses;
mod harness;
pub use harness::{Harness, run, run_clause};
mod place;
pub use place::Place;
mod store;
pub use store::Store;

mod sample;

pub mod append;
pub mod concurrency;
pub mod crash;
pub mod deletes;
pub mod fencing;
pub mod gate;
pub mod ids;
pub mod limits;
pub mod marks;
pub mod records;
pub mod replace;
pub mod replay;
pub mod slices;
pub mod tags;

#[cfg(doc)]
use crate::{Journal, Records};
