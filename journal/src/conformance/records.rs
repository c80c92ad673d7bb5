//! Named records: compare-and-set, deletion, listing, and revisions that never repeat.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::Harness;
use crate::{
    CompareAndSet, RECORD_MAX_BYTES, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict,
    next_epoch,
};

/// A record that was never set is not there.
pub async fn a_record_that_was_never_set_is_not_there(h: &mut Harness) {
    assert_eq!(h.records().get(&key("a")).await.unwrap(), None);
    assert_eq!(h.records().list("", None, 10).await.unwrap(), []);
}

/// A record is set when nobody changed it since it was read, and read as it was set; also after opening anew.
pub async fn a_record_is_set_where_it_is_unchanged(h: &mut Harness) {
    let records = h.records();
    let first = set(&records, "a", None, "one").await;
    assert_eq!(records.get(&key("a")).await.unwrap(), Some(record(first, "one")));
    let second = set(&records, "a", Some(first), "two").await;
    assert!(second > first, "{second:?} after {first:?}");
    drop(records);
    h.reopen().await;
    assert_eq!(h.records().get(&key("a")).await.unwrap(), Some(record(second, "two")));
}

/// A change that expects another state is not made, and says what is there.
pub async fn a_changed_record_is_left_alone(h: &mut Harness) {
    let records = h.records();
    assert_eq!(
        try_set(&records, "a", Some(Revision(1)), "x").await,
        CompareAndSet::Changed { current: None }
    );
    let first = set(&records, "a", None, "one").await;
    let second = set(&records, "a", Some(first), "two").await;
    let changed = CompareAndSet::Changed { current: Some(record(second, "two")) };
    for expected in [None, Some(first), Some(Revision(second.0 + 1)), Some(Revision(0))] {
        assert_eq!(try_set(&records, "a", expected, "three").await, changed, "expected {expected:?}");
    }
    assert_eq!(records.delete(&key("a"), first).await.unwrap(), changed);
    assert_eq!(records.get(&key("a")).await.unwrap(), Some(record(second, "two")));
}

/// A record is deleted where it is unchanged; then it is not there, and can be set as a new one.
pub async fn a_record_is_deleted_where_it_is_unchanged(h: &mut Harness) {
    let records = h.records();
    let nothing = CompareAndSet::Changed { current: None };
    assert_eq!(records.delete(&key("a"), Revision(1)).await.unwrap(), nothing);
    let first = set(&records, "a", None, "one").await;
    let CompareAndSet::Set(deleted) = records.delete(&key("a"), first).await.unwrap() else {
        panic!("nobody changed it")
    };
    assert!(deleted > first, "{deleted:?} after {first:?}");
    assert_eq!(records.get(&key("a")).await.unwrap(), None);
    assert_eq!(records.list("", None, 10).await.unwrap(), []);
    assert_eq!(records.delete(&key("a"), first).await.unwrap(), nothing);
    assert_eq!(records.delete(&key("a"), deleted).await.unwrap(), nothing);
    assert_eq!(try_set(&records, "a", Some(deleted), "x").await, nothing);
    set(&records, "a", None, "two").await;
}

/// A key's revisions never repeat, also when it was deleted in between and the store was opened anew.
pub async fn revisions_never_repeat(h: &mut Harness) {
    let mut last = Revision(0);
    for round in 0..12 {
        let records = h.records();
        let first = set(&records, "a", None, "same").await;
        assert!(first > last, "{first:?} after {last:?} in round {round}");
        let second = set(&records, "a", Some(first), "same").await;
        assert!(second > first);
        let CompareAndSet::Set(deleted) = records.delete(&key("a"), second).await.unwrap() else {
            panic!("nobody changed it")
        };
        assert!(deleted > second);
        last = deleted;
        drop(records);
        if round % 4 == 3 {
            h.reopen().await;
        }
    }
}

