//! What group commit adds to a journal: batches, order, and answers whatever happens behind it.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use annals_journal::testing::{FaultyJournal, Gate, Outcome};
use annals_journal::{
    GroupCommit, GroupCommitSettings, Head, Journal, JournalError, JournalExt, MemoryJournal, Write,
};
use futures::future::{FutureExt, join_all};
use support::{id, nr, token, write};

#[tokio::test]
async fn an_idle_journal_commits_at_once() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    gate.gate.let_pass(3);
    for expected in 0..3 {
        let head = journal.write_one(write(&id("a"), token(1, 1), expected, 1)).await.unwrap();
        assert_eq!(head.seq_nr, nr(expected + 1));
    }
    assert_eq!(gate.journal.commits(), [1, 1, 1]);
}

#[tokio::test]
async fn a_backend_that_answers_at_once_wakes_no_task() {
    let journal = GroupCommit::new(Arc::new(MemoryJournal::new()), GroupCommitSettings::default());
    for expected in 0..3 {
        let written = journal.write_one(write(&id("a"), token(1, 1), expected, 1)).now_or_never();
        assert_eq!(written.unwrap().unwrap().seq_nr, nr(expected + 1));
    }
}

#[test]
fn a_commit_that_a_caller_began_is_unknown_when_the_runtime_goes_away() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (gate, journal) = runtime.block_on(async { gated(GroupCommitSettings::default()) });
    let mut begun = appending(&journal, "a");
    assert!(begun.as_mut().now_or_never().is_none());
    drop(runtime);
    let answer = begun.now_or_never().unwrap();
    assert!(matches!(answer, Err(JournalError::Unknown { .. })), "{answer:?}");
    drop(gate);
}

#[tokio::test]
async fn what_arrives_during_a_commit_forms_the_next_one() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut calls: Vec<_> = (0..10).map(|n| appending(&journal, &format!("e{n}"))).collect();
    // The first is on its way alone, the others meet it.
    assert!(calls[0].as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    for call in &mut calls[1..] {
        assert!(call.as_mut().now_or_never().is_none());
    }
    gate.gate.let_pass(2);
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [1, 9]);
}

#[tokio::test]
async fn a_batch_is_bounded_by_entries_and_by_bytes() {
    for settings in [
        GroupCommitSettings { max_entries: 4, ..Default::default() },
        GroupCommitSettings {
            max_bytes: 4 * write(&id("e1"), token(1, 1), 0, 1).size(),
            ..Default::default()
        },
    ] {
        let (gate, journal) = gated(settings);
        let mut calls: Vec<_> = (0..10).map(|n| appending(&journal, &format!("e{n}"))).collect();
        for call in &mut calls {
            assert!(call.as_mut().now_or_never().is_none());
        }
        gate.gate.let_pass(4);
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(gate.journal.commits(), [1, 4, 4, 1], "{settings:?}");
    }
}

#[tokio::test]
async fn a_list_larger_than_a_batch_goes_whole() {
    let (gate, journal) = gated(GroupCommitSettings { max_entries: 2, max_bytes: 1 });
    gate.gate.let_pass(1);
    let list = (0..5).map(|n| write(&id(&format!("e{n}")), token(1, 1), 0, 1)).collect();
    assert!(journal.write(list).await.iter().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [5]);
}

#[tokio::test]
async fn a_busy_id_has_no_more_of_a_commit_than_all_others_together() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut first = appending(&journal, "first");
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let busy = id("busy");
    let one = |expected| journal.write_one(write(&busy, token(1, 1), expected, 1)).boxed();
    let mut calls: Vec<_> = (0..200).map(one).collect();
    calls.extend((0..100).map(|n| appending(&journal, &format!("e{n}"))));
    let mut calls = join_all(calls).boxed();
    assert!(calls.as_mut().now_or_never().is_none());
    gate.gate.let_pass(3);
    assert!(first.await.is_ok());
    assert!(calls.await.iter().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [1, 200, 100]);
}

