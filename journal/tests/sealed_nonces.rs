//! No key seals two texts under one nonce: over many events, and wherever one number is sealed more than once.
#![cfg(all(feature = "encryption", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use annals_journal::encryption::SealedJournal;
use annals_journal::testing::FaultyJournal;
use annals_journal::{
    AtomicWrite, Envelope, Head, Journal, JournalError, JournalExt, KeyId, Limits, MarkChange, MemoryJournal,
    Offset, Page, PersistenceId, Records, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use async_trait::async_trait;
use behind_keys::sealed;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use support::{append, id, nr, token};

/// A sealed text as it was sent to the store: under which key, of which number, with which nonce and which text.
type Sealed = (PersistenceId, KeyId, SeqNr, Bytes, Bytes);

/// A journal that keeps everything sealed that it was ever given, stored or not.
struct Recorded<J> {
    inner: J,
    sealed: Arc<Mutex<Vec<Sealed>>>,
}

impl<J: Journal> Recorded<J> {
    fn around(inner: J, sealed: &Arc<Mutex<Vec<Sealed>>>) -> Arc<Self> {
        Arc::new(Self { inner, sealed: sealed.clone() })
    }

    fn note(&self, event: &Envelope) {
        let Some(key) = event.key_id else { return };
        let payload = &event.payload;
        let text = (payload.slice(1..13), payload.slice(45..));
        self.sealed.lock().unwrap().push((event.persistence_id.clone(), key, event.seq_nr, text.0, text.1));
    }
}

impl<J> fmt::Debug for Recorded<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

#[async_trait]
impl<J: Journal> Journal for Recorded<J> {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        for write in &writes {
            if let Write::Append(append) = write {
                append.events.iter().for_each(|event| self.note(event));
            }
        }
        self.inner.write(writes).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.inner.replay(range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.inner.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.inner.delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.note(&new);
        self.inner.replace(old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.inner.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        range: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.inner.events_by_slice(range, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.inner.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

struct Bench {
    memory: Arc<MemoryJournal>,
    sealed: Arc<Mutex<Vec<Sealed>>>,
}

impl Bench {
    fn new() -> Self {
        Self { memory: Arc::new(MemoryJournal::new()), sealed: Arc::default() }
    }

    /// A process of its own: keys, caches and all.
    async fn process(&self) -> SealedJournal {
        sealed(Recorded::around(self.memory.clone(), &self.sealed), self.memory.clone()).await
    }

    /// That this number of an id was sealed at least twice, and no nonce was used twice under a key.
    fn check(&self, id: &PersistenceId, number: u64) {
        let sealed = self.sealed.lock().unwrap();
        let times = sealed.iter().filter(|(of, _, seq_nr, ..)| of == id && *seq_nr == nr(number)).count();
        assert!(times >= 2, "{id} {number} was sealed {times} times");
        let mut nonces = HashSet::new();
        for (id, key, seq_nr, nonce, _) in sealed.iter() {
            assert!(nonces.insert((id, key, nonce)), "{id} {seq_nr}: the nonce was used before");
        }
    }
}

#[tokio::test]
async fn a_number_that_lost_a_race_is_sealed_again_under_another_nonce() {
    let bench = Bench::new();
    let (ours, theirs, alice) = (bench.process().await, bench.process().await, id("alice"));
    for journal in [&ours, &theirs] {
        journal.claim(&alice, token(1, 1)).await.unwrap();
    }
    theirs.append(append(&alice, token(1, 1), 0, 1)).await.unwrap();
    let lost = ours.append(append(&alice, token(1, 1), 0, 1)).await;
    assert!(matches!(lost, Err(JournalError::Conflict { .. })), "{lost:?}");
    bench.check(&alice, 1);
}

#[tokio::test]
async fn a_number_whose_owner_was_fenced_is_sealed_again_under_another_nonce() {
    let bench = Bench::new();
    let (ours, theirs, alice) = (bench.process().await, bench.process().await, id("alice"));
    ours.append(append(&alice, token(1, 1), 0, 1)).await.unwrap();
    theirs.claim(&alice, token(2, 1)).await.unwrap();
    let fenced = ours.append(append(&alice, token(1, 1), 1, 1)).await;
    assert!(matches!(fenced, Err(JournalError::Fenced { .. })), "{fenced:?}");
    theirs.append(append(&alice, token(2, 1), 1, 1)).await.unwrap();
    bench.check(&alice, 2);
}

#[tokio::test]
async fn a_number_whose_append_failed_is_sealed_again_under_another_nonce() {
    let bench = Bench::new();
    let faulty = FaultyJournal::around(bench.memory.clone());
    let recorded = Recorded { inner: Arc::new(faulty), sealed: bench.sealed.clone() };
    let recorded = Arc::new(recorded);
    let journal = sealed(recorded.clone(), bench.memory.clone()).await;
    let alice = id("alice");
    journal.claim(&alice, token(1, 1)).await.unwrap();
    recorded.inner.goes_down();
    let failed = journal.append(append(&alice, token(1, 1), 0, 1)).await;
    assert!(matches!(failed, Err(JournalError::Unavailable { .. })), "{failed:?}");
    recorded.inner.comes_back();
    journal.append(append(&alice, token(1, 1), 0, 1)).await.unwrap();
    bench.check(&alice, 1);
}

#[tokio::test]
async fn a_number_that_is_written_again_after_a_restore_has_another_nonce() {
    let bench = Bench::new();
    let alice = id("alice");
    let journal = bench.process().await;
    journal.append(append(&alice, token(1, 1), 0, 2)).await.unwrap();
    let backup = copy(&bench.memory).await;
    journal.append(append(&alice, token(1, 1), 2, 1)).await.unwrap();
    // The backup takes its place; keys and all are those of the time.
    let restored = Bench { memory: backup, sealed: bench.sealed.clone() };
    restored.process().await.append(append(&alice, token(1, 1), 2, 1)).await.unwrap();
    restored.check(&alice, 3);
}

#[tokio::test]
async fn an_event_that_is_rewritten_has_another_nonce() {
    let bench = Bench::new();
    let (journal, alice) = (bench.process().await, id("alice"));
    journal.append(append(&alice, token(1, 1), 0, 3)).await.unwrap();
    for _ in 0..3 {
        let range = ReplayRange::all(&alice).from(nr(2)).limit(1);
        let Some(Replayed::Event(old)) = journal.replay(range).try_next().await.unwrap() else {
            panic!("an event")
        };
        assert!(journal.replace(&old, old.envelope.clone()).await.unwrap());
    }
    bench.check(&alice, 2);
}

/// A hundred thousand events of a few ids, so that each key seals many.
#[tokio::test]
async fn the_nonces_of_a_large_run_are_all_different() {
    let bench = Bench::new();
    let journal = bench.process().await;
    let mut counts = BTreeMap::new();
    for round in 0..200_u64 {
        for name in ["alice", "bob"] {
            let head = counts.entry(name).or_insert(0_u64);
            journal.append(append(&id(name), token(1, 1), *head, 250)).await.unwrap();
            *head += 250;
        }
        if round == 100 {
            // Written once more, so that the check below has what it asks for.
            let old = journal.replay(ReplayRange::all(&id("bob")).limit(1)).try_next().await.unwrap();
            let Some(Replayed::Event(old)) = old else { panic!("an event") };
            assert!(journal.replace(&old, old.envelope.clone()).await.unwrap());
        }
    }
    bench.check(&id("bob"), 1);
    let sealed = bench.sealed.lock().unwrap();
    assert_eq!(sealed.len(), 100_001);
    let bits = sealed.iter().fold([0_u32; 96], |mut bits, (_, _, _, nonce, _)| {
        for (at, bit) in bits.iter_mut().enumerate() {
            *bit += u32::from(nonce[at / 8] >> (at % 8) & 1);
        }
        bits
    });
    // Ten standard deviations: each bit is drawn.
    assert!(bits.iter().all(|ones| ones.abs_diff(50_000) < 1_600), "{bits:?}");
}

/// What is stored, in another journal.
async fn copy(memory: &MemoryJournal) -> Arc<MemoryJournal> {
    let copy = Arc::new(MemoryJournal::new());
    for (key, record) in memory.list("", None, 1_000).await.unwrap() {
        drop(copy.compare_and_set(&key, None, record.value).await.unwrap());
    }
    for id in memory.persistence_ids(None, 100).await.unwrap() {
        let items: Vec<_> = memory.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
        let events = items.into_iter().filter_map(|item| match item {
            Replayed::Event(event) => Some(event.envelope),
            _ => None,
        });
        let head = memory.head(&id).await.unwrap();
        let mark = head.mark.map(|to| MarkChange { from: None, to });
        let (expected, events) = (SeqNr::ZERO, events.collect());
        let write = AtomicWrite { persistence_id: id.clone(), expected, token: head.token, events, mark };
        copy.append(write).await.unwrap();
    }
    copy
}
