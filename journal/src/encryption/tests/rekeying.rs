use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};

use super::crashing::Crashing;
use super::sample::{id, keys, ring};
use crate::encryption::{
    KeyState, KeysError, NoStates, Rekeyer, ResealOptions, ResealSummary, ResealedIds, SealedJournal,
    SealedOptions, SealedStates, StatesSealed,
};
use crate::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, JournalError, JournalExt as _, KeyId, Manifest,
    MemoryJournal, Offset, PageItem, PersistenceId, Records, ReplayRange, Replayed, SeqNr, SliceRange,
    StoredEvent, Timestamp, Token, Write, WriterId,
};

pub(super) fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

pub(super) fn token(activation: u64) -> Token {
    Token::new(Epoch(1), activation)
}

pub(super) fn append(id: &PersistenceId, token: Token, expected: u64, count: u64) -> AtomicWrite {
    let event = |number: u64| Envelope {
        persistence_id: id.clone(),
        seq_nr: nr(number),
        token,
        writer: WriterId::from_bytes([1; 16]),
        timestamp: Timestamp::from_micros(number),
        manifest: Manifest::new("account.deposited").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: vec![],
        trace_context: None,
        key_id: None,
        payload: format!("{{\"cents\":{number}}}").into(),
    };
    let events = (expected + 1..=expected + count).map(event).collect();
    AtomicWrite { persistence_id: id.clone(), expected: nr(expected), token, events, mark: None }
}

/// The journal of one more process.
pub(super) async fn process<S: Journal + Records>(store: &Arc<S>) -> SealedJournal {
    let keys = keys(store.clone(), ring(1, &[1])).await.unwrap();
    SealedJournal::open(store.clone(), keys, SealedOptions::default()).await.unwrap()
}

async fn rekey(journal: &SealedJournal, incident: &str) -> Result<ResealSummary, KeysError> {
    let rekeyer = Rekeyer::new(journal.clone(), Arc::new(NoStates));
    rekeyer.rekey(incident, &ResealedIds::All, &ResealOptions::default(), |_| ()).await
}

/// What an id's events say, as a process with nothing in memory reads and checks them.
pub(super) async fn read(store: &Arc<MemoryJournal>, id: &PersistenceId) -> Vec<String> {
    let journal = process(store).await;
    let items: Vec<_> = journal.replay(ReplayRange::all(id)).try_collect().await.unwrap();
    let text = |item| match item {
        Replayed::Event(event) => String::from_utf8(event.envelope.payload.to_vec()).unwrap(),
        Replayed::Deleted { from, to } => format!("deleted {from:?} to {to:?}"),
        Replayed::Erased { from, to } => format!("erased {from:?} to {to:?}"),
    };
    items.into_iter().map(text).collect()
}

pub(super) async fn raw(store: &MemoryJournal, id: &PersistenceId) -> Vec<StoredEvent> {
    let items = store.replay(ReplayRange::all(id)).filter_map(async |item| match item.unwrap() {
        Replayed::Event(event) => Some(event),
        Replayed::Deleted { .. } | Replayed::Erased { .. } => None,
    });
    items.collect().await
}

pub(super) async fn generations(store: &Arc<MemoryJournal>, id: &PersistenceId) -> Vec<(KeyId, SeqNr)> {
    match keys(store.clone(), ring(1, &[1])).await.unwrap().state(&[id]).await.remove(0).unwrap() {
        KeyState::Live { generations, .. } => generations,
        other => panic!("{other:?}"),
    }
}

pub(super) fn texts(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.map(|number| format!("{{\"cents\":{number}}}")).collect()
}

