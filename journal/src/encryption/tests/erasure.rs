use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::sample::{id, keys, ring, same, to_open, to_seal};
use crate::encryption::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use crate::encryption::{EraseError, Erased, Eraser, ErasureLog, KeyState, Logged};
use crate::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, JournalError, JournalExt as _, KeyId, Manifest,
    MemoryJournal, PersistenceId, Record, RecordChange, RecordKey, Records, SeqNr, Timestamp, Token, Verdict,
    WriterId,
};

fn event(id: &PersistenceId, token: Token, number: u64) -> AtomicWrite {
    let event = Envelope {
        persistence_id: id.clone(),
        seq_nr: SeqNr::new(number).unwrap(),
        token,
        writer: WriterId::from_bytes([1; 16]),
        timestamp: Timestamp::from_micros(1),
        manifest: Manifest::new("account.deposited").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: vec![],
        trace_context: None,
        key_id: None,
        payload: "{}".into(),
    };
    let expected = event.seq_nr.previous();
    AtomicWrite { persistence_id: id.clone(), expected, token, events: vec![event], mark: None }
}

/// What is stored of an id's keys.
async fn stored(records: &dyn Records, id: &PersistenceId) -> ScopeKeys {
    let key = scope_key(id.as_str()).unwrap();
    ScopeKeys::read(&key, &records.get(&key).await.unwrap().unwrap()).unwrap().0
}

async fn state(records: &Arc<MemoryJournal>, id: &PersistenceId) -> KeyState {
    keys(records.clone(), ring(1, &[1])).await.unwrap().state(&[id]).await.remove(0).unwrap()
}

/// Records that fail from the so-manieth change on.
struct Failing {
    inner: Arc<MemoryJournal>,
    left: AtomicUsize,
}

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

#[async_trait]
impl Records for Failing {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.inner.get(key).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.inner.change(changes).await,
            Err(_) => changes
                .iter()
                .map(|_| Err(JournalError::Unavailable { reason: "crashed".into(), source: None }))
                .collect(),
        }
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.inner.now().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.inner.list(prefix, after, limit).await
    }
}

#[tokio::test]
async fn what_is_erased_opens_nowhere_and_its_key_is_gone() {
    let memory = Arc::new(MemoryJournal::new());
    let (ours, theirs) = (
        keys(memory.clone(), ring(1, &[1])).await.unwrap(),
        keys(memory.clone(), ring(1, &[1])).await.unwrap(),
    );
    let (alice, bob) = (id("alice"), id("bob"));
    let token = Token::new(Epoch(3), 5);
    memory.claim(&alice, token).await.unwrap();
    to_seal(&ours, &alice, 1).await.unwrap();
    to_seal(&ours, &bob, 1).await.unwrap();
    memory.append(event(&alice, token, 1)).await.unwrap();
    to_open(&theirs, &alice, 1).await.unwrap();

    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("erased.jsonl");
    let mut log = ErasureLog::open(&path).unwrap();
    let eraser = Eraser::new(memory.clone(), memory.clone());
    let erased = eraser.erase(&alice, &mut log).await.unwrap();
    assert_eq!((&erased.persistence_id, erased.erased_to), (&alice, KeyId(1)));
    assert_eq!(ErasureLog::read(&path).unwrap(), [Logged::Id(erased.clone())]);
    assert!(stored(&*memory, &alice).await.generations.is_empty());
    // Whoever has the key in memory is superseded, and looks again then. Nobody is fenced.
    let superseded = memory.append(event(&alice, token, 2)).await.unwrap_err();
    assert!(matches!(superseded, JournalError::Superseded { .. }), "{superseded}");
    theirs.forget(&alice);
    for answer in [to_open(&theirs, &alice, 1).await, to_seal(&theirs, &alice, 2).await] {
        assert!(matches!(answer, Err(JournalError::Erased { .. })), "{answer:?}");
    }
    assert!(matches!(state(&memory, &alice).await, KeyState::Erased { erased_to: KeyId(1), .. }));
    to_open(&theirs, &bob, 1).await.unwrap();

    // Again does nothing, and says the same.
    assert_eq!(eraser.erase(&alice, &mut log).await.unwrap(), erased);
    assert_eq!(ErasureLog::read(&path).unwrap().len(), 1);
}

#[tokio::test]
async fn an_erasure_that_crashed_anywhere_is_finished_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
    for changes in 0..5 {
        let memory = Arc::new(MemoryJournal::new());
        let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
        let alice = id("alice");
        memory.claim(&alice, Token::new(Epoch(1), 1)).await.unwrap();
        to_seal(&ours, &alice, 1).await.unwrap();
        let crashing = Arc::new(Failing { inner: memory.clone(), left: changes.into() });
        let first = Eraser::new(memory.clone(), crashing).erase(&alice, &mut log).await;
        assert_eq!(first.is_ok(), changes >= 3, "{first:?}");
        ours.forget(&alice);
        // From the first change on it is erased, whatever is left.
        assert_eq!(to_open(&ours, &alice, 1).await.is_err(), changes >= 1);
        Eraser::new(memory.clone(), memory.clone()).erase(&alice, &mut log).await.unwrap();
        assert!(stored(&*memory, &alice).await.generations.is_empty());
        assert!(matches!(state(&memory, &alice).await, KeyState::Erased { .. }));
    }
}

