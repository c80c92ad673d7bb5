use std::sync::Arc;

use futures::TryStreamExt as _;

use super::crashing::Crashing;
use super::rekeying::{append, nr, token};
use super::sample::{id, ring};
use super::staged::Staged;
use crate::encryption::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use crate::encryption::{
    DataKeyOptions, DataKeys, Encrypter, EraseError, Eraser, ErasureLog, KeyScope, KeyUsage, Logged,
    MasterKeyId, NoStates, Rekeyer, ResealOptions, ResealSummary, ResealedIds, RingKeys, RotationOptions,
    ScopeOf, SealedJournal, SealedOptions,
};
use crate::{
    Journal, JournalError, JournalExt as _, MemoryJournal, PersistenceId, Records, ReplayRange, Replayed,
    SeqNr, Token,
};

/// Accounts of tenants: `t7-alice` belongs to `t7`, `carol` to none.
fn tenants() -> ScopeOf {
    ScopeOf::new(|id| KeyScope::new(id.entity_id().split_once('-')?.0).ok())
}

fn t7() -> KeyScope {
    KeyScope::new("t7").unwrap()
}

async fn keys<R: Records>(records: &Arc<R>, masters: &[u32]) -> DataKeys {
    let masters = Arc::new(RingKeys::from(ring(*masters.last().unwrap(), masters)));
    let options = DataKeyOptions { scopes: Some(tenants()), ..DataKeyOptions::default() };
    DataKeys::open(records.clone(), masters, options).await.unwrap()
}

/// The journal of one more process.
async fn process<S: Journal + Records>(store: &Arc<S>) -> SealedJournal {
    SealedJournal::open(store.clone(), keys(store, &[1]).await, SealedOptions::default()).await.unwrap()
}

async fn record(store: &MemoryJournal, name: &str) -> ScopeKeys {
    let key = scope_key(name).unwrap();
    ScopeKeys::read(&key, &store.get(&key).await.unwrap().unwrap()).unwrap().0
}

async fn claimed(owner: &SealedJournal, id: &PersistenceId) -> Result<Token, JournalError> {
    let stored = owner.inner().head(id).await?.token;
    let token = Token::new(stored.epoch.max(token(1).epoch), stored.activation + 1);
    owner.claim(id, token).await.map(|_| token)
}

async fn deposited(owner: &SealedJournal, id: &PersistenceId) -> Token {
    let token = claimed(owner, id).await.unwrap();
    let head = owner.head(id).await.unwrap().seq_nr;
    owner.append(append(id, token, head.get(), 2)).await.unwrap();
    token
}

/// How many events a process with nothing in memory reads, and how many are erased.
async fn read(store: &Arc<MemoryJournal>, id: &PersistenceId) -> (usize, u64) {
    let journal = process(store).await;
    let items: Vec<_> = journal.replay(ReplayRange::all(id)).try_collect().await.unwrap();
    let erased = items.iter().map(|item| match item {
        Replayed::Erased { from, to } => to.get() - from.get() + 1,
        _ => 0,
    });
    (items.iter().filter(|item| matches!(item, Replayed::Event(_))).count(), erased.sum())
}

fn log(home: &tempfile::TempDir) -> ErasureLog {
    ErasureLog::open(home.path().join("erased.jsonl")).unwrap()
}

async fn rekey(
    journal: &SealedJournal,
    incident: &str,
    ids: &ResealedIds,
) -> Result<ResealSummary, crate::encryption::KeysError> {
    let rekeyer = Rekeyer::new(journal.clone(), Arc::new(NoStates));
    rekeyer.rekey(incident, ids, &ResealOptions::default(), |_| ()).await
}

