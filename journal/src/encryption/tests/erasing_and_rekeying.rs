//! One id is erased while it is rekeyed, and the other way round: at each change of one the other is done, as a whole or up to a kill.

use std::sync::Arc;

use futures::TryStreamExt as _;

use super::crashing::Crashing;
use super::rekeying::{append, process, token};
use super::sample::{id, keys, ring};
use super::staged::Staged;
use crate::encryption::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use crate::encryption::{
    Eraser, ErasureLog, NoStates, Rekeyer, ResealOptions, ResealedIds, SealedJournal, SealedOptions,
};
use crate::{Journal, JournalError, JournalExt as _, MemoryJournal, Records, ReplayRange, Replayed};

async fn sealed_account() -> Arc<MemoryJournal> {
    let store = Arc::new(MemoryJournal::new());
    let owner = process(&store).await;
    owner.claim(&id("alice"), token(1)).await.unwrap();
    owner.append(append(&id("alice"), token(1), 0, 3)).await.unwrap();
    store
}

async fn rekey(journal: SealedJournal) {
    let rekeyer = Rekeyer::new(journal, Arc::new(NoStates));
    let done = rekeyer.rekey("leak", &ResealedIds::All, &ResealOptions::default(), |_| ()).await.unwrap();
    // What is erased needs no other key.
    assert_eq!(done.total.failed, 0, "{done:?}");
}

async fn erase(store: &Arc<MemoryJournal>, log: &mut ErasureLog) {
    Eraser::new(store.clone(), store.clone()).erase(&id("alice"), log).await.unwrap();
}

/// Whatever came first, nothing opens any more, no key is left, and it can live again.
async fn assert_erased(store: &Arc<MemoryJournal>, place: &str) {
    let alice = id("alice");
    let key = scope_key(alice.as_str()).unwrap();
    let (record, _) = ScopeKeys::read(&key, &store.get(&key).await.unwrap().unwrap()).unwrap();
    assert!(record.generations.is_empty() && record.erased().is_some(), "{place}: {record:?}");
    let items: Vec<_> = process(store).await.replay(ReplayRange::all(&alice)).try_collect().await.unwrap();
    assert!(
        matches!(items[..], [Replayed::Erased { from, to }] if (from.get(), to.get()) == (1, 3)),
        "{place}: {items:?}"
    );
    let head = store.head(&alice).await.unwrap();
    let newer = crate::Token::new(head.token.epoch, head.token.activation + 1);
    let claimed = process(store).await.claim(&alice, newer).await;
    assert!(matches!(claimed, Err(JournalError::Erased { .. })), "{place}: {claimed:?}");
    assert!(Eraser::new(store.clone(), store.clone()).allow_new_life(&alice).await.unwrap(), "{place}");
    let newest = crate::Token::new(head.token.epoch, head.token.activation + 2);
    let owner = process(store).await;
    owner.claim(&alice, newest).await.unwrap();
    owner.append(append(&alice, newest, 3, 1)).await.unwrap();
    let items: Vec<_> = process(store).await.replay(ReplayRange::all(&alice)).try_collect().await.unwrap();
    assert!(matches!(items[..], [Replayed::Erased { .. }, Replayed::Event(_)]), "{place}: {items:?}");
}

#[tokio::test]
async fn an_id_that_is_erased_while_it_is_rekeyed_is_erased() {
    // A fresh key, and the old one away; between them the events.
    for n in 1..=3 {
        let (store, home) = (sealed_account().await, tempfile::tempdir().unwrap());
        let staged = Staged::around(&store);
        let ours = keys(staged.clone(), ring(1, &[1])).await.unwrap();
        let journal = SealedJournal::open(store.clone(), ours, SealedOptions::default()).await.unwrap();
        let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
        let memory = store.clone();
        staged.before_nth_change(n, async move { erase(&memory, &mut log).await });
        rekey(journal).await;
        // One that came too late to meet it.
        let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
        erase(&store, &mut log).await;
        rekey(process(&store).await).await;
        assert_erased(&store, &format!("before change {n}")).await;
    }
}

#[tokio::test]
async fn an_id_that_is_rekeyed_while_it_is_erased_is_erased() {
    for n in 1..=4 {
        let (store, home) = (sealed_account().await, tempfile::tempdir().unwrap());
        let staged = Staged::around(&store);
        let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
        let memory = store.clone();
        staged.before_nth_change(n, async move { rekey(process(&memory).await).await });
        Eraser::new(store.clone(), staged).erase(&id("alice"), &mut log).await.unwrap();
        rekey(process(&store).await).await;
        assert_erased(&store, &format!("before change {n}")).await;
    }
}

/// Each is killed before each of its changes, then the other is done, then the first again.
#[tokio::test]
async fn whichever_is_killed_the_other_goes_on_and_the_id_is_erased() {
    for rekeying_is_killed in [false, true] {
        let mut steps = 0;
        loop {
            let (store, home) = (sealed_account().await, tempfile::tempdir().unwrap());
            let mut log = ErasureLog::open(home.path().join("erased.jsonl")).unwrap();
            let dying = Crashing::after(100, &store);
            let place = format!("{rekeying_is_killed}, after {steps}");
            if rekeying_is_killed {
                let journal = process(&dying).await;
                dying.die_after(steps);
                let rekeyer = Rekeyer::new(journal, Arc::new(NoStates));
                let options = ResealOptions::default();
                drop(rekeyer.rekey("leak", &ResealedIds::All, &options, |_| ()).await);
                erase(&store, &mut log).await;
            } else {
                dying.die_after(steps);
                let killed = Eraser::new(dying.clone(), dying.clone()).erase(&id("alice"), &mut log).await;
                assert_eq!(killed.is_err(), dying.has_crashed(), "{place}");
                rekey(process(&store).await).await;
                erase(&store, &mut log).await;
            }
            rekey(process(&store).await).await;
            assert_erased(&store, &place).await;
            if !dying.has_crashed() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 2, "{steps}");
    }
}