/// A value may be empty, hold any bytes, and have the full size; a larger one is rejected and changes nothing.
pub async fn a_value_may_be_any_bytes_up_to_its_limit(h: &mut Harness) {
    let records = h.records();
    let full: Vec<u8> = (0..RECORD_MAX_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for (name, value) in
        [("empty", vec![]), ("zeros", vec![0; 9]), ("high", vec![0xff, 0, 0xfe]), ("full", full)]
    {
        let value = Bytes::from(value);
        let _ = records.compare_and_set(&key(name), None, value.clone()).await.unwrap();
        assert_eq!(records.get(&key(name)).await.unwrap().unwrap().value, value, "{name}");
    }
    let full = records.get(&key("full")).await.unwrap().unwrap();
    let larger = Bytes::from(vec![1; RECORD_MAX_BYTES + 1]);
    for (name, expected) in [("full", Some(full.revision)), ("new", None)] {
        let answer = records.compare_and_set(&key(name), expected, larger.clone()).await;
        assert!(matches!(answer, Err(crate::JournalError::Rejected { .. })), "{name}");
    }
    assert_eq!(records.get(&key("full")).await.unwrap(), Some(full));
    assert_eq!(records.get(&key("new")).await.unwrap(), None);
}

/// Keys are told apart by all their bytes.
pub async fn keys_are_told_apart_by_all_their_bytes(h: &mut Harness) {
    let records = h.records();
    let longest = "k".repeat(RecordKey::MAX_BYTES);
    let names = ["a", "A", "a ", "ä", "a%", "a_", "a/b", "a\\", "'", "語", &longest];
    for name in names {
        set(&records, name, None, name).await;
    }
    for name in names {
        assert_eq!(records.get(&key(name)).await.unwrap().unwrap().value, name);
    }
    assert_eq!(records.list("", None, 100).await.unwrap().len(), names.len());
}

/// Records are listed by prefix, in the order of their keys' bytes, and nothing in a prefix is a wildcard.
pub async fn records_are_listed_by_prefix_in_order(h: &mut Harness) {
    let records = h.records();
    let names =
        ["b", "a/2", "a/10", "a", "a/", "A/1", "a%1", "a_1", "axb", "ä/1", "a/ä", "\u{10ffff}x", "a\\"];
    for name in names {
        set(&records, name, None, name).await;
    }
    for prefix in ["", "a", "a/", "A", "a%", "a_", "ä", "x", "a/10", "a/100", "\u{10ffff}", "a\\", "'"] {
        let mut expected: Vec<_> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(listed(&records, prefix, 100).await, expected, "prefix {prefix:?}");
        assert_eq!(listed(&records, prefix, 1).await, expected, "prefix {prefix:?} in pages of 1");
        assert_eq!(listed(&records, prefix, 3).await, expected, "prefix {prefix:?} in pages of 3");
    }
    let page = records.list("a/", Some(&key("A")), 10).await.unwrap();
    assert_eq!(page.len(), 4, "a page behind a key that lies before the prefix: {page:?}");
    let page = records.list("a/", Some(&key("b")), 10).await.unwrap();
    assert!(page.is_empty(), "a page behind a key that lies behind the prefix: {page:?}");
    assert_eq!(records.list("", None, 0).await.unwrap(), []);
}

/// Of many that change the same state at once, one does; the others are told its value.
pub async fn of_concurrent_changes_one_wins(h: &mut Harness) {
    let (records, (_, other)) = (h.records(), h.another().await);
    let mut expected = None;
    for _ in 0..5 {
        let calls = (0..12).map(|n| {
            let records = Arc::clone(if n % 2 == 0 { &records } else { &other });
            tokio::spawn(async move { try_set(&records, "a", expected, &format!("writer {n}")).await })
        });
        let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                CompareAndSet::Set(revision) => Some(*revision),
                CompareAndSet::Changed { .. } => None,
            })
            .collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let current = records.get(&key("a")).await.unwrap();
        assert_eq!(current.as_ref().map(|record| record.revision), Some(winners[0]));
        for answer in answers {
            if let CompareAndSet::Changed { current: told } = answer {
                assert_eq!(told, current);
            }
        }
        expected = Some(winners[0]);
    }
}

