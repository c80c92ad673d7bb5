//! What concurrent callers see.

use std::sync::Arc;

use annals_journal::{Epoch, PersistenceId, SeqNr, Token};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;

use super::Backend;
use super::sample::{id, list, load, nr, save, snapshot};
use crate::{Snapshot, SnapshotStore};

/// Every field belongs to the same one of them.
pub async fn of_concurrent_saves_of_one_number_one_wins_whole(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|raced"));
    for number in 1..=ROUNDS {
        let candidates: Vec<_> = (0..RACERS).map(|racer| candidate(&id, number, racer)).collect();
        at_once(&store, candidates.clone()).await;
        let winner = load(&store, &id, nr(number)).await.expect("one of them was saved");
        assert!(candidates.contains(&winner), "number {number} was mixed from several: {winner:?}");
    }
    assert_eq!(list(&store, &id).await, (1..=ROUNDS).collect::<Vec<_>>());
}

/// Numbers do not replace each other.
pub async fn concurrent_saves_of_many_numbers_all_stay(backend: &dyn Backend) {
    let store = backend.open().await;
    let ids = [id("suite|one"), id("suite|two")];
    let all = ids.iter().flat_map(|id| (1..=ROUNDS).map(|number| snapshot(id, number))).collect();
    at_once(&store, all).await;
    for id in &ids {
        assert_eq!(list(&store, id).await, (1..=ROUNDS).collect::<Vec<_>>());
        for number in 1..=ROUNDS {
            assert_eq!(load(&store, id, nr(number)).await, Some(snapshot(id, number)));
        }
    }
}

/// While a number is replaced over and over, a load gives one of those saved.
pub async fn a_load_during_saves_sees_a_whole_one(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|watched"));
    let candidates: Vec<_> = (0..RACERS).map(|racer| candidate(&id, 1, racer)).collect();
    save(&store, candidate(&id, 1, 0)).await;
    let (saver, replacements) = (Arc::clone(&store), candidates.clone());
    let saves = tokio::spawn(async move {
        for replacement in replacements.into_iter().cycle().take(100) {
            save(&saver, replacement).await;
        }
    });
    while !saves.is_finished() {
        let seen = load(&store, &id, SeqNr::MAX).await.expect("one is always there");
        assert!(candidates.contains(&seen), "a load saw a mixture: {seen:?}");
        tokio::task::yield_now().await;
    }
    joined(saves.await);
}

/// Whatever was polled of it.
pub async fn a_dropped_save_is_done_or_not_done(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|dropped"));
    let payload = Bytes::from(vec![b'x'; 100_000]);
    for number in 1..=ROUNDS {
        let dropped = Snapshot { payload: payload.clone(), ..snapshot(&id, number) };
        // Polled once, then dropped.
        let _ = store.save(dropped.clone()).now_or_never();
        match load(&store, &id, nr(number)).await {
            Some(found) if found.seq_nr == nr(number) => assert!(found == dropped, "half of it: {found:?}"),
            _ => {}
        }
    }
}

async fn at_once(store: &Arc<dyn SnapshotStore>, snapshots: Vec<Snapshot>) {
    let saves = snapshots.into_iter().map(|snapshot| {
        let store = Arc::clone(store);
        // A task each, so that they run on several threads.
        tokio::spawn(async move { save(&store, snapshot).await })
    });
    join_all(saves).await.into_iter().for_each(joined);
}

/// A task's panic is the test's.
fn joined(task: Result<(), tokio::task::JoinError>) {
    if let Err(error) = task {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Snapshots of one number that differ in several fields and in length.
fn candidate(id: &PersistenceId, number: u64, racer: u8) -> Snapshot {
    Snapshot {
        token: Token::new(Epoch(u64::from(racer)), u64::from(racer)),
        schema_version: u32::from(racer) + 1,
        payload: Bytes::from(vec![racer; 1_000 * (usize::from(racer) + 1)]),
        ..snapshot(id, number)
    }
}

const ROUNDS: u64 = 20;
const RACERS: u8 = 8;
