//! A snapshot store that fails on order, for tests of what takes and loads snapshots.
//!
//! [`FaultySnapshots`] is put around any store, as `annals_journal::testing::FaultyJournal` is around a journal; orders are given in
//! the same way, and it keeps the same list of what it was asked.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use annals_journal::{PersistenceId, SeqNr};
//! use annals_snapshot::testing::FaultySnapshots;
//! use annals_snapshot::{MemorySnapshotStore, SnapshotStore};
//!
//! let snapshots = FaultySnapshots::around(MemorySnapshotStore::new());
//! snapshots.next_load().fails_unavailable();
//! let alice = PersistenceId::new("account", "alice").unwrap();
//! assert!(snapshots.load(&alice, SeqNr::MAX).await.is_err());
//! assert!(snapshots.load(&alice, SeqNr::MAX).await.is_ok());
//! # }
//! ```

mod faulty_snapshots;
pub use faulty_snapshots::FaultySnapshots;
mod order;
pub use order::{SnapshotAnswer, SnapshotCall, SnapshotOperation, SnapshotOrder};
