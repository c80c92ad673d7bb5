//! What retention may rely on.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_journal::{MemoryJournal, PersistenceId, Readers, SeqNr};
use async_trait::async_trait;

use super::Backend;
use super::sample::{FIVE, five, id, list, load, snapshot};
use crate::{PruneFailure, Retention, Snapshot, SnapshotError, SnapshotKeeper, SnapshotStore};

/// When nothing can be deleted, what was saved is there, and so is all that should have gone.
pub async fn a_failing_prune_does_not_fail_a_save(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    let journal = Arc::new(MemoryJournal::new());
    let undeletable = Arc::new(Undeletable(Arc::clone(&store)));
    let keeper = SnapshotKeeper::new(undeletable, journal.clone(), Readers::new(journal));
    let report = keeper.save(snapshot(&id, 16), &Retention::keep(1)).await;
    assert!(report.saved.is_ok(), "the save was answered {:?}", report.saved);
    assert!(matches!(report.pruned.failure, Some(PruneFailure::Snapshots(_))), "{:?}", report.pruned);
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 16)));
    assert_eq!(list(&store, &id).await, [&FIVE[..], &[16]].concat());
}

#[derive(Debug)]
struct Undeletable(Arc<dyn SnapshotStore>);

#[async_trait]
impl SnapshotStore for Undeletable {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.0.save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        self.0.load(id, at_most).await
    }

    async fn delete(&self, _: &PersistenceId, _: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        Err(SnapshotError::Unavailable { reason: "deleting fails in this clause".to_owned(), source: None })
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        self.0.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.0.max_payload_bytes()
    }
}
