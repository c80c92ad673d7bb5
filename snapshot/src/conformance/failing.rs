//! What a store says of bytes that changed.

use annals_journal::{PersistenceId, SeqNr};

use super::Backend;
use super::sample::{FIVE, delete, five, id, list, load, nr, save, snapshot};
use crate::{SnapshotError, SnapshotStore};

/// The error names id and number; the caller asks below it. Older ones are not given in silence.
pub async fn an_unreadable_snapshot_is_named_and_the_older_one_loads(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    for number in [15, 14] {
        backend.corrupt(&id, nr(number)).await;
        assert_corrupt(&*store, &id, number).await;
    }
    assert_eq!(load(&store, &id, nr(13)).await, Some(snapshot(&id, 13)));
    assert_corrupt(&*store, &id, 15).await;
}

/// Housekeeping does not need to read.
pub async fn an_unreadable_snapshot_is_listed_and_can_be_deleted(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    backend.corrupt(&id, nr(15)).await;
    assert_eq!(list(&store, &id).await, FIVE);
    delete(&store, &id, 15, 15).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 14)));
}

/// Saving the number again makes it readable.
pub async fn an_unreadable_snapshot_can_be_replaced(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    backend.corrupt(&id, nr(15)).await;
    save(&store, snapshot(&id, 15)).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 15)));
}

async fn assert_corrupt(store: &dyn SnapshotStore, id: &PersistenceId, number: u64) {
    match store.load(id, nr(number)).await {
        Err(SnapshotError::Corrupt { persistence_id, seq_nr, .. }) => {
            assert_eq!((&persistence_id, seq_nr), (id, nr(number)));
        }
        Err(other) => panic!("changed bytes must be Corrupt, not {}: {other}", other.kind()),
        Ok(Some(found)) => panic!("{:?} was given in the place of the unreadable {number}", found.seq_nr),
        Ok(None) => panic!("the unreadable {number} was passed over"),
    }
}
