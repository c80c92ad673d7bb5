//! Snapshots of Annals: where states live that spare a recovery most of its events.
//!
//! [`SnapshotStore`] is what a backend implements; policies say when a snapshot is taken and retention what is kept.

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
