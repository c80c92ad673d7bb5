//! A sealed journal is rewritten behind its keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_journal::encryption::{DataKeyOptions, DataKeys, Ring, RingKeys, SealedJournal, SealedOptions};
use annals_journal::{
    AtomicWrite, Epoch, Journal, JournalError, JournalExt, MemoryJournal, Offset, PageItem, PersistenceId,
    ReplayRange, SeqNr, SliceRange, StoredEvent, Token,
};
use annals_migrations::rewrite::{Sweep, Target};
use annals_snapshot::{MemorySnapshotStore, SealedSnapshots, SnapshotStore};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::history::{Change, History, changes, envelope, histories, id, moved, rewriter, snapshot};

/// A history behind keys, and the stores in which it lies.
struct Sealed {
    inner: Arc<MemoryJournal>,
    keys: DataKeys,
    journal: SealedJournal,
    stored_snapshots: Arc<MemorySnapshotStore>,
    snapshots: Arc<dyn SnapshotStore>,
}

impl Sealed {
    async fn of(history: &History) -> Self {
        let inner = Arc::new(MemoryJournal::new());
        let ring = Arc::new(RingKeys::from(Ring::generate().unwrap()));
        let keys = DataKeys::open(inner.clone(), ring, DataKeyOptions::default()).await.unwrap();
        let options = SealedOptions::default();
        let journal = SealedJournal::open(inner.clone(), keys.clone(), options).await.unwrap();
        let stored_snapshots = Arc::new(MemorySnapshotStore::new());
        let snapshots = Arc::new(SealedSnapshots::new(stored_snapshots.clone(), keys.clone()));
        let this = Self { inner, keys, journal, stored_snapshots, snapshots };
        for (number, events) in history.ids.iter().enumerate() {
            let (id, mut token) = (id(number), Token::new(Epoch(1), 1));
            for (old, taken_over) in events {
                token.activation += u64::from(*taken_over);
                this.append(&id, token, old).await;
            }
            let (part, version) = history.ends[number];
            let head = this.journal.head(&id).await.unwrap();
            if let Some(version) = version {
                let means = changes(&this.journal, &id).await.into_iter().flat_map(|(_, means)| means);
                this.snapshots.save(snapshot(&id, head, version, &means.collect::<Vec<_>>())).await.unwrap();
            }
            let to = SeqNr::new(head.seq_nr.get() * part / 4).unwrap();
            if to >= SeqNr::FIRST {
                this.journal.delete_to(&id, to).await.unwrap();
            }
        }
        this
    }

    async fn append(&self, id: &PersistenceId, token: Token, old: &crate::history::Old) {
        let expected = self.journal.head(id).await.unwrap().seq_nr;
        let events = vec![envelope(id, expected.next(), token, old)];
        let append = AtomicWrite { persistence_id: id.clone(), expected, token, events, mark: None };
        self.journal.append(append).await.unwrap();
    }

    /// As it lies in the store.
    async fn stored(&self) -> Vec<StoredEvent> {
        let page = self.inner.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10_000).await.unwrap();
        let events = page.items.into_iter().filter_map(|item| match item {
            PageItem::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }

    /// Of events and snapshots.
    async fn nonces(&self) -> BTreeSet<Bytes> {
        let events = self.stored().await.into_iter().map(|event| {
            assert!(event.envelope.key_id.is_some(), "{:?} is not sealed", event.envelope);
            event.envelope.payload
        });
        let mut payloads: Vec<_> = events.collect();
        for id in self.inner.persistence_ids(None, 100).await.unwrap() {
            for number in self.stored_snapshots.list(&id).await.unwrap() {
                let snapshot = self.stored_snapshots.load(&id, number).await.unwrap().unwrap();
                assert!(snapshot.key_id.is_some());
                payloads.push(snapshot.payload);
            }
        }
        let nonces: BTreeSet<_> = payloads.iter().map(|payload| payload.slice(1..13)).collect();
        assert_eq!(nonces.len(), payloads.len(), "a nonce was drawn twice");
        nonces
    }

    /// What each event means to somebody who comes anew and checks every chain from its beginning.
    async fn seen(&self) -> Vec<(PersistenceId, Vec<(SeqNr, Vec<Change>)>)> {
        let options = SealedOptions::default();
        let journal = SealedJournal::open(self.inner.clone(), self.keys.clone(), options).await.unwrap();
        let mut seen = Vec::new();
        for id in journal.persistence_ids(None, 100).await.unwrap() {
            seen.push((id.clone(), changes(&journal, &id).await));
        }
        seen
    }

    fn sweep(&self, target: Target) -> Sweep {
        Sweep::new(Arc::new(self.journal.clone()), self.snapshots.clone(), rewriter(), target)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_sealed_journal_is_rewritten_and_stays_sealed_and_whole(history in histories()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sealed = Sealed::of(&history).await;
            let (seen, nonces) = (sealed.seen().await, sealed.nonces().await);
            let (done, found) = sealed.sweep(Target::Newest).apply(&|_| {}).await.unwrap();
            assert_eq!((found.replaced(), found.left_alone), (0, 0));
            assert_eq!(sealed.seen().await, seen);

            // Whatever was rewritten has a nonce that nothing had before, and nothing else has another.
            let after = sealed.nonces().await;
            assert_eq!(after.difference(&nonces).count() as u64, done.replaced());

            // The owners go on upon what was rewritten.
            for number in 0..history.ids.len() {
                let token = Token::new(Epoch(2), 1);
                sealed.journal.claim(&id(number), token).await.unwrap();
                sealed.append(&id(number), token, &moved(1, 1, "EUR")).await;
            }
            let longer = sealed.seen().await;
            for ((id, before), (_, after)) in seen.iter().zip(&longer) {
                let last = vec![Change::Moved { cents: 1, currency: "EUR".into() }];
                assert_eq!(after.len(), before.len() + 1, "{id}");
                assert_eq!(after.last().map(|(_, means)| means), Some(&last));
            }
            sealed.keys.close().await;
        });
    }
}

/// An event that was rewritten is bound to its number as it was before.
#[tokio::test]
async fn rewritten_events_that_were_exchanged_are_found() {
    let events = vec![(moved(1, 1, "EUR"), false), (moved(1, 2, "EUR"), false), (moved(2, 3, "EUR"), false)];
    let sealed = Sealed::of(&History { ids: vec![events], ends: vec![(0, None)] }).await;
    sealed.sweep(Target::Newest).apply(&|_| {}).await.unwrap();
    assert_eq!(sealed.seen().await[0].1.len(), 3);
    let stored = sealed.stored().await;
    for (at, from) in [(0, 1), (1, 2), (2, 0)] {
        let (place, other) = (&stored[at], &stored[from]);
        let mut forged = place.envelope.clone();
        forged.payload = other.envelope.payload.clone();
        assert!(sealed.inner.replace(place, forged).await.unwrap());
        let options = SealedOptions::default();
        let journal = SealedJournal::open(sealed.inner.clone(), sealed.keys.clone(), options).await.unwrap();
        let replayed: Result<Vec<_>, _> = journal.replay(ReplayRange::all(&id(0))).try_collect().await;
        assert!(matches!(replayed, Err(JournalError::Corrupt { .. })), "event {at}: {replayed:?}");
        let forged = sealed.stored().await;
        assert!(sealed.inner.replace(&forged[at], place.envelope.clone()).await.unwrap());
    }
    assert_eq!(sealed.seen().await[0].1.len(), 3);
    sealed.keys.close().await;
}
