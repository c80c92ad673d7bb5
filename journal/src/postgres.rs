//! PostgreSQL: one journal for many nodes.
//!
//! ```text
//!  write ──▶ runs by id ──▶ one statement: lock heads in id order · judge · move heads · insert events ──▶ commit ──▶ answers
//!  read  ──▶ a pool of its own, each page one statement and so one snapshot
//! ```
//!
//! [`Database`] is a schema on a server with its two pools of connections; whoever keeps something beside the journal (snapshots)
//! takes its connections from there. [`PostgresJournal`] keeps events and records in it.
//!
//! `docs/backends.md` has the layout, roles, pool sizes, TLS, and what is to be watched.

mod database;
pub use database::Database;
mod options;
pub use options::Options;
mod open_error;
pub use open_error::OpenError;
mod schema;
pub use schema::Schema;

mod journal;
pub use journal::PostgresJournal;

mod connections;
pub use connections::Connection;

mod change;
mod failure;
mod held_up;
pub use failure::{read_failure, write_failure};
mod lineage;
mod notifier;
mod pages;
mod records;
mod replay;
mod replay_pages;
mod row;
mod runs;
mod statements;
mod tables;
mod together;
pub use together::Together;
mod verdict;
mod write;

pub use sqlx;
