//! The embedded default backend: one SQLite file, also shared by several processes.
//!
//! ```text
//!  transact ──▶ queue ──▶ writer thread ── BEGIN IMMEDIATE · job · job · job · COMMIT ──▶ WAL ── fsync ──▶ answers
//!  read ──────▶ a few read connections on blocking threads, each job one snapshot
//! ```
//!
//! [`Database`] is the file: whoever keeps something in it (events, records, snapshots, projections) hands its
//! statements to the one writer thread, and all that waits there at the same time shares one transaction and one fsync.
//! [`SqliteJournal`] keeps events and records in it.
//!
//! `docs/sqlite.md` has the layout, the durability settings, the errors and the numbers behind both.

mod database;
pub use database::Database;
mod options;
pub use options::{Durability, Options};
mod open_error;
pub use open_error::OpenError;
mod schema;
pub use schema::Schema;

mod journal;
pub use journal::SqliteJournal;

mod batch;
mod change;
mod commits;
mod connection;
mod failure;
mod heads;
mod job;
mod marks;
mod pace;
mod pages;
mod readers;
mod reading;
mod records;
mod replay;
mod scrub;
mod stream;
mod tables;
mod write;
mod writer;
mod writer_thread;

pub use rusqlite;

/// Row numbers are positive.
fn offset(ordering: i64) -> crate::Offset {
    crate::Offset::of_position(u64::try_from(ordering).unwrap_or_default())
}
