//! The contract of [`SnapshotStore`] as tests: one `#[test]` a clause, for authors of backends.
//!
//! Say how to open your store, and write one line:
//!
//! ```
//! use std::sync::Arc;
//! use annals_journal::{PersistenceId, SeqNr};
//! use annals_snapshot::conformance::Backend;
//! use annals_snapshot::{MemorySnapshotStore, SnapshotStore};
//!
//! struct Memory(MemorySnapshotStore);
//!
//! #[async_trait::async_trait]
//! impl Backend for Memory {
//!     async fn open(&self) -> Arc<dyn SnapshotStore> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn outlives_process(&self) -> bool {
//!         false
//!     }
//!     async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
//!         assert!(self.0.tamper(id, seq_nr, |bytes| bytes[9] ^= 1));
//!     }
//! }
//!
//! annals_snapshot::snapshot_conformance!(memory, || Memory(MemorySnapshotStore::new()));
//! # fn main() {}
//! ```
//!
//! The clauses cover 26–38 of Pekko's kit (`SnapshotStoreSpec`) in this way, and what that kit misses besides:
//!
//! | Pekko | here |
//! |---|---|
//! | 26 | [`an_unknown_id_has_no_snapshot`] |
//! | 27, 31, 33, 34 | selecting by time does not exist here: [`time_plays_no_role_in_what_is_loaded`]; their numbers: [`all_numbers_can_be_deleted_at_once`], [`a_range_deletes_its_bounds_and_nothing_else`] |
//! | 28 | [`a_bound_below_every_snapshot_gives_none`] |
//! | 29 | [`without_a_bound_the_newest_is_loaded`] |
//! | 30 | [`a_bound_gives_the_newest_at_or_below_it`] |
//! | 32 | [`a_deleted_number_gives_way_to_the_older_one`] |
//! | 35 | [`the_same_number_replaces`] |
//! | 36 | [`a_state_of_10_000_bytes_is_stored`] |
//! | 37, 38 | bytes come serialized, and all that is known about them is stored: [`every_field_is_given_back`] |

use std::sync::Arc;

use annals_journal::{PersistenceId, SeqNr};
use async_trait::async_trait;

use crate::SnapshotStore;

mod deleting;
mod failing;
mod pruning;
mod racing;
mod sample;
mod selecting;
mod storing;

pub use deleting::*;
pub use failing::*;
pub use pruning::*;
pub use racing::*;
pub use selecting::*;
pub use storing::*;

/// What a test knows of a backend: one empty place for snapshots, all its own.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Opens the store of this place, also after it was used and dropped.
    async fn open(&self) -> Arc<dyn SnapshotStore>;

    /// Whether snapshots are there again when all that had the store open is gone.
    fn outlives_process(&self) -> bool;

    /// Whether the store seals states itself: it then takes none that has a key id already, as the suite gives them to others.
    fn seals(&self) -> bool {
        false
    }

    /// Damages the stored bytes of a snapshot behind the store's back, one bit being enough; panics when it is not there.
    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr);
}

/// Runs one clause against a fresh place; it panics when the store breaks the clause.
///
/// # Panics
/// When the clause does not hold.
pub fn run<B: Backend>(backend: impl FnOnce() -> B, clause: impl AsyncFnOnce(&dyn Backend)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let backend = backend();
        clause(&backend).await;
    });
}

/// Makes a module with a `#[test]` for each clause of the contract of [`SnapshotStore`].
///
/// `snapshot_conformance!(name, constructor)`: the constructor is a `Fn() -> impl Backend`, called in a tokio runtime, once a test.
/// See [`conformance`](crate::conformance) for an example.
#[macro_export]
macro_rules! snapshot_conformance {
    ($name:ident, $backend:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the constructor may be a path or a closure")]
            use super::*;
            $crate::__snapshot_clauses! { [$crate::__snapshot_tests] [$backend] }
        }
    };
}

/// The one list of clauses.
#[doc(hidden)]
#[macro_export]
macro_rules! __snapshot_clauses {
    ([$($callback:tt)+] [$($arguments:tt)*]) => {
        $($callback)+! {
            [$($arguments)*]
            an_unknown_id_has_no_snapshot
            a_bound_below_every_snapshot_gives_none
            without_a_bound_the_newest_is_loaded
            a_bound_gives_the_newest_at_or_below_it
            time_plays_no_role_in_what_is_loaded
            numbers_are_listed_lowest_first
            ids_have_nothing_to_do_with_each_other
            a_deleted_number_gives_way_to_the_older_one
            all_numbers_can_be_deleted_at_once
            a_range_deletes_its_bounds_and_nothing_else
            a_range_that_ends_before_it_starts_deletes_nothing
            deleting_what_is_not_there_is_fine
            the_same_number_replaces
            a_state_of_10_000_bytes_is_stored
            every_field_is_given_back
            the_largest_payload_is_stored
            a_larger_payload_is_rejected_and_replaces_nothing
            a_snapshot_without_an_event_is_rejected
            an_unreadable_snapshot_is_named_and_the_older_one_loads
            an_unreadable_snapshot_is_listed_and_can_be_deleted
            an_unreadable_snapshot_can_be_replaced
            of_concurrent_saves_of_one_number_one_wins_whole
            concurrent_saves_of_many_numbers_all_stay
            a_load_during_saves_sees_a_whole_one
            a_dropped_save_is_done_or_not_done
            a_failing_prune_does_not_fail_a_save
            what_was_saved_and_deleted_survives_reopening
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __snapshot_tests {
    ([$backend:expr] $($clause:ident)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::conformance::run($backend, $crate::conformance::$clause);
            }
        )*
    };
}
