//! What is loaded and listed.

use annals_journal::{SeqNr, Timestamp};

use super::Backend;
use super::sample::{five, id, list, load, nr, save, snapshot};
use crate::Snapshot;

/// An id without snapshots loads `None` and lists nothing.
pub async fn an_unknown_id_has_no_snapshot(backend: &dyn Backend) {
    let store = five(backend, &id("suite|known")).await;
    let unknown = id("suite|unknown");
    assert_eq!(load(&store, &unknown, SeqNr::MAX).await, None);
    assert_eq!(list(&store, &unknown).await, [0; 0]);
}

/// A bound below the lowest number loads `None`; so does [`SeqNr::ZERO`].
pub async fn a_bound_below_every_snapshot_gives_none(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    for bound in [0, 1, 10] {
        assert_eq!(load(&store, &id, nr(bound)).await, None, "at or below {bound}");
    }
}

/// [`SeqNr::MAX`] loads the highest number.
pub async fn without_a_bound_the_newest_is_loaded(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 15)));
    save(&store, snapshot(&id, SeqNr::MAX.get())).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, SeqNr::MAX.get())));
}

/// A bound that is a number, lies between two, or above all.
pub async fn a_bound_gives_the_newest_at_or_below_it(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    save(&store, snapshot(&id, 1_000)).await;
    for (bound, expected) in
        [(11, 11), (13, 13), (15, 15), (16, 15), (999, 15), (1_000, 1_000), (1_001, 1_000)]
    {
        assert_eq!(load(&store, &id, nr(bound)).await, Some(snapshot(&id, expected)), "at or below {bound}");
    }
}

/// The number selects, also where time stamps say the opposite.
pub async fn time_plays_no_role_in_what_is_loaded(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|backwards"));
    let at =
        |number: u64| Snapshot { timestamp: Timestamp::from_micros(1_000 - number), ..snapshot(&id, number) };
    // Saved in no order either.
    for number in [13, 11, 15, 12, 14] {
        save(&store, at(number)).await;
    }
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(at(15)));
    assert_eq!(load(&store, &id, nr(13)).await, Some(at(13)));
    let epoch = Snapshot { timestamp: Timestamp::from_micros(0), ..snapshot(&id, 16) };
    save(&store, epoch.clone()).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(epoch));
}

/// In the order of numbers, not of saving, and not of their text.
pub async fn numbers_are_listed_lowest_first(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|listed"));
    for number in [100, 9, SeqNr::MAX.get(), 1, 256, 255] {
        save(&store, snapshot(&id, number)).await;
    }
    assert_eq!(list(&store, &id).await, [1, 9, 100, 255, 256, SeqNr::MAX.get()]);
}

/// Also ids of which one begins with the other, or that only case, accents or wildcards tell apart.
pub async fn ids_have_nothing_to_do_with_each_other(backend: &dyn Backend) {
    let store = backend.open().await;
    let ids = ["s|a", "s|A", "S|a", "s|ab", "s|a%", "s|a_", "s|a|b", "s|á", "s|a\u{301}", "s|'\"`;", "s|a "]
        .map(id);
    for (number, id) in (1..).zip(&ids) {
        save(&store, snapshot(id, number)).await;
    }
    for (number, id) in (1..).zip(&ids) {
        assert_eq!(list(&store, id).await, [number], "{id:?}");
        assert_eq!(load(&store, id, SeqNr::MAX).await, Some(snapshot(id, number)));
    }
    let (first, others) = ids.split_first().expect("there are ids");
    let everything = SeqNr::ZERO..=SeqNr::MAX;
    if let Err(error) = store.delete(first, everything).await {
        panic!("deleting all of {first} failed: {error}");
    }
    assert_eq!(list(&store, first).await, [0; 0]);
    for (number, id) in (2..).zip(others) {
        assert_eq!(list(&store, id).await, [number], "{id:?} after {first:?} was deleted");
    }
}
