use std::sync::Arc;
use std::time::Duration;

use super::sample::{id, keys, ring, same, to_open, to_seal};
use super::staged::Staged;
use crate::encryption::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use crate::encryption::{
    DataKeyOptions, DataKeys, KeyUsage, KeysError, MasterKeyId, Ring, RingKeys, RotationOptions,
    RotationProgress, RotationSummary,
};
use crate::{CompareAndSet, JournalError, MemoryJournal, PersistenceId, Records, SeqNr, WriterId};

const ONE: MasterKeyId = MasterKeyId(1);
const TWO: MasterKeyId = MasterKeyId(2);

fn options() -> RotationOptions {
    // Small, so that there are several.
    RotationOptions { batch: 7, ..RotationOptions::default() }
}

async fn rotate(keys: &DataKeys) -> Result<RotationSummary, KeysError> {
    keys.rotate(&options(), |_| ()).await
}

async fn opened(records: Arc<dyn Records>, ring: Ring, options: DataKeyOptions) -> DataKeys {
    DataKeys::open(records, Arc::new(RingKeys::from(ring)), options).await.unwrap()
}

fn ids(count: usize) -> Vec<PersistenceId> {
    (0..count).map(|n| id(&format!("{n}"))).collect()
}

async fn make_all(keys: &DataKeys, ids: &[PersistenceId]) -> Vec<Arc<crate::encryption::DataKey>> {
    let wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
    keys.to_seal(&wanted).await.into_iter().map(Result::unwrap).collect()
}

async fn usage(records: &dyn Records) -> KeyUsage {
    KeyUsage::read(records, |_| ()).await.unwrap()
}

#[tokio::test]
async fn everything_is_under_the_new_key_after_a_rotation_and_the_old_one_is_not_needed() {
    let memory = Arc::new(MemoryJournal::new());
    let before = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    let ids = ids(50);
    let made = make_all(&before, &ids).await;
    let chain = before.chain_key().await.unwrap();
    before.close().await;

    let ours = keys(memory.clone(), ring(2, &[1, 2])).await.unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let summary = ours.rotate(&options(), |progress| seen.lock().unwrap().push(progress)).await.unwrap();
    let total = RotationProgress { scopes: 50, rewrapped: 50, failed: 0 };
    assert_eq!((summary.to, summary.moved_from, summary.total), (TWO, Some(ONE), total));
    assert_eq!((summary.unused.as_slice(), summary.still_used.as_slice()), (&[ONE][..], &[][..]));
    let seen = seen.into_inner().unwrap();
    assert_eq!((seen.len(), *seen.last().unwrap()), (8, total));

    // A ring without the old key opens everything; one without the new key is refused.
    let without = keys(memory.clone(), ring(2, &[2])).await.unwrap();
    for (id, made) in ids.iter().zip(&made) {
        assert!(same(&to_open(&without, id, 1).await.unwrap(), made));
    }
    assert_eq!(without.chain_key().await.unwrap(), chain);
    let refused = keys(memory.clone(), ring(1, &[1])).await.unwrap_err();
    assert!(matches!(refused, KeysError::MissingMasterKeys { .. }), "{refused}");
    let used = usage(&*memory).await;
    assert_eq!((used.active, used.ids, used.processes.len()), (Some(TWO), 50, 2));
    let masters: Vec<_> = used
        .master_keys
        .iter()
        .map(|(id, used)| (id.0, used.data_keys, used.chain_key, used.in_use))
        .collect();
    assert_eq!(masters, [(1, 0, false, false), (2, 50, true, true)]);

    // Again, and back: nothing to do, and everything.
    let again = rotate(&without).await.unwrap();
    assert_eq!((again.moved_from, again.total.rewrapped, again.unused), (None, 0, vec![ONE]));
    without.close().await;
    ours.close().await;
    let back = rotate(&keys(memory.clone(), ring(1, &[1, 2])).await.unwrap()).await.unwrap();
    assert_eq!((back.to, back.total.rewrapped, back.unused), (ONE, 50, vec![TWO]));
}

