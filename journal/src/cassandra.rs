//! Apache Cassandra: one journal for many nodes.
//!
//! ```text
//!  write ─▶ ticket: intents at a quorum ─▶ then floor and gate ─▶ one conditional write an id: version as it was read ─▶ answers
//!  read  ─▶ floor raised at a quorum ─▶ then the intents behind it ─▶ each is an event, void, or waited for
//! ```
//!
//! [`Keyspace`] is a keyspace with a session; whoever keeps something beside the journal (snapshots) takes it from there.
//! [`CassandraJournal`] keeps events and records in it.
//!
//! `docs/cassandra.md` has the layout, the protocol and why it is right, and what holds at which consistency.

mod keyspace;
pub use keyspace::Keyspace;
mod options;
pub use options::{Consistency, Options};
mod open_error;
pub use open_error::OpenError;

mod journal;
pub use journal::CassandraJournal;

mod address;
mod buckets;
mod change;
#[cfg(test)]
mod claimed;
mod clock;
mod failure;
mod gate;
mod ids;
mod intents;
#[cfg(test)]
mod late;
#[cfg(test)]
mod model;
mod pages;
mod records;
mod replay;
mod schema;
mod state;
mod statements;
mod ticket;
mod value;
mod write;
