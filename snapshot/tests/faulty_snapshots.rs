//! Each order that a faulty snapshot store takes: what its caller is answered, and what is stored after.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use annals_journal::testing::Fault;
use annals_journal::{Codec, Epoch, EventDigest, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use annals_snapshot::testing::{FaultySnapshots, SnapshotAnswer, SnapshotOperation};
use annals_snapshot::{MemorySnapshotStore, Snapshot, SnapshotError, SnapshotStore};
use bytes::Bytes;
use futures::FutureExt;

fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

fn id(name: &str) -> PersistenceId {
    PersistenceId::new("test", name).unwrap()
}

fn snapshot(number: u64) -> Snapshot {
    Snapshot {
        persistence_id: id("a"),
        seq_nr: nr(number),
        token: Token::new(Epoch(1), 1),
        last_event: EventDigest([7; 32]),
        timestamp: Timestamp::from_micros(1),
        manifest: Manifest::new("test.state").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        key_id: None,
        payload: Bytes::from(number.to_string()),
    }
}

fn faulty() -> FaultySnapshots {
    FaultySnapshots::around(MemorySnapshotStore::new())
}

async fn stored(store: &FaultySnapshots) -> Vec<u64> {
    store.inner().list(&id("a")).await.unwrap().into_iter().map(SeqNr::get).collect()
}

#[tokio::test]
async fn a_save_fails_with_or_without_being_done() {
    let store = faulty();
    store.next_save().fails_unavailable();
    assert_eq!(store.save(snapshot(1)).await.unwrap_err().kind(), "unavailable");
    assert_eq!(stored(&store).await, [0; 0]);
    store.next_save().fails_though_done();
    assert_eq!(store.save(snapshot(2)).await.unwrap_err().kind(), "unavailable");
    assert_eq!(stored(&store).await, [2]);
    store.next_save().is_rejected("too large");
    let refused = store.save(snapshot(3)).await.unwrap_err().to_string();
    assert_eq!(refused, "snapshot #3 of test|a rejected: too large");
    assert_eq!(stored(&store).await, [2]);
    assert!(store.save(snapshot(3)).await.is_ok());
}

#[tokio::test]
async fn a_torn_snapshot_is_unreadable_until_it_is_saved_again() {
    let store = faulty();
    store.save(snapshot(1)).await.unwrap();
    store.next_save().is_torn();
    store.save(snapshot(2)).await.unwrap();
    let torn = store.load(&id("a"), SeqNr::MAX).await.unwrap_err();
    assert!(matches!(torn, SnapshotError::Corrupt { seq_nr, .. } if seq_nr == nr(2)), "{torn}");
    assert_eq!(store.load(&id("a"), nr(1)).await.unwrap(), Some(snapshot(1)));
    store.save(snapshot(2)).await.unwrap();
    assert_eq!(store.load(&id("a"), SeqNr::MAX).await.unwrap(), Some(snapshot(2)));
}

#[tokio::test]
async fn loads_deletions_and_lists_fail_by_themselves() {
    let store = faulty();
    store.save(snapshot(1)).await.unwrap();
    store.next_load().of(&id("b")).fails_unavailable();
    store.next_delete().fails_though_done();
    store.next_list().skip(1).times(2).fails_unavailable();
    let a = id("a");
    assert!(store.load(&a, SeqNr::MAX).await.is_ok() && store.load(&id("b"), SeqNr::MAX).await.is_err());
    assert!(store.delete(&a, nr(1)..=nr(1)).await.is_err());
    assert_eq!(stored(&store).await, [0; 0]);
    let mut lists = Vec::new();
    for _ in 0..4 {
        lists.push(store.list(&a).await.is_ok());
    }
    assert_eq!(lists, [true, false, false, true]);
    assert_eq!(store.outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_takes_time_waits_at_a_gate_and_comes_back() {
    let store = faulty();
    store.next_save().takes(Duration::from_secs(5));
    let sent = tokio::time::Instant::now();
    store.save(snapshot(1)).await.unwrap();
    assert_eq!(sent.elapsed().as_secs(), 5);
    let gate = store.next_load().waits();
    let (a, b) = (id("a"), id("b"));
    let mut load = store.load(&a, SeqNr::MAX);
    assert!(load.as_mut().now_or_never().is_none());
    gate.open();
    assert!(load.await.unwrap().is_some());
    store.goes_down();
    assert!(store.load(&a, SeqNr::MAX).await.is_err() && store.list(&b).await.is_err());
    store.comes_back();
    assert!(store.load(&a, SeqNr::MAX).await.is_ok());
}

#[tokio::test]
async fn lots_decide_and_what_was_asked_is_listed() {
    let store = faulty();
    store.decide_by(|call| {
        (call.operation == SnapshotOperation::Save).then(|| Fault::new(SnapshotAnswer::Unavailable))
    });
    assert!(store.save(snapshot(1)).await.is_err());
    store.comes_back();
    store.save(snapshot(2)).await.unwrap();
    store.load(&id("a"), SeqNr::MAX).await.unwrap();
    store.load(&id("a"), nr(1)).await.unwrap();
    store.delete(&id("a"), nr(1)..=nr(2)).await.unwrap();
    store.list(&id("a")).await.unwrap();
    let calls: Vec<_> = store.calls().iter().map(ToString::to_string).collect();
    assert_eq!(
        calls,
        [
            "save test|a #1 → snapshot store unavailable: a test ordered it",
            "save test|a #2 → saved",
            "load test|a → #2",
            "load test|a up to #1 → none",
            "delete test|a #1..#2 → done",
            "list test|a → []",
        ]
    );
}