/// Concurrent counters through several handles lose no step, and every read sees what was answered before it.
pub async fn counting_concurrently_loses_no_step(h: &mut Harness) {
    const TASKS: u64 = 6;
    const STEPS: u64 = 25;
    let (records, (_, other)) = (h.records(), h.another().await);
    let tasks = (0..TASKS).map(|n| {
        let records = Arc::clone(if n % 2 == 0 { &records } else { &other });
        tokio::spawn(async move {
            for _ in 0..STEPS {
                let before = count(&records).await;
                let after = step(&records).await;
                assert!(after > before, "{after} after {before}");
                assert!(count(&records).await >= after, "a read does not see an answered change");
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(count(&records).await, TASKS * STEPS);
}

/// A page is one view of all its records: it never has a later change without an earlier one.
pub async fn a_page_of_records_is_one_view(h: &mut Harness) {
    const ROUNDS: u64 = 40;
    let (records, (_, other)) = (h.records(), h.another().await);
    let names = ["a/3", "a/1", "a/4", "a/2"];
    // Each round sets the records in the order of `names`, so that in every view their values fall along it.
    let writer = tokio::spawn(async move {
        let mut revisions = [None; 4];
        for round in 1..=ROUNDS {
            for (name, revision) in names.iter().zip(&mut revisions) {
                *revision = Some(set(&other, name, *revision, &round.to_string()).await);
            }
        }
    });
    loop {
        let finished = writer.is_finished();
        let page = records.list("a/", None, 10).await.unwrap();
        let value =
            |name: &str| number(page.iter().find(|(key, _)| key.as_str() == name).map(|(_, record)| record));
        let values = names.map(value);
        assert!(values.is_sorted_by(|a, b| a >= b) && values[0] <= values[3] + 1, "not one view: {values:?}");
        if finished {
            assert_eq!(values, [ROUNDS; 4]);
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// Records that are read together come in the order of their keys; one that is not there is none.
pub async fn many_records_are_read_in_the_order_of_their_keys(h: &mut Harness) {
    let records = h.records();
    let first = set(&records, "a", None, "one").await;
    let second = set(&records, "b", None, "two").await;
    let keys = [key("b"), key("missing"), key("a"), key("b")];
    let (one, two) = (record(first, "one"), record(second, "two"));
    assert_eq!(records.get_all(&keys).await.unwrap(), [Some(two.clone()), None, Some(one), Some(two)]);
    assert_eq!(records.get_all(&[]).await.unwrap(), []);
}

/// Each change of a list is decided by itself: one that is not made leaves its neighbours alone.
pub async fn each_change_of_a_list_is_decided_by_itself(h: &mut Harness) {
    let records = h.records();
    let first = set(&records, "a", None, "one").await;
    let second = set(&records, "b", None, "two").await;
    let larger = Bytes::from(vec![1; RECORD_MAX_BYTES + 1]);
    let answers = records
        .change(vec![
            RecordChange::set(key("a"), Some(first), "three".into()),
            RecordChange::set(key("b"), None, "four".into()),
            RecordChange::set(key("c"), None, larger),
            RecordChange::delete(key("d"), first),
            RecordChange::set(key("e"), None, "five".into()),
            RecordChange::delete(key("b"), second),
        ])
        .await;
    let [Ok(Verdict::Set(third)), unchanged, too_large, nothing, Ok(Verdict::Set(_)), Ok(Verdict::Set(_))] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(unchanged.clone().unwrap(), Verdict::Changed { current: Some(record(second, "two")) });
    assert!(matches!(too_large, Err(crate::JournalError::Rejected { .. })), "{too_large:?}");
    assert_eq!(nothing.clone().unwrap(), Verdict::Changed { current: None });
    assert_eq!(records.get(&key("a")).await.unwrap(), Some(record(*third, "three")));
    let listed = records.list("", None, 10).await.unwrap();
    let names: Vec<_> = listed.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["a", "e"]);
    assert_eq!(records.change(Vec::new()).await.len(), 0);
}

/// A change sees those that stand before it in its list, as key and as guard.
pub async fn a_change_sees_those_before_it_in_its_list(h: &mut Harness) {
    let records = h.records();
    let guard = set(&records, "guard", None, "g").await;
    let answers = records
        .change(vec![
            RecordChange::set(key("a"), None, "one".into()).guarded_by(key("guard"), guard),
            RecordChange::set(key("a"), None, "two".into()),
            RecordChange::set(key("guard"), Some(guard), "h".into()),
            RecordChange::set(key("b"), None, "three".into()).guarded_by(key("guard"), guard),
        ])
        .await;
    let [Ok(Verdict::Set(first)), Ok(changed), Ok(Verdict::Set(moved)), Ok(refused)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(*changed, Verdict::Changed { current: Some(record(*first, "one")) });
    assert_eq!(*refused, Verdict::GuardChanged { current: Some(record(*moved, "h")) });
    assert_eq!(records.get(&key("b")).await.unwrap(), None);
}

/// A guarded change is made while its guard has the revision that was given; otherwise the guard is told, and nothing changes.
pub async fn a_guarded_change_is_made_while_its_guard_is_unchanged(h: &mut Harness) {
    let (records, (_, other)) = (h.records(), h.another().await);
    let guard = set(&records, "guard", None, "g").await;
    let guarded = |name: &str, expected, revision| {
        RecordChange::set(key(name), expected, "x".into()).guarded_by(key("guard"), revision)
    };
    let made = records.change(vec![guarded("a", None, guard)]).await.remove(0).unwrap();
    let Verdict::Set(first) = made else { panic!("{made:?}") };
    let made = records.change(vec![guarded("a", None, guard)]).await.remove(0).unwrap();
    assert_eq!(made, Verdict::Changed { current: Some(record(first, "x")) });

    let moved = set(&other, "guard", Some(guard), "h").await;
    let refused = Verdict::GuardChanged { current: Some(record(moved, "h")) };
    // Also where the key is another than expected, and for a deletion.
    for change in [
        guarded("b", None, guard),
        guarded("a", None, guard),
        guarded("a", Some(first), guard),
        RecordChange::delete(key("a"), first).guarded_by(key("guard"), guard),
    ] {
        assert_eq!(records.change(vec![change]).await.remove(0).unwrap(), refused);
    }
    assert_eq!(records.get(&key("a")).await.unwrap(), Some(record(first, "x")));
    assert_eq!(records.get(&key("b")).await.unwrap(), None);

    // A guard that is gone, or that never was, guards against everything.
    assert!(matches!(other.delete(&key("guard"), moved).await.unwrap(), CompareAndSet::Set(_)));
    let refused = Verdict::GuardChanged { current: None };
    assert_eq!(records.change(vec![guarded("b", None, moved)]).await.remove(0).unwrap(), refused);
}

/// While one moves the guard, nothing that others change under it comes behind a move that was answered.
pub async fn a_guard_is_judged_in_the_step_that_changes(h: &mut Harness) {
    const MOVES: u64 = 30;
    let (records, (_, other)) = (h.records(), h.another().await);
    let guard = set(&records, "guard", None, "0").await;
    // Each writes down under which guard it writes.
    let writers = (0..4).map(|writer| {
        let records = Arc::clone(&records);
        tokio::spawn(async move {
            let name = format!("written/{writer}");
            let (mut expected, mut writes) = (None, (guard, 0));
            while records.get(&key("done")).await.unwrap().is_none() {
                let guard = records.get(&key("guard")).await.unwrap().unwrap().revision;
                // So that the mover, too, comes to the store.
                writes = if writes.0 == guard { (guard, writes.1 + 1) } else { (guard, 1) };
                if writes.1 > 2 {
                    tokio::task::yield_now().await;
                    continue;
                }
                let change = RecordChange::set(key(&name), expected, guard.0.to_string().into())
                    .guarded_by(key("guard"), guard);
                match records.change(vec![change]).await.remove(0).unwrap() {
                    Verdict::Set(revision) => expected = Some(revision),
                    Verdict::GuardChanged { .. } => tokio::task::yield_now().await,
                    Verdict::Changed { current } => panic!("nobody else writes {name}: {current:?}"),
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut current, mut seen) = (guard, Vec::new());
    for _ in 0..MOVES {
        loop {
            let page = other.list("written/", None, 10).await.unwrap();
            for record in page.iter().filter(|record| !seen.contains(*record)) {
                let under = number(Some(&record.1));
                assert!(under >= current.0, "{} was changed under {under}, behind {current:?}", record.0);
            }
            // The next move comes while they write for the second time.
            let all = page.iter().all(|(_, record)| number(Some(record)) == current.0);
            if all && page.len() == writers.len() {
                break;
            }
            tokio::task::yield_now().await;
        }
        current = set(&other, "guard", Some(current), "moved").await;
        // What is changed from here on is changed behind the move.
        seen = other.list("written/", None, 10).await.unwrap();
    }
    set(&other, "done", None, "").await;
    for writer in join_all(writers).await {
        writer.unwrap();
    }
}

/// The clock is one for all handles, and goes on.
pub async fn the_clock_is_one_for_all(h: &mut Harness) {
    // Clocks of machines are put right now and then.
    const SLACK: Duration = Duration::from_secs(5);
    let (records, (_, other)) = (h.records(), h.another().await);
    let mut last = records.now().await.unwrap();
    assert!(last > Timestamp::from_micros(1_700_000_000_000_000), "{last} is long ago");
    for handle in [&other, &records, &other] {
        let now = handle.now().await.unwrap();
        assert!(now.plus(SLACK) >= last && now.since(last) < PATIENCE, "{now} after {last}");
        last = now;
    }
}

/// No epoch is handed out twice.
pub async fn no_epoch_is_handed_out_twice(h: &mut Harness) {
    let (records, (_, other)) = (h.records(), h.another().await);
    let calls = (0..20).map(|n| {
        let records = Arc::clone(if n % 2 == 0 { &records } else { &other });
        tokio::spawn(async move { next_epoch(&*records).await.unwrap() })
    });
    let mut epochs: BTreeSet<u64> = join_all(calls).await.into_iter().map(|epoch| epoch.unwrap().0).collect();
    assert_eq!(epochs.len(), 20);
    drop((records, other));
    h.reopen().await;
    assert!(epochs.insert(next_epoch(&*h.records()).await.unwrap().0));
}

fn key(name: &str) -> RecordKey {
    RecordKey::new(name).unwrap()
}

fn record(revision: Revision, value: &str) -> Record {
    Record { revision, value: Bytes::copy_from_slice(value.as_bytes()) }
}

async fn try_set(
    records: &Arc<dyn Records>,
    name: &str,
    expected: Option<Revision>,
    value: &str,
) -> CompareAndSet {
    records.compare_and_set(&key(name), expected, Bytes::copy_from_slice(value.as_bytes())).await.unwrap()
}

async fn set(records: &Arc<dyn Records>, name: &str, expected: Option<Revision>, value: &str) -> Revision {
    match try_set(records, name, expected, value).await {
        CompareAndSet::Set(revision) => revision,
        CompareAndSet::Changed { current } => panic!("{name} expected {expected:?}, there is {current:?}"),
    }
}

async fn listed(records: &Arc<dyn Records>, prefix: &str, limit: usize) -> Vec<String> {
    let mut listed: Vec<(RecordKey, Record)> = Vec::new();
    loop {
        let page = records.list(prefix, listed.last().map(|(key, _)| key), limit).await.unwrap();
        assert!(page.len() <= limit);
        let last = page.len() < limit;
        listed.extend(page);
        if last {
            break;
        }
    }
    for (key, record) in &listed {
        assert_eq!(record.value, key.as_str(), "the value of another key");
    }
    listed.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

pub(super) async fn count(records: &Arc<dyn Records>) -> u64 {
    number(records.get(&key("count")).await.unwrap().as_ref())
}

/// Counts one further, however often that takes.
pub(super) async fn step(records: &Arc<dyn Records>) -> u64 {
    let mut current = records.get(&key("count")).await.unwrap();
    loop {
        let next = number(current.as_ref()) + 1;
        let expected = current.map(|record| record.revision);
        let value = Bytes::from(next.to_string());
        match records.compare_and_set(&key("count"), expected, value).await.unwrap() {
            CompareAndSet::Set(_) => return next,
            CompareAndSet::Changed { current: newer } => current = newer,
        }
    }
}

/// Far more than a call takes.
const PATIENCE: Duration = Duration::from_secs(300);

fn number(record: Option<&Record>) -> u64 {
    record.map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse().unwrap())
}
