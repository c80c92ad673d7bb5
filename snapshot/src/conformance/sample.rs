//! What the clauses save, and short ways to ask.

use std::sync::Arc;

use annals_journal::{Codec, Epoch, EventDigest, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use bytes::Bytes;

use super::Backend;
use crate::{Snapshot, SnapshotStore};

/// The numbers that [`five`] saves.
pub(super) const FIVE: [u64; 5] = [11, 12, 13, 14, 15];

pub(super) fn id(text: &str) -> PersistenceId {
    PersistenceId::parse(text).expect("the suite's ids are valid")
}

pub(super) fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).expect("the suite's numbers are valid")
}

/// A snapshot whose payload tells which it is.
pub(super) fn snapshot(id: &PersistenceId, number: u64) -> Snapshot {
    Snapshot {
        persistence_id: id.clone(),
        seq_nr: nr(number),
        token: Token::new(Epoch(1), number),
        last_event: EventDigest([7; 32]),
        timestamp: Timestamp::from_micros(1_700_000_000_000_000 + number),
        manifest: Manifest::new("suite.state").expect("the suite's manifest is valid"),
        schema_version: 1,
        codec: Codec::Json,
        key_id: None,
        payload: Bytes::from(format!("{id} at {number}")),
    }
}

/// A store with the snapshots 11 to 15 of an id, as Pekko's kit prepares it.
pub(super) async fn five(backend: &dyn Backend, id: &PersistenceId) -> Arc<dyn SnapshotStore> {
    let store = backend.open().await;
    for number in FIVE {
        save(&store, snapshot(id, number)).await;
    }
    store
}

pub(super) async fn save(store: &Arc<dyn SnapshotStore>, snapshot: Snapshot) {
    let what = format!("{} {:?}", snapshot.persistence_id, snapshot.seq_nr);
    if let Err(error) = store.save(snapshot).await {
        panic!("saving {what} failed: {error}");
    }
}

pub(super) async fn load(
    store: &Arc<dyn SnapshotStore>,
    id: &PersistenceId,
    at_most: SeqNr,
) -> Option<Snapshot> {
    match store.load(id, at_most).await {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("loading {id} at or below {at_most:?} failed: {error}"),
    }
}

pub(super) async fn list(store: &Arc<dyn SnapshotStore>, id: &PersistenceId) -> Vec<u64> {
    match store.list(id).await {
        Ok(numbers) => numbers.into_iter().map(SeqNr::get).collect(),
        Err(error) => panic!("listing {id} failed: {error}"),
    }
}

pub(super) async fn delete(store: &Arc<dyn SnapshotStore>, id: &PersistenceId, from: u64, to: u64) {
    if let Err(error) = store.delete(id, nr(from)..=nr(to)).await {
        panic!("deleting {from}..={to} of {id} failed: {error}");
    }
}
