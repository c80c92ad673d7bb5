//! A journal on [redb](https://www.redb.org), an embedded key-value store: the example for authors of backends.
//!
//! It uses nothing of Annals but public names, and passes the conformance suite (`tests/conformance.rs`), so it does what is written
//! about a backend in `docs/backends.md`. What it is not: fast. Each list of writes is a transaction with an fsync, which group commit
//! fills, but nothing here was measured.
//!
//! ```text
//! streams   persistence id            → head, token (epoch, activation), deleted to, position of its tombstone, mark
//! events    persistence id, number    → position
//! log       position                  → slice, persistence id, number, envelope (none: a tombstone), tags
//! tagged    tag, position             → nothing
//! records   key                       → revision, value
//! counters  "position" | "revision"   → the last one that was used
//! ```
//! The offset of an event is its position. A write transaction is the only one there is, in all processes, and numbers its events before
//! anybody sees them: so nothing ever appears behind a reader.

mod failure;
mod journal;
mod log;
mod records;
mod tables;

pub use journal::RedbJournal;