#[tokio::test]
async fn a_rotation_waits_for_every_process_that_runs() {
    let memory = Arc::new(MemoryJournal::new());
    let process = WriterId::random();
    let named = DataKeyOptions { process: Some(process), ..DataKeyOptions::default() };
    let other = opened(memory.clone(), ring(1, &[1]), named).await;
    to_seal(&other, &id("alice"), 1).await.unwrap();
    let ours = keys(memory.clone(), ring(2, &[1, 2])).await.unwrap();
    let refused = rotate(&ours).await.unwrap_err();
    assert!(refused.to_string().contains(&process.to_string()), "{refused}");
    assert!(
        matches!(&refused, KeysError::NotAnnounced { id: TWO, missing } if missing.len() == 1),
        "{refused}"
    );
    assert_eq!(usage(&*memory).await.active, Some(ONE));

    let forced = RotationOptions { force: true, ..options() };
    let summary = ours.rotate(&forced, |_| ()).await.unwrap();
    assert_eq!((summary.total.rewrapped, summary.unused), (1, vec![ONE]));
    // What it has in memory still opens, and it says what it misses.
    to_open(&other, &id("alice"), 1).await.unwrap();
    let error = to_seal(&other, &id("bob"), 1).await.unwrap_err();
    assert!(
        matches!(&error, JournalError::Key { .. }) && error.to_string().contains("master key 2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_process_that_ended_or_whose_lease_is_over_is_not_waited_for() {
    let memory = Arc::new(MemoryJournal::new());
    let gone = keys(memory.clone(), ring(1, &[1])).await.unwrap();
    to_seal(&gone, &id("alice"), 1).await.unwrap();
    gone.close().await;
    gone.close().await;
    // Killed: it never says so.
    let short = DataKeyOptions { lease: Duration::from_micros(1), ..DataKeyOptions::default() };
    drop(opened(memory.clone(), ring(1, &[1]), short).await);
    let summary = rotate(&keys(memory, ring(2, &[1, 2])).await.unwrap()).await.unwrap();
    assert_eq!(summary.total.rewrapped, 1);
}

#[tokio::test]
async fn a_process_that_starts_while_a_rotation_moves_is_not_missed() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let ours = keys(records.clone(), ring(2, &[1, 2])).await;
    // Nothing was there: its own key is the first.
    assert_eq!(usage(&*memory).await.active, Some(TWO));
    let ours = ours.unwrap();
    rotate(&ours).await.unwrap();
    let back = keys(records.clone(), ring(1, &[1, 2])).await.unwrap();
    // Between the list of processes and the move, which is the second change after the renewal and the use of key 1.
    let starts = memory.clone();
    records.before_nth_change(2, async move {
        std::mem::forget(keys(starts, ring(2, &[2])).await.unwrap());
    });
    let refused = rotate(&back).await.unwrap_err();
    assert!(matches!(refused, KeysError::NotAnnounced { id: ONE, .. }), "{refused}");
    assert_eq!(usage(&*memory).await.active, Some(TWO));
}

#[tokio::test]
async fn keys_that_are_made_and_changed_while_a_rotation_runs_are_under_the_new_key_too() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let writer = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    let ids = ids(20);
    make_all(&writer, &ids).await;
    let ours = keys(records.clone(), ring(2, &[1, 2])).await.unwrap();
    let (theirs, first) = (writer.clone(), ids[0].clone());
    // After the move, before the first page is stored: another generation of a key of that page, a new key, and a process that starts.
    let started = memory.clone();
    records.before_nth_change(4, async move {
        to_seal(&theirs, &first, 1 << 31).await.unwrap();
        to_seal(&theirs, &id("new"), 1).await.unwrap();
        keys(started, ring(2, &[1, 2])).await.unwrap().close().await;
    });
    let summary = rotate(&ours).await.unwrap();
    assert_eq!((summary.total.failed, summary.unused.as_slice()), (0, &[ONE][..]));
    let used = usage(&*memory).await;
    assert_eq!(used.master_keys[&ONE].data_keys, 0);
    assert_eq!(used.master_keys[&TWO].data_keys, 22);
    let reader = keys(memory, ring(2, &[2])).await.unwrap();
    for id in &ids {
        to_open(&reader, id, 1).await.unwrap();
    }
    to_open(&reader, &ids[0], 2).await.unwrap();
}

