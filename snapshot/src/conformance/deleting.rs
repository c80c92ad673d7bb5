//! What is deleted, and what is not.

use annals_journal::SeqNr;

use super::Backend;
use super::sample::{FIVE, delete, five, id, list, load, nr, snapshot};

/// The newest one deleted: the one before it is loaded.
pub async fn a_deleted_number_gives_way_to_the_older_one(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    delete(&store, &id, 15, 15).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 14)));
    delete(&store, &id, 12, 12).await;
    assert_eq!(load(&store, &id, nr(12)).await, Some(snapshot(&id, 11)));
    assert_eq!(list(&store, &id).await, [11, 13, 14]);
}

/// From [`SeqNr::ZERO`] to [`SeqNr::MAX`].
pub async fn all_numbers_can_be_deleted_at_once(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    delete(&store, &id, 0, SeqNr::MAX.get()).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, None);
    assert_eq!(list(&store, &id).await, [0; 0]);
}

/// Both bounds belong to the range; they need not be numbers of snapshots.
pub async fn a_range_deletes_its_bounds_and_nothing_else(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    delete(&store, &id, 12, 14).await;
    assert_eq!(list(&store, &id).await, [11, 15]);
    delete(&store, &id, 1, 11).await;
    assert_eq!(list(&store, &id).await, [15]);
    delete(&store, &id, 16, 1_000).await;
    assert_eq!(list(&store, &id).await, [15]);
}

/// An empty range is no error.
pub async fn a_range_that_ends_before_it_starts_deletes_nothing(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    delete(&store, &id, 15, 11).await;
    assert_eq!(list(&store, &id).await, FIVE);
}

/// An unknown id, a range without snapshots, and the same range twice.
pub async fn deleting_what_is_not_there_is_fine(backend: &dyn Backend) {
    let known = id("suite|five");
    let store = five(backend, &known).await;
    delete(&store, &id("suite|unknown"), 1, 100).await;
    delete(&store, &known, 1, 10).await;
    for _ in 0..2 {
        delete(&store, &known, 11, 12).await;
    }
    assert_eq!(list(&store, &known).await, [13, 14, 15]);
}