#[tokio::test]
async fn everything_is_under_a_fresh_key_and_what_is_put_back_opens_no_more() {
    let (store, alice, bob) = (Arc::new(MemoryJournal::new()), id("alice"), id("bob"));
    let owner = process(&store).await;
    for id in [&alice, &bob] {
        owner.claim(id, token(1)).await.unwrap();
        for at in (0..600).step_by(100) {
            owner.append(append(id, token(1), at, 100)).await.unwrap();
        }
    }
    owner.delete_to(&alice, nr(50)).await.unwrap();
    let before = raw(&store, &alice).await;

    let done = rekey(&process(&store).await, "leak").await.unwrap();
    assert_eq!((done.total.ids, done.total.changed, done.total.events), (2, 2, 550 + 600));
    assert!(done.failures.is_empty(), "{done:?}");
    for id in [&alice, &bob] {
        assert_eq!(generations(&store, id).await, [(KeyId(2), SeqNr::FIRST)]);
    }
    let after = raw(&store, &alice).await;
    assert!(after.iter().all(|event| event.envelope.key_id == Some(KeyId(2))));
    let mut read_now = vec!["deleted #1 to #50".to_owned()];
    read_now.extend(texts(51..=600));
    assert!(read(&store, &alice).await == read_now);

    // For the same incident there is nothing to do; for another all is done again, and no nonce comes twice under a key.
    let again = rekey(&process(&store).await, "leak").await.unwrap();
    assert_eq!((again.total.ids, again.total.changed, again.total.events), (2, 0, 0));
    rekey(&process(&store).await, "another").await.unwrap();
    let last = raw(&store, &alice).await;
    let seal = |event: &StoredEvent| (event.envelope.key_id, event.envelope.payload[1..13].to_vec());
    let seals: HashSet<_> = before.iter().chain(&after).chain(&last).map(seal).collect();
    assert_eq!(seals.len(), 3 * 550);

    let old = before.iter().find(|event| event.envelope.seq_nr == nr(70)).unwrap();
    let new = last.iter().find(|event| event.envelope.seq_nr == nr(70)).unwrap();
    assert!(store.replace(new, old.envelope.clone()).await.unwrap());
    let reader = process(&store).await;
    let error = reader.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(
        matches!(error, JournalError::Key { .. }) && error.to_string().contains("generation 1"),
        "{error}"
    );
}

#[tokio::test]
async fn an_owner_and_a_reader_with_warm_caches_go_on() {
    let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
    let owner = process(&store).await;
    owner.claim(&alice, token(1)).await.unwrap();
    owner.append(append(&alice, token(1), 0, 300)).await.unwrap();
    // Somebody is in the middle of reading, with the old key in memory; another has read a page, and no key.
    let reader = process(&store).await;
    let mut reading = reader.replay(ReplayRange::all(&alice));
    reading.try_next().await.unwrap().unwrap();
    let late = process(&store).await;
    let unopened = late.inner().events_by_slice(SliceRange::ALL, Offset::BEGINNING, 500).await.unwrap();

    rekey(&process(&store).await, "leak").await.unwrap();
    // What the owner still has under way is not stored.
    let error = owner.append(append(&alice, token(1), 300, 1)).await.unwrap_err();
    assert!(matches!(error, JournalError::Superseded { .. }), "{error}");
    let head = owner.claim(&alice, token(u64::MAX)).await.unwrap();
    assert_eq!(head.seq_nr, nr(300));
    owner.append(append(&alice, token(u64::MAX), 300, 10)).await.unwrap();
    assert!(raw(&store, &alice).await.iter().all(|event| event.envelope.key_id == Some(KeyId(2))));

    assert_eq!(reading.try_collect::<Vec<_>>().await.unwrap().len(), 299);
    let page = late.vault.opened(unopened.items).await.unwrap();
    assert_eq!(page.len(), 300);
    assert!(
        page.iter().all(|item| matches!(item, PageItem::Event(event) if event.envelope.key_id.is_none()))
    );
    assert_eq!(read(&store, &alice).await, texts(1..=310));
    // A second rekeying, and the owner's next token.
    rekey(&process(&store).await, "another").await.unwrap();
    assert_eq!(read(&store, &alice).await, texts(1..=310));
}

/// An owner that sends an append together with the claim that it needs has sealed it with what it knew before.
#[derive(Debug)]
struct Meanwhile(SealedJournal, PersistenceId);

