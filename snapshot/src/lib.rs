//! Snapshots of Annals: where states live that spare a recovery most of its events.
//!
//! A snapshot is a shortcut, never the truth: without any, the same state comes back from the events. This crate knows
//! no actors and no users' types but in policies; it stores bytes, says when, and deletes what is no longer kept.
//!
//! - When: [`SnapshotPolicy`] is a value, [`Cadence`] counts towards it.
//! - Where: [`SnapshotStore`] is what a backend implements; [`open_beside`] opens the one beside a journal.
//! - What stays: [`Retention`] plans, [`SnapshotKeeper`] saves and prunes, and never fails for it.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use annals_journal::{PersistenceId, Readers, SeqNr};
//! use annals_snapshot::{SnapshotKeeper, open_beside};
//!
//! let journal = annals_journal::open("memory:").await?;
//! let store = open_beside(&journal).await?;
//! let keeper = SnapshotKeeper::new(store, journal.journal, Readers::new(journal.records));
//!
//! let alice = PersistenceId::new("account", "alice")?;
//! assert_eq!(keeper.load(&alice, SeqNr::MAX).await?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod snapshot;
pub use snapshot::Snapshot;
mod stored;
pub use stored::InvalidSnapshot;
mod store;
pub use store::SnapshotStore;
mod error;
pub use error::SnapshotError;
mod memory;
pub use memory::MemorySnapshotStore;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteSnapshotStore;
#[cfg(feature = "cassandra")]
mod cassandra;
#[cfg(feature = "cassandra")]
pub use cassandra::CassandraSnapshotStore;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub use postgres::PostgresSnapshotStore;
#[cfg(feature = "encryption")]
mod sealed;
#[cfg(feature = "encryption")]
pub use sealed::SealedSnapshots;
mod beside;
pub use beside::{OpenStoreError, open_beside};

mod policy;
pub use policy::SnapshotPolicy;
mod cadence;
pub use cadence::Cadence;

mod retention;
pub use retention::{EventPrune, PrunePlan, Retention};
mod keeper;
pub use keeper::SnapshotKeeper;
mod save_report;
pub use save_report::{PruneFailure, Pruned, SaveReport};
pub mod telemetry;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod testing;