#[tokio::test]
async fn of_two_rotations_the_one_that_moved_first_gives_way() {
    let memory = Arc::new(MemoryJournal::new());
    let records = Staged::around(&memory);
    let writer = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    make_all(&writer, &ids(20)).await;
    let ours = keys(records.clone(), ring(2, &[1, 2])).await.unwrap();
    let back = memory.clone();
    records.before_nth_change(4, async move {
        rotate(&keys(back, ring(1, &[1, 2])).await.unwrap()).await.unwrap();
    });
    let refused = rotate(&ours).await.unwrap_err();
    assert!(matches!(refused, KeysError::RotatedElsewhere { to: TWO, active: ONE }), "{refused}");
    // Key 1 is needed, and its record says so.
    let refused = keys(memory.clone(), ring(2, &[2])).await.unwrap_err();
    assert!(matches!(refused, KeysError::MissingMasterKeys { .. }), "{refused}");
}

#[tokio::test]
async fn a_key_that_cannot_be_rewrapped_is_named_and_keeps_its_master_key_in_use() {
    let memory = Arc::new(MemoryJournal::new());
    let writer = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    make_all(&writer, &ids(10)).await;
    let broken = scope_key("account|3").unwrap();
    let record = memory.get(&broken).await.unwrap().unwrap();
    let (mut value, revision) = ScopeKeys::read(&broken, &record).unwrap();
    value.generations[0].from_seq = 2;
    let set = memory.compare_and_set(&broken, Some(revision), value.to_value()).await.unwrap();
    assert!(matches!(set, CompareAndSet::Set(_)));
    let summary = rotate(&keys(memory.clone(), ring(2, &[1, 2])).await.unwrap()).await.unwrap();
    assert_eq!(summary.total, RotationProgress { scopes: 10, rewrapped: 9, failed: 1 });
    assert_eq!((summary.unused.len(), summary.still_used), (0, vec![ONE]));
    assert_eq!(summary.failures[0].record, broken);
    assert!(usage(&*memory).await.master_keys[&ONE].in_use);
}

#[tokio::test]
async fn what_was_erased_is_not_kept_alive() {
    let memory = Arc::new(MemoryJournal::new());
    let writer = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    make_all(&writer, &ids(3)).await;
    let name = scope_key("account|1").unwrap();
    let (mut value, revision) = ScopeKeys::read(&name, &memory.get(&name).await.unwrap().unwrap()).unwrap();
    value.erased_to = 1;
    let set = memory.compare_and_set(&name, Some(revision), value.to_value()).await.unwrap();
    assert!(matches!(set, CompareAndSet::Set(_)));
    let summary = rotate(&keys(memory.clone(), ring(2, &[1, 2])).await.unwrap()).await.unwrap();
    assert_eq!((summary.total.rewrapped, summary.unused), (2, vec![ONE]));
    let (after, _) = ScopeKeys::read(&name, &memory.get(&name).await.unwrap().unwrap()).unwrap();
    assert_eq!(after, value);
    let used = usage(&*memory).await;
    assert_eq!((used.ids, used.erased), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept() {
    let memory = Arc::new(MemoryJournal::new());
    let writer = keys(memory.clone(), ring(1, &[1, 2])).await.unwrap();
    make_all(&writer, &ids(100)).await;
    writer.close().await;
    let ours = keys(memory, ring(2, &[1, 2])).await.unwrap();
    let begin = tokio::time::Instant::now();
    let slow = RotationOptions { rate: std::num::NonZeroU32::new(10), ..RotationOptions::default() };
    let summary = ours.rotate(&slow, |_| ()).await.unwrap();
    assert_eq!(summary.total.rewrapped, 100);
    assert!((9..=11).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn keys_that_were_opened_for_reading_rotate_nothing() {
    let memory = Arc::new(MemoryJournal::new());
    keys(memory.clone(), ring(1, &[1])).await.unwrap().close().await;
    let masters = Arc::new(RingKeys::from(ring(2, &[1, 2])));
    let reading =
        DataKeys::open_for_reading(memory.clone(), masters, DataKeyOptions::default()).await.unwrap();
    assert!(matches!(rotate(&reading).await, Err(KeysError::ForReading)));
    let used = usage(&*memory).await;
    assert_eq!((used.active, used.processes.len()), (Some(ONE), 0));
}