#[tokio::test]
async fn ids_of_a_scope_are_under_its_key_and_are_erased_together() {
    let store = Arc::new(MemoryJournal::new());
    let [alice, bob, other, carol] = ["t7-alice", "t7-bob", "t8-dora", "carol"].map(id);
    let (owner, reader) = (process(&store).await, process(&store).await);
    let mut tokens = Vec::new();
    for id in [&alice, &bob, &other, &carol] {
        tokens.push(deposited(&owner, id).await);
        assert_eq!(read(&store, id).await, (2, 0));
        reader.replay(ReplayRange::all(id)).try_collect::<Vec<_>>().await.unwrap();
    }
    // No master key opens the key of an id of a scope.
    let [of_alice, of_carol] = [record(&store, alice.as_str()).await, record(&store, carol.as_str()).await];
    assert_eq!((of_alice.scope.as_str(), of_alice.generations[0].scope_key), ("t7", 1));
    assert_eq!((of_alice.generations[0].master, of_carol.generations[0].master), (0, 1));
    let usage = KeyUsage::read(&*store, |_| ()).await.unwrap();
    assert_eq!((usage.ids, usage.in_scopes, usage.scopes), (4, 3, 2));
    assert_eq!(usage.master_keys[&MasterKeyId(1)].data_keys, 3, "two scopes, and carol's");

    let home = tempfile::tempdir().unwrap();
    let eraser = Eraser::new(store.clone(), store.clone());
    let before = store.get(&scope_key(alice.as_str()).unwrap()).await.unwrap().unwrap();
    assert_eq!(eraser.look_at_scope(&t7()).await.unwrap(), [alice.clone(), bob.clone()]);
    let erased = eraser.erase_scope(&t7(), &mut log(&home)).await.unwrap();
    assert_eq!(erased.len(), 2);
    assert!(record(&store, "t7").await.generations.is_empty());
    for (id, token) in [(&alice, tokens[0]), (&bob, tokens[1])] {
        assert_eq!(read(&store, id).await, (0, 2));
        let late = owner.append(append(id, token, 2, 1)).await.unwrap_err();
        assert!(matches!(late, JournalError::Superseded { .. }), "{late}");
        let claim = claimed(&owner, id).await.unwrap_err();
        assert!(matches!(claim, JournalError::Erased { .. }), "{claim}");
    }
    // Whoever was not there yet gets no key, in a process that knows the scope and in a new one.
    for process in [&owner, &process(&store).await] {
        let late = id("t7-late");
        let token = claimed(process, &late).await.unwrap();
        let refused = process.append(append(&late, token, 0, 1)).await.unwrap_err();
        assert!(matches!(refused, JournalError::Erased { .. }), "{refused}");
    }
    for (id, token) in [(&other, tokens[2]), (&carol, tokens[3])] {
        assert_eq!(read(&store, id).await, (2, 0));
        owner.append(append(id, token, 2, 1)).await.unwrap();
    }
    // An older record of an id that is put back opens nothing: the key that wrapped it is gone.
    let name = scope_key(alice.as_str()).unwrap();
    let now = store.get(&name).await.unwrap().unwrap();
    drop(store.compare_and_set(&name, Some(now.revision), before.value).await.unwrap());
    assert_eq!(read(&store, &alice).await, (0, 2));
    let claim = claimed(&process(&store).await, &alice).await.unwrap_err();
    assert!(matches!(claim, JournalError::Erased { .. }), "{claim}");

    // Again does nothing but what is left to be done; a line for the scope, and one for each id.
    eraser.erase_scope(&t7(), &mut log(&home)).await.unwrap();
    let logged = ErasureLog::read(home.path().join("erased.jsonl")).unwrap();
    assert!(matches!(&logged[0], Logged::Scope(erased) if erased.scope == t7()), "{logged:?}");
    assert_eq!(
        logged.iter().filter(|line| matches!(line, Logged::Id(of) if of.persistence_id == bob)).count(),
        1
    );
    let usage = KeyUsage::read(&*store, |_| ()).await.unwrap();
    assert_eq!((usage.ids, usage.erased, usage.scopes, usage.erased_scopes), (2, 2, 1, 1));

    // A new life, when it is allowed.
    assert_eq!(eraser.allow_scope(&t7()).await.unwrap(), 2);
    let owner = process(&store).await;
    deposited(&owner, &bob).await;
    assert_eq!(read(&store, &bob).await, (2, 2));
    assert_eq!(record(&store, bob.as_str()).await.generations[0].scope_key, 2);
    let unknown = eraser.erase_scope(&KeyScope::new("t9").unwrap(), &mut log(&home)).await.unwrap_err();
    assert!(matches!(unknown, EraseError::UnknownScope { .. }), "{unknown}");
}

/// Between looking at the scope and storing a first key under it: the key is not stored.
#[tokio::test]
async fn no_key_is_made_under_a_scope_that_was_erased_meanwhile() {
    for n in 1..=2 {
        let store = Arc::new(MemoryJournal::new());
        let [alice, bob] = ["t7-alice", "t7-bob"].map(id);
        deposited(&process(&store).await, &alice).await;
        let staged = Staged::around(&store);
        let ours = keys(&staged, &[1]).await;
        let (memory, home) = (store.clone(), tempfile::tempdir().unwrap());
        let mut log = log(&home);
        staged.before_nth_change(n, async move {
            Eraser::new(memory.clone(), memory).erase_scope(&t7(), &mut log).await.unwrap();
        });
        let made = ours.to_seal(&[(&bob, SeqNr::FIRST)]).await.remove(0);
        if n == 1 {
            assert!(matches!(made, Err(JournalError::Erased { .. })), "{made:?}");
            assert!(store.get(&scope_key(bob.as_str()).unwrap()).await.unwrap().is_none());
        } else {
            // There was one change only: the key is there, and the erasure is still to come.
            made.unwrap();
        }
    }
}