#[tokio::test]
async fn a_busy_id_that_is_alone_is_not_held_back() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let busy = id("busy");
    let calls = (0..300).map(|expected| journal.write_one(write(&busy, token(1, 1), expected, 1)).boxed());
    let mut calls = join_all(calls).boxed();
    assert!(calls.as_mut().now_or_never().is_none());
    gate.gate.let_pass(2);
    assert!(calls.await.iter().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [1, 299]);
}

#[tokio::test]
async fn nothing_overtakes_a_list_that_stays_behind_with_a_busy_id() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut first = appending(&journal, "first");
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let (busy, a) = (id("busy"), id("a"));
    let one = |id: &_, expected| write(id, token(1, 1), expected, 1);
    let mut lists: Vec<_> = (0..100).map(|expected| vec![one(&busy, expected)]).collect();
    lists.push(vec![one(&busy, 100), one(&a, 0)]);
    lists.push(vec![one(&a, 1)]);
    let mut calls = join_all(lists.into_iter().map(|list| journal.write(list))).boxed();
    assert!(calls.as_mut().now_or_never().is_none());
    gate.gate.let_pass(3);
    assert!(first.await.is_ok());
    assert!(calls.await.iter().flatten().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [1, 64, 39]);
}

#[tokio::test]
async fn after_a_failed_append_the_queued_ones_of_that_token_are_never_sent() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let a = id("a");
    gate.journal.next_write().behind(&gate.gate).fails_unavailable();
    let mut first = journal.write_one(write(&a, token(1, 1), 0, 1)).boxed();
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let calls = [
        write(&a, token(1, 1), 1, 1),
        Write::Verify { persistence_id: a.clone(), token: token(1, 1) },
        Write::Claim { persistence_id: a.clone(), token: token(1, 2) },
        write(&a, token(1, 2), 0, 1),
        write(&id("b"), token(1, 1), 0, 1),
    ]
    .map(|entry| journal.write_one(entry).boxed());
    let mut calls = join_all(calls).boxed();
    assert!(calls.as_mut().now_or_never().is_none());
    gate.gate.let_pass(2);

    assert!(matches!(first.await, Err(JournalError::Unavailable { .. })));
    let answers = calls.await;
    assert!(matches!(answers[0], Err(JournalError::Unavailable { .. })), "{answers:?}");
    assert!(matches!(answers[1], Err(JournalError::Unavailable { .. })), "{answers:?}");
    assert!(answers[2..].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(gate.journal.commits(), [1, 3]);
    // The sharp clause: a new activation stored its own n+1; what the old one sends on top of it is refused.
    gate.gate.let_pass(1);
    let late = journal.write_one(write(&a, token(1, 1), 1, 1)).await;
    assert!(matches!(late, Err(JournalError::Superseded { .. })), "{late:?}");
}

#[tokio::test]
async fn of_a_queued_list_only_the_failed_writer_is_refused() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let (a, b) = (id("a"), id("b"));
    gate.journal.next_write().behind(&gate.gate).outcome_unknown(Outcome::NotStored);
    let mut first = journal.write_one(write(&a, token(1, 1), 0, 1)).boxed();
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let list = vec![
        write(&a, token(1, 1), 1, 1),
        write(&b, token(1, 1), 0, 1),
        write(&a, token(1, 1), 2, 1),
        write(&b, token(1, 1), 1, 2),
    ];
    let mut list = journal.write(list);
    assert!(list.as_mut().now_or_never().is_none());
    gate.gate.let_pass(2);
    assert!(matches!(first.await, Err(JournalError::Unknown { .. })));
    let answers = list.await;
    assert!(matches!(answers[0], Err(JournalError::Unknown { .. })), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().seq_nr, nr(1));
    assert!(matches!(answers[2], Err(JournalError::Unknown { .. })), "{answers:?}");
    assert_eq!(answers[3].as_ref().unwrap().seq_nr, nr(3));
    assert_eq!(gate.journal.commits(), [1, 2]);
}

