use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sample::{activate_second, id, keys, ring, same, to_open, to_seal};
use super::staged::Staged;
use crate::encryption::data_key::MAX_SEALS;
use crate::encryption::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use crate::encryption::{
    DataKeyOptions, DataKeys, KeySource, KeyState, KeysError, MasterKeyId, Ring, RingKeys,
};
use crate::{CompareAndSet, JournalError, KeyId, MemoryJournal, PersistenceId, Records, SeqNr, Timestamp};

/// The master key that wrapped the newest generation.
async fn wrapped_by(records: &dyn Records, id: &PersistenceId) -> u32 {
    let key = scope_key(id.as_str()).unwrap();
    let record = records.get(&key).await.unwrap().unwrap();
    ScopeKeys::read(&key, &record).unwrap().0.generations.last().unwrap().master
}

#[tokio::test]
async fn keys_of_many_ids_are_made_in_one_change_and_found_again_by_others() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let ours = keys(records.clone(), ring(1, &[1])).await.unwrap();
    records.changes.store(0, Ordering::Relaxed);
    let ids: Vec<_> = (0..500).map(|n| id(&format!("{n}"))).collect();
    // One of them twice: it has one key all the same.
    let mut wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
    wanted.push((&ids[7], SeqNr::FIRST));
    let made: Vec<_> = ours.to_seal(&wanted).await.into_iter().map(Result::unwrap).collect();
    assert!(same(&made[7], &made[500]));
    assert!(!same(&made[7], &made[8]));
    assert!(records.changes.load(Ordering::Relaxed) <= 2);
    assert!(Arc::ptr_eq(&ours.to_seal_cached(&ids[3], SeqNr::FIRST).unwrap(), &made[3]));

    let records = Staged::around(&memory);
    let theirs = keys(records.clone(), ring(1, &[1])).await.unwrap();
    let wanted: Vec<_> = ids.iter().map(|id| (id, KeyId(1))).collect();
    for (ours, theirs) in made.iter().zip(theirs.to_open(&wanted).await) {
        assert!(same(ours, &theirs.unwrap()));
    }
    assert_eq!(records.looks.load(Ordering::Relaxed), 1);
    assert!(theirs.to_open_cached(&ids[3], KeyId(1)).is_some());
    theirs.forget(&ids[3]);
    assert!(theirs.to_open_cached(&ids[3], KeyId(1)).is_none());
}

#[tokio::test]
async fn of_two_who_make_a_key_the_loser_takes_the_winners() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let ours = keys(records.clone(), ring(1, &[1])).await.unwrap();
    let theirs = keys(memory, ring(1, &[1])).await.unwrap();
    let (alice, first) = (id("alice"), theirs.clone());
    records.before_change(async move { drop(to_seal(&first, &id("alice"), 1).await.unwrap()) });
    let taken = to_seal(&ours, &alice, 1).await.unwrap();
    assert!(same(&taken, &to_open(&theirs, &alice, 1).await.unwrap()));
    assert_eq!(taken.id(), KeyId(1));
}

#[tokio::test]
async fn what_is_made_while_the_active_key_changes_is_made_under_the_new_one() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let ours = keys(records.clone(), ring(1, &[1, 2])).await.unwrap();
    records.before_change(activate_second(memory.clone()));
    to_seal(&ours, &id("alice"), 1).await.unwrap();
    assert_eq!(wrapped_by(&*memory, &id("alice")).await, 2);
}