#[tokio::test]
async fn an_erasure_of_a_scope_that_was_killed_at_any_step_goes_on() {
    let mut steps = 0;
    loop {
        let store = Arc::new(MemoryJournal::new());
        let ids = ["t7-alice", "t7-bob"].map(id);
        for id in &ids {
            deposited(&process(&store).await, id).await;
        }
        let home = tempfile::tempdir().unwrap();
        let dying = Crashing::after(steps, &store);
        let done = Eraser::new(dying.clone(), dying.clone()).erase_scope(&t7(), &mut log(&home)).await;
        assert_eq!(done.is_err(), dying.has_crashed(), "after {steps}: {done:?}");
        for id in &ids {
            // Nothing of it, or all from the first step on: that is one record.
            assert_eq!(read(&store, id).await, if steps == 0 { (2, 0) } else { (0, 2) }, "after {steps}");
        }
        Eraser::new(store.clone(), store.clone()).erase_scope(&t7(), &mut log(&home)).await.unwrap();
        for id in &ids {
            assert_eq!(read(&store, id).await, (0, 2));
            assert!(record(&store, id.as_str()).await.generations.is_empty());
        }
        assert!(record(&store, "t7").await.generations.is_empty());
        if !dying.has_crashed() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
}

#[tokio::test]
async fn a_restored_backup_is_erased_again_with_the_scope() {
    let store = Arc::new(MemoryJournal::new());
    let alice = id("t7-alice");
    deposited(&process(&store).await, &alice).await;
    let home = tempfile::tempdir().unwrap();
    let mut backup = Vec::new();
    for name in ["t7", alice.as_str()] {
        let key = scope_key(name).unwrap();
        backup.push((key.clone(), store.get(&key).await.unwrap().unwrap().value));
    }
    let eraser = Eraser::new(store.clone(), store.clone());
    eraser.erase_scope(&t7(), &mut log(&home)).await.unwrap();
    for (key, value) in backup {
        let now = store.get(&key).await.unwrap().unwrap();
        drop(store.compare_and_set(&key, Some(now.revision), value).await.unwrap());
    }
    assert_eq!(read(&store, &alice).await, (2, 0));
    for line in ErasureLog::read(home.path().join("erased.jsonl")).unwrap() {
        match line {
            Logged::Id(erased) => drop(eraser.erase_again(&erased).await.unwrap()),
            Logged::Scope(erased) => {
                assert!(!eraser.is_scope_erased(&erased).await.unwrap());
                eraser.erase_scope_again(&erased).await.unwrap();
                assert!(eraser.is_scope_erased(&erased).await.unwrap());
            }
        }
    }
    assert_eq!(read(&store, &alice).await, (0, 2));
    assert!(record(&store, "t7").await.generations.is_empty());
}

#[tokio::test]
async fn a_rotation_rewraps_the_key_of_a_scope_and_none_of_its_ids() {
    let store = Arc::new(MemoryJournal::new());
    let ids = ["t7-alice", "t7-bob", "t7-carol"].map(id);
    for id in &ids {
        deposited(&process(&store).await, id).await;
    }
    let both = keys(&store, &[1, 2]).await;
    let rotated = RotationOptions { force: true, ..RotationOptions::default() };
    let summary = both.rotate(&rotated, |_| ()).await.unwrap();
    assert_eq!(summary.total.rewrapped, 1, "{summary:?}");
    assert_eq!(record(&store, "t7").await.generations[0].master, 2);
    let journal = SealedJournal::open(store.clone(), keys(&store, &[2]).await, SealedOptions::default());
    let journal = journal.await.unwrap();
    for id in &ids {
        assert_eq!(journal.replay(ReplayRange::all(id)).try_collect::<Vec<_>>().await.unwrap().len(), 2);
        deposited(&journal, id).await;
    }
}

/// Killed before each of its changes in turn, and begun again, it ends with fresh keys of ids and of the scope, and everything can be read.
#[tokio::test]
async fn a_rekeying_of_a_scope_that_was_killed_at_any_step_goes_on() {
    for all in [false, true] {
        let mut steps = 0;
        loop {
            let store = Arc::new(MemoryJournal::new());
            let ids = ["t7-alice", "t7-bob"].map(id);
            let owner = process(&store).await;
            let mut tokens = Vec::new();
            for id in &ids {
                tokens.push(deposited(&owner, id).await);
            }
            // Alice alone was rekeyed for it before: her key is new, and under the old one of the scope.
            let these = ResealedIds::These(vec![ids[0].clone()]);
            rekey(&process(&store).await, "leak", &these).await.unwrap();
            let wanted = if all { ResealedIds::All } else { ResealedIds::Scope(t7()) };

            let dying = Crashing::after(100, &store);
            let journal = process(&dying).await;
            dying.die_after(steps);
            let done = rekey(&journal, "leak", &wanted).await;
            let crashed = dying.has_crashed();
            let failed = done.as_ref().map_or(true, |done| done.total.failed > 0);
            assert_eq!(failed, crashed, "after {steps}: {done:?}");
            for id in &ids {
                assert_eq!(read(&store, id).await, (2, 0), "after {steps}");
            }
            let done = rekey(&process(&store).await, "leak", &wanted).await.unwrap();
            assert_eq!(done.total.failed, 0, "after {steps}: {done:?}");
            let scope = record(&store, "t7").await;
            assert_eq!(
                scope.generations.iter().map(|key| key.number).collect::<Vec<_>>(),
                [2],
                "after {steps}"
            );
            for id in &ids {
                let of_id = record(&store, id.as_str()).await.generations;
                assert_eq!(of_id.len(), 1, "after {steps}");
                assert_eq!((of_id[0].number, of_id[0].scope_key), (2, 2), "after {steps}");
                assert_eq!(read(&store, id).await, (2, 0), "after {steps}");
                // The owner reads its key again, and goes on.
                let late = owner.append(append(id, tokens[0], 2, 1)).await.unwrap_err();
                assert!(matches!(late, JournalError::Superseded { .. }), "after {steps}: {late}");
                let token = claimed(&owner, id).await.unwrap();
                owner.append(append(id, token, 2, 1)).await.unwrap();
                assert_eq!(read(&store, id).await, (3, 0), "after {steps}");
            }
            // There is nothing left to do.
            assert_eq!(rekey(&process(&store).await, "leak", &wanted).await.unwrap().total.changed, 0);
            if !crashed {
                break;
            }
            steps += 1;
        }
        assert!(steps > 5, "{steps}");
    }
}

#[tokio::test]
async fn what_is_encrypted_in_place_belongs_to_its_scope() {
    let store = Arc::new(MemoryJournal::new());
    let alice = id("t7-alice");
    store.claim(&alice, token(1)).await.unwrap();
    store.append(append(&alice, token(1), 0, 3)).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let journal = process(&store).await;
    let sealed = deposited(&journal, &alice).await;
    // While something is in the clear it is not erased, and nothing else of its scope.
    let eraser = Eraser::new(store.clone(), store.clone());
    let refused = eraser.erase_scope(&t7(), &mut log(&home)).await.unwrap_err();
    assert!(matches!(refused, EraseError::InTheClear { .. }), "{refused}");
    assert!(record(&store, "t7").await.erased().is_none());
    let encrypter = Encrypter::new(journal, Arc::new(NoStates));
    let done = encrypter.encrypt(&ResealedIds::Scope(t7()), &ResealOptions::default(), |_| ()).await.unwrap();
    assert_eq!((done.total.events, done.total.failed), (3, 0));
    let key = record(&store, alice.as_str()).await.generations.remove(0);
    assert_eq!((key.from_seq, key.scope_key, key.master), (1, 1, 0));
    assert_eq!(read(&store, &alice).await, (5, 0));
    eraser.erase_scope(&t7(), &mut log(&home)).await.unwrap();
    assert_eq!(read(&store, &alice).await, (0, 5));
    assert!(sealed < store.head(&alice).await.unwrap().token);
}

#[tokio::test]
async fn a_key_that_was_moved_to_another_id_or_scope_does_not_open() {
    let store = Arc::new(MemoryJournal::new());
    let [alice, bob, dora] = ["t7-alice", "t7-bob", "t8-dora"].map(id);
    for id in [&alice, &bob, &dora] {
        deposited(&process(&store).await, id).await;
    }
    let [of_alice, of_bob] = [record(&store, alice.as_str()).await, record(&store, bob.as_str()).await];
    let mut another_scope = of_alice.clone();
    another_scope.scope = "t8".to_owned();
    let mut another_start = of_alice.clone();
    another_start.generations[0].from_seq = 2;
    let mut cut = of_alice.clone();
    cut.generations[0].wrapped = cut.generations[0].wrapped.slice(..40);
    let mut another_key = of_alice.clone();
    another_key.generations[0].scope_key = 7;
    let name = scope_key(alice.as_str()).unwrap();
    for changed in [of_bob, another_scope, another_start, cut, another_key] {
        let now = store.get(&name).await.unwrap().unwrap();
        drop(store.compare_and_set(&name, Some(now.revision), changed.to_value()).await.unwrap());
        let read = process(&store).await.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await;
        assert!(matches!(&read, Err(JournalError::Key { .. })), "{changed:?}: {read:?}");
    }
    assert_eq!(nr(2), store.head(&alice).await.unwrap().seq_nr);
}
