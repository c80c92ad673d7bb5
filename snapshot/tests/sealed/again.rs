//! Snapshots are sealed again under another key while somebody saves and loads them.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Mutex;

use annals_journal::KeyId;
use annals_journal::encryption::{
    KeyState, Rekeyer, ResealOptions, ResealSummary, ResealedIds, SealedJournal, SealedOptions,
};
use annals_snapshot::SnapshotError;
use async_trait::async_trait;

use super::*;

/// Gives every id another key, as another process does.
async fn rekey(records: &Arc<MemoryJournal>, stored: &MemorySnapshotStore, incident: &str) -> ResealSummary {
    let keys = keys(records.clone(), ring(1)).await.unwrap();
    let journal = SealedJournal::open(records.clone(), keys.clone(), SealedOptions::default()).await.unwrap();
    let snapshots = Arc::new(SealedSnapshots::new(Arc::new(stored.clone()), keys));
    let rekeyer = Rekeyer::new(journal, snapshots);
    rekeyer.rekey(incident, &ResealedIds::All, &ResealOptions::default(), |_| ()).await.unwrap()
}

/// A store whose next save or load is so slow that a rekeying begins and ends meanwhile.
#[derive(Debug)]
struct Slow {
    records: Arc<MemoryJournal>,
    stored: MemorySnapshotStore,
    next: Mutex<Option<On>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Save,
    Load,
}

impl Slow {
    async fn rekey_on(&self, on: On) {
        let is_due = self.next.lock().unwrap().take_if(|next| *next == on).is_some();
        if is_due {
            let done = rekey(&self.records, &self.stored, "leak").await;
            assert_eq!((done.total.changed, done.total.failed), (1, 0), "{done:?}");
        }
    }
}

#[async_trait]
impl SnapshotStore for Slow {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.rekey_on(On::Save).await;
        self.stored.save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let found = self.stored.load(id, at_most).await;
        self.rekey_on(On::Load).await;
        found
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        self.stored.delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        self.stored.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.stored.max_payload_bytes()
    }
}

#[tokio::test]
async fn every_snapshot_is_under_the_fresh_key_and_says_the_same() {
    let place = Place::new().await;
    let mut nonces = HashSet::new();
    for number in [5, 9] {
        place.save(snapshot("account|alice", number)).await;
        nonces.insert(place.stored("account|alice", number).await.payload.slice(1..13));
    }
    let done = rekey(&place.records, &place.stored, "leak").await;
    assert_eq!((done.total.states, done.total.failed), (2, 0));
    for number in [5, 9] {
        let stored = place.stored("account|alice", number).await;
        assert_eq!(stored.key_id, Some(KeyId(2)));
        nonces.insert(stored.payload.slice(1..13));
        // With the old key in memory, too.
        let loaded = place.sealed.load(&id("account|alice"), nr(number)).await.unwrap();
        assert_eq!(loaded, Some(snapshot("account|alice", number)));
    }
    assert_eq!(nonces.len(), 4);
    let state = place.keys.state(&[&id("account|alice")]).await.remove(0).unwrap();
    assert!(matches!(state, KeyState::Live { generations, .. } if generations == [(KeyId(2), SeqNr::FIRST)]));
}

/// Events are deleted because of what a save answers: it must not be under a key that is gone.
#[tokio::test]
async fn a_snapshot_that_is_saved_behind_a_rekeyings_back_is_sealed_again() {
    for on in [On::Save, On::Load] {
        let place = Place::new().await;
        place.save(snapshot("account|alice", 5)).await;
        let slow =
            Slow { records: place.records.clone(), stored: place.stored.clone(), next: Mutex::new(Some(on)) };
        let sealed = SealedSnapshots::new(Arc::new(slow), place.keys.clone());
        let alice = id("account|alice");
        if on == On::Save {
            sealed.save(snapshot("account|alice", 9)).await.unwrap();
        }
        let newest = if on == On::Save { 9 } else { 5 };
        // Whoever was in the middle of loading the old one gets it too.
        let loaded = sealed.load(&alice, SeqNr::MAX).await.unwrap();
        assert_eq!(loaded, Some(snapshot("account|alice", newest)), "{on:?}");
        assert_eq!(place.stored("account|alice", newest).await.key_id, Some(KeyId(2)), "{on:?}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_its_key_and_is_named() {
    let place = Place::new().await;
    for number in [5, 9] {
        place.save(snapshot("account|alice", number)).await;
    }
    let mut broken = place.stored("account|alice", 5).await;
    broken.payload = broken.payload.slice(..broken.payload.len() - 1);
    place.stored.save(broken).await.unwrap();
    let done = rekey(&place.records, &place.stored, "leak").await;
    assert_eq!(done.total.failed, 1);
    assert!(done.failures[0].error.to_string().contains("#5"), "{done:?}");
    let state = place.keys.state(&[&id("account|alice")]).await.remove(0).unwrap();
    assert!(matches!(state, KeyState::Live { generations, .. } if generations.len() == 2));
    // Once it is deleted, the rekeying goes on.
    place.stored.delete(&id("account|alice"), nr(5)..=nr(5)).await.unwrap();
    assert_eq!(rekey(&place.records, &place.stored, "leak").await.total.failed, 0);
    let loaded = place.sealed.load(&id("account|alice"), SeqNr::MAX).await.unwrap();
    assert_eq!(loaded, Some(snapshot("account|alice", 9)));
}