#[tokio::test]
async fn a_ring_is_read_again_before_a_key_is_reported_as_missing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ring.json");
    std::fs::write(&path, ring(1, &[1]).to_json().as_bytes()).unwrap();
    let memory = Arc::new(MemoryJournal::new());
    let masters = Arc::new(RingKeys::open(&[KeySource::File(path.clone())], &*memory).await.unwrap());
    let ours = DataKeys::open(memory.clone(), masters, DataKeyOptions::default()).await.unwrap();
    to_seal(&ours, &id("alice"), 1).await.unwrap();
    activate_second(memory.clone()).await;

    let error = to_seal(&ours, &id("bob"), 1).await.unwrap_err();
    assert!(matches!(error, JournalError::Key { .. }), "{error}");
    assert!(
        error.to_string().contains("account|bob") && error.to_string().contains("master key 2"),
        "{error}"
    );
    // Half a file changes nothing: what was there stays in use.
    std::fs::write(&path, br#"{"active":2,"ke"#).unwrap();
    assert!(to_seal(&ours, &id("bob"), 1).await.is_err());
    ours.forget(&id("alice"));
    to_open(&ours, &id("alice"), 1).await.unwrap();

    std::fs::write(&path, ring(2, &[1, 2]).to_json().as_bytes()).unwrap();
    to_seal(&ours, &id("bob"), 1).await.unwrap();
    assert_eq!(wrapped_by(&*memory, &id("bob")).await, 2);
}

#[tokio::test]
async fn a_ring_that_misses_a_needed_key_or_has_another_in_its_place_is_refused_at_start() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    to_seal(&ours, &id("alice"), 1).await.unwrap();
    activate_second(memory.clone()).await;

    for (there, missing) in [(ring(2, &[2]), 1), (ring(1, &[1]), 2)] {
        let error = keys(memory.clone(), there).await.unwrap_err();
        assert!(
            matches!(&error, KeysError::MissingMasterKeys { ids } if *ids == [MasterKeyId(missing)]),
            "{error}"
        );
    }
    let mut wrong = Ring::generate().unwrap();
    wrong.add().unwrap();
    let error = keys(memory.clone(), wrong).await.unwrap_err();
    assert!(matches!(error, KeysError::WrongMasterKey { id: MasterKeyId(1) }), "{error}");
    keys(memory, ring(1, &[1, 2])).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_used_up_has_a_successor_and_opens_what_it_sealed() {
    let keys = keys(Arc::new(MemoryJournal::new()), ring(1, &[1])).await.unwrap();
    let alice = id("alice");
    let first = to_seal(&keys, &alice, 1).await.unwrap();
    assert_eq!(to_seal(&keys, &alice, MAX_SEALS).await.unwrap().id(), KeyId(1));
    let second = to_seal(&keys, &alice, MAX_SEALS + 1).await.unwrap();
    assert_eq!((second.id(), second.from_seq().get()), (KeyId(2), MAX_SEALS + 1));
    assert!(!same(&first, &second));
    second.use_up();
    assert!(second.seal(b"context", &mut [0; 4]).is_err());
    assert!(keys.to_seal_cached(&alice, second.from_seq()).is_none());
    assert_eq!(to_seal(&keys, &alice, MAX_SEALS + 2).await.unwrap().id(), KeyId(3));
    for number in 1..=3 {
        assert_eq!(to_open(&keys, &alice, number).await.unwrap().id(), KeyId(number));
    }
    let error = to_open(&keys, &alice, 4).await.unwrap_err();
    assert!(matches!(error, JournalError::Key { .. }), "{error}");
}

#[tokio::test]
async fn a_stored_key_opens_for_its_own_id_generation_and_number_alone() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    to_seal(&ours, &id("alice"), 1).await.unwrap();
    let alice = scope_key("account|alice").unwrap();
    let record = memory.get(&alice).await.unwrap().unwrap();
    let (whole, _) = ScopeKeys::read(&alice, &record).unwrap();

    let mut flipped = whole.clone();
    let mut bytes = flipped.generations[0].wrapped.to_vec();
    bytes[20] ^= 1;
    flipped.generations[0].wrapped = bytes.into();
    let mut renumbered = whole.clone();
    renumbered.generations[0].number = 2;
    let mut moved = whole.clone();
    moved.generations[0].from_seq = 2;
    let mut other_master = whole.clone();
    other_master.generations[0].master = 2;
    let altered = [
        ("bob", whole, 1),
        ("flipped", flipped, 1),
        ("number", renumbered, 2),
        ("moved", moved, 1),
        ("master", other_master, 1),
    ];
    for (entity, value, number) in altered {
        // All but the first are put in the place of the true one.
        let owner = if entity == "bob" { id("bob") } else { id("alice") };
        let key = scope_key(owner.as_str()).unwrap();
        let before = memory.get(&key).await.unwrap().map(|record| record.revision);
        let set = memory.compare_and_set(&key, before, value.to_value()).await.unwrap();
        assert!(matches!(set, CompareAndSet::Set(_)));
        let theirs = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
        let error = to_open(&theirs, &owner, number).await.unwrap_err();
        assert!(matches!(error, JournalError::Key { .. }), "{entity}: {error}");
        assert!(error.to_string().contains(owner.as_str()), "{entity}: {error}");
    }
}