#[tokio::test]
async fn nothing_is_erased_that_would_stay_readable_or_could_not_be_logged() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    let eraser = Eraser::new(memory.clone(), memory.clone());
    let home = tempfile::tempdir().unwrap();
    let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
    let (alice, token) = (id("alice"), Token::new(Epoch(1), 1));
    let answer = eraser.erase(&alice, &mut log).await;
    assert!(matches!(answer, Err(EraseError::NotSealed { .. })), "{answer:?}");

    // Two events from before there were keys.
    memory.append(event(&alice, token, 1)).await.unwrap();
    memory.append(event(&alice, token, 2)).await.unwrap();
    to_seal(&ours, &alice, 3).await.unwrap();
    memory.append(event(&alice, token, 3)).await.unwrap();
    let answer = eraser.erase(&alice, &mut log).await;
    assert!(
        matches!(&answer, Err(EraseError::InTheClear { to, .. }) if *to == SeqNr::new(2).unwrap()),
        "{answer:?}"
    );
    assert!(matches!(state(&memory, &alice).await, KeyState::Live { .. }));
    memory.delete_to(&alice, SeqNr::new(2).unwrap()).await.unwrap();
    eraser.erase(&alice, &mut log).await.unwrap();
}

#[tokio::test]
async fn a_new_life_is_allowed_explicitly_and_opens_nothing_of_the_old_one() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    let eraser = Eraser::new(memory.clone(), memory.clone());
    let home = tempfile::tempdir().unwrap();
    let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
    let alice = id("alice");
    let first = to_seal(&ours, &alice, 1).await.unwrap();
    assert!(!eraser.allow_new_life(&alice).await.unwrap(), "it lives");
    eraser.erase(&alice, &mut log).await.unwrap();
    assert!(eraser.allow_new_life(&alice).await.unwrap());
    assert!(!eraser.allow_new_life(&alice).await.unwrap(), "it lives again");
    let begun = state(&memory, &alice).await;
    assert_eq!(
        begun,
        KeyState::Live { generations: vec![], erased_to: Some(KeyId(1)), begins_behind: SeqNr::ZERO }
    );

    ours.forget(&alice);
    let second = to_seal(&ours, &alice, 7).await.unwrap();
    assert_eq!((second.id(), second.from_seq().get()), (KeyId(2), 7));
    assert!(!same(&first, &second));
    let old = to_open(&ours, &alice, 1).await;
    assert!(matches!(old, Err(JournalError::Erased { .. })), "{old:?}");
    to_open(&ours, &alice, 2).await.unwrap();

    eraser.erase(&alice, &mut log).await.unwrap();
    assert!(matches!(state(&memory, &alice).await, KeyState::Erased { erased_to: KeyId(2), .. }));
}

#[tokio::test]
async fn after_a_restore_what_was_logged_is_erased_again_and_a_later_life_stays() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    let eraser = Eraser::new(memory.clone(), memory.clone());
    let logged = |entity: &str, generation| Erased {
        persistence_id: id(entity),
        erased_to: KeyId(generation),
        at: Timestamp::from_micros(9),
    };
    // The backup is from before: alice lives, of bob nothing was there, and carol lives for the second time.
    to_seal(&ours, &id("alice"), 1).await.unwrap();
    to_seal(&ours, &id("carol"), 1).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
    eraser.erase(&id("carol"), &mut log).await.unwrap();
    eraser.allow_new_life(&id("carol")).await.unwrap();
    ours.forget(&id("carol"));
    to_seal(&ours, &id("carol"), 5).await.unwrap();

    for _ in 0..2 {
        for again in [logged("alice", 1), logged("bob", 3), logged("carol", 1)] {
            eraser.erase_again(&again).await.unwrap();
        }
        assert!(matches!(state(&memory, &id("alice")).await, KeyState::Erased { erased_to: KeyId(1), .. }));
        assert!(matches!(state(&memory, &id("bob")).await, KeyState::Erased { erased_to: KeyId(3), .. }));
        assert!(matches!(state(&memory, &id("carol")).await, KeyState::Live { .. }));
    }
    assert!(stored(&*memory, &id("alice")).await.generations.is_empty());
    eraser.erase_again(&logged("carol", 2)).await.unwrap();
    assert!(matches!(state(&memory, &id("carol")).await, KeyState::Erased { erased_to: KeyId(2), .. }));
}

#[test]
fn a_log_has_whole_lines_and_says_which_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("erased.jsonl");
    let erased = |generation| Erased {
        persistence_id: id("älice \"x\""),
        erased_to: KeyId(generation),
        at: Timestamp::from_micros(u64::MAX),
    };
    ErasureLog::open(&path).unwrap().append(&erased(1)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // A crash has cut the next line anywhere.
    for cut in 1..whole.len() {
        std::fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
        assert_eq!(ErasureLog::read(&path).unwrap(), [Logged::Id(erased(1))], "{cut}");
        ErasureLog::open(&path).unwrap().append(&erased(2)).unwrap();
        assert_eq!(ErasureLog::read(&path).unwrap(), [erased(1), erased(2)].map(Logged::Id), "{cut}");
    }
    for wrong in
        ["{}", r#"{"erased":"alice","generation":1,"at":1}"#, r#"{"erased":"a|b","generation":0,"at":1}"#]
    {
        std::fs::write(&path, [&whole[..], wrong.as_bytes(), b"\n"].concat()).unwrap();
        let error = ErasureLog::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("erased.jsonl"), "{error}");
    }
}