#[tokio::test]
async fn a_journal_that_panics_makes_its_batch_unknown_and_the_next_one_goes_on() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    gate.gate.let_pass(2);
    gate.journal.next_write().panics("on purpose");
    let lost = journal.write_one(write(&id("a"), token(1, 1), 0, 1)).await;
    assert!(
        matches!(&lost, Err(JournalError::Unknown { reason, .. }) if reason.contains("on purpose")),
        "{lost:?}"
    );
    assert!(journal.write_one(write(&id("a"), token(1, 2), 0, 1)).await.is_ok());
}

#[tokio::test]
async fn a_wrong_number_of_answers_makes_the_batch_unknown() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    gate.gate.let_pass(1);
    gate.journal.next_write().gets_too_few_answers();
    let answers =
        journal.write(vec![write(&id("a"), token(1, 1), 0, 1), write(&id("b"), token(1, 1), 0, 1)]).await;
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| matches!(answer, Err(JournalError::Unknown { .. }))), "{answers:?}");
}

#[tokio::test]
async fn a_caller_that_goes_takes_its_entries_out_of_the_queue() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut first = appending(&journal, "first");
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let mut calls: Vec<_> = (0..3).map(|n| appending(&journal, &format!("e{n}"))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    drop(calls.remove(1));
    gate.gate.let_pass(2);
    assert!(first.await.is_ok() && join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(gate.journal.commits(), [1, 2]);
    assert_eq!(journal.head(&id("e1")).await.unwrap(), Head::EMPTY);
}

#[tokio::test]
async fn shutting_down_commits_what_waits_and_refuses_what_comes() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut first = appending(&journal, "first");
    assert!(first.as_mut().now_or_never().is_none());
    gate.gate.arrived().await;
    let mut second = appending(&journal, "second");
    assert!(second.as_mut().now_or_never().is_none());
    let mut shutdown = journal.shutdown().boxed();
    assert!(shutdown.as_mut().now_or_never().is_none());
    let late = appending(&journal, "late").await;
    assert!(matches!(late, Err(JournalError::Unavailable { .. })), "{late:?}");
    gate.gate.let_pass(2);
    shutdown.await;
    assert!(first.await.is_ok() && second.await.is_ok());
    assert_eq!(journal.head(&id("second")).await.unwrap().seq_nr, nr(1));
    journal.shutdown().await;
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let memory = Arc::new(MemoryJournal::new());
    let held = Arc::downgrade(&memory);
    let journal = GroupCommit::new(memory, GroupCommitSettings::default());
    let clone = journal.clone();
    drop(journal);
    assert!(clone.head(&id("a")).await.is_ok());
    drop(clone);
    let gone = async {
        while held.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[test]
fn a_runtime_that_goes_away_answers_its_callers() {
    let (gate, journal) = {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let _entered = runtime.enter();
        let made = gated(GroupCommitSettings::default());
        runtime.shutdown_background();
        made
    };
    let answer = futures::executor::block_on(appending(&journal, "a"));
    assert!(
        matches!(answer, Err(JournalError::Unknown { .. } | JournalError::Unavailable { .. })),
        "{answer:?}"
    );
    drop(gate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entity_with_many_appends_under_way_stores_them_in_order() {
    let journal = GroupCommit::new(Arc::new(MemoryJournal::new()), GroupCommitSettings::default());
    let a = id("a");
    let calls = (0..500).map(|expected| journal.write_one(write(&a, token(1, 1), expected, 1)));
    for (expected, head) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(head.unwrap().seq_nr, nr(expected as u64 + 1));
    }
}

fn appending(
    journal: &GroupCommit,
    name: &str,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Head, JournalError>> + Send>> {
    let (journal, entry) = (journal.clone(), write(&id(name), token(1, 1), 0, 1));
    async move { journal.write_one(entry).await }.boxed()
}

/// A journal that lets a commit through for each pass.
struct Gated {
    journal: FaultyJournal,
    gate: Gate,
}

fn gated(settings: GroupCommitSettings) -> (Gated, GroupCommit) {
    let journal = FaultyJournal::around(MemoryJournal::new());
    let gate = journal.next_write().always().waits();
    let commits = GroupCommit::new(Arc::new(journal.clone()), settings);
    (Gated { journal, gate }, commits)
}