#[tokio::test]
async fn the_state_of_a_key_is_what_the_store_says_and_an_erased_one_opens_and_seals_nothing() {
    let memory = Arc::new(MemoryJournal::new());
    let ours = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    let (alice, bob) = (id("alice"), id("bob"));
    to_seal(&ours, &alice, 3).await.unwrap();
    let states: Vec<_> = ours.state(&[&alice, &bob]).await.into_iter().map(Result::unwrap).collect();
    let generations = vec![(KeyId(1), SeqNr::new(3).unwrap())];
    assert_eq!(
        states,
        [KeyState::Live { generations, erased_to: None, begins_behind: SeqNr::ZERO }, KeyState::None]
    );

    let key = scope_key(alice.as_str()).unwrap();
    let record = memory.get(&key).await.unwrap().unwrap();
    let (mut value, revision) = ScopeKeys::read(&key, &record).unwrap();
    (value.erased_to, value.erased_at) = (1, 7);
    let set = memory.compare_and_set(&key, Some(revision), value.to_value()).await.unwrap();
    assert!(matches!(set, CompareAndSet::Set(_)));
    ours.forget(&alice);
    let erased = KeyState::Erased { erased_to: KeyId(1), at: Timestamp::from_micros(7) };
    assert_eq!(ours.state(&[&alice]).await.remove(0).unwrap(), erased);
    for refused in [to_seal(&ours, &alice, 4).await, to_open(&ours, &alice, 1).await] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, JournalError::Erased { persistence_id, .. } if *persistence_id == alice),
            "{error}"
        );
    }
}

#[tokio::test]
async fn there_is_one_chain_key_and_whoever_reads_makes_none() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let ours = keys(records.clone(), ring(1, &[1, 2])).await.unwrap();
    let reader = |ring: Ring| {
        DataKeys::open_for_reading(memory.clone(), Arc::new(RingKeys::from(ring)), DataKeyOptions::default())
    };
    let reading = reader(ring(1, &[1])).await.unwrap();
    assert!(matches!(reading.chain_key().await, Err(JournalError::Key { .. })));

    // Another is faster, and the active master key moves meanwhile.
    let theirs = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    let (first, moved) = (theirs.clone(), memory.clone());
    records.before_change(async move {
        activate_second(moved).await;
        first.chain_key().await.unwrap();
    });
    let ours = ours.chain_key().await.unwrap();
    assert_eq!(ours, theirs.chain_key().await.unwrap());
    let reading = reader(ring(2, &[1, 2])).await.unwrap();
    assert_eq!(reading.chain_key().await.unwrap(), ours);

    let error = to_seal(&reading, &id("alice"), 1).await.unwrap_err();
    assert!(matches!(error, JournalError::Rejected { .. }), "{error}");
    assert!(memory.get(&scope_key("account|alice").unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_shows_a_key() {
    let memory = Arc::new(MemoryJournal::new());
    let keys = keys(memory, ring(1, &[1])).await.unwrap();
    let key = to_seal(&keys, &id("alice"), 1).await.unwrap();
    let shown = format!("{key:?} {keys:?}");
    assert!(shown.contains("account|alice") && shown.contains("RingKeys"), "{shown}");
    assert!(!shown.contains("BBBB") && !shown.contains("16, 65"), "{shown}");
}