#[async_trait]
impl SealedStates for Meanwhile {
    async fn seal_again(&self, id: &PersistenceId, _: KeyId, _: bool) -> Result<StatesSealed, JournalError> {
        assert_eq!(*id, self.1);
        let claim = Write::Claim { persistence_id: id.clone(), token: token(u64::MAX) };
        let append = Write::Append(append(id, token(u64::MAX), 3, 1));
        for answer in self.0.write(vec![claim, append]).await {
            answer.unwrap();
        }
        Ok(StatesSealed::default())
    }
}

#[tokio::test]
async fn what_was_sealed_under_the_old_key_behind_the_claim_is_found() {
    let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
    let owner = process(&store).await;
    owner.claim(&alice, token(1)).await.unwrap();
    owner.append(append(&alice, token(1), 0, 3)).await.unwrap();
    let meanwhile = Arc::new(Meanwhile(owner, alice.clone()));
    let rekeyer = Rekeyer::new(process(&store).await, meanwhile);
    let done = rekeyer.rekey("leak", &ResealedIds::All, &ResealOptions::default(), |_| ()).await.unwrap();
    assert_eq!((done.total.events, done.total.failed), (4, 0));
    assert!(raw(&store, &alice).await.iter().all(|event| event.envelope.key_id == Some(KeyId(2))));
    assert_eq!(read(&store, &alice).await, texts(1..=4));
}

/// Killed before each of its changes in turn, and begun again, it ends right; in between everything can be read and written.
#[tokio::test]
async fn a_rekeying_that_was_killed_at_any_step_goes_on() {
    let mut steps = 0;
    loop {
        let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
        let owner = process(&store).await;
        owner.claim(&alice, token(1)).await.unwrap();
        owner.append(append(&alice, token(1), 0, 5)).await.unwrap();
        // The process takes its own steps to start.
        let dying = Crashing::after(100, &store);
        let journal = process(&dying).await;
        dying.die_after(steps);
        let done = rekey(&journal, "leak").await.unwrap();
        let crashed = dying.has_crashed();
        assert_eq!(done.total.failed, u64::from(crashed), "{steps}: {done:?}");
        assert_eq!(read(&store, &alice).await, texts(1..=5), "after {steps}");

        // The owner goes on, before it knows or when it was told.
        let head = match owner.append(append(&alice, token(1), 5, 1)).await {
            Err(JournalError::Superseded { .. }) => {
                let stored = owner.head(&alice).await.unwrap().token;
                let token = Token::new(stored.epoch, stored.activation + 1);
                owner.claim(&alice, token).await.unwrap();
                owner.append(append(&alice, token, 5, 1)).await.unwrap()
            }
            answer => answer.unwrap(),
        };
        assert_eq!(head.seq_nr, nr(6));
        let again = rekey(&process(&store).await, "leak").await.unwrap();
        assert_eq!(again.total.failed, 0, "after {steps}: {again:?}");
        assert_eq!(generations(&store, &alice).await, [(KeyId(2), SeqNr::FIRST)], "after {steps}");
        assert!(raw(&store, &alice).await.iter().all(|event| event.envelope.key_id == Some(KeyId(2))));
        assert_eq!(read(&store, &alice).await, texts(1..=6), "after {steps}");
        if !crashed {
            break;
        }
        steps += 1;
    }
    // Record, claim, five events, record.
    assert_eq!(steps, 8);
}

#[tokio::test]
async fn an_id_whose_events_are_corrupt_keeps_its_key_and_is_named() {
    let (store, alice) = (Arc::new(MemoryJournal::new()), id("alice"));
    let owner = process(&store).await;
    owner.claim(&alice, token(1)).await.unwrap();
    owner.append(append(&alice, token(1), 0, 3)).await.unwrap();
    let second = raw(&store, &alice).await.remove(1);
    let mut payload = second.envelope.payload.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let broken = Envelope { payload: payload.into(), ..second.envelope.clone() };
    assert!(store.replace(&second, broken).await.unwrap());
    let done = rekey(&process(&store).await, "leak").await.unwrap();
    assert_eq!((done.total.failed, done.total.changed), (1, 0));
    assert!(done.failures[0].error.to_string().contains('2'), "{done:?}");
    let generations = generations(&store, &alice).await;
    assert_eq!(generations[0].0, KeyId(1), "{generations:?}");
}
