//! What group commit adds to a journal: batches, order, and answers whatever happens behind it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_journal::{
    Envelope, GroupCommit, GroupCommitSettings, Head, Journal, JournalError, JournalExt, Limits,
    MemoryJournal, Offset, Page, PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag,
    Write,
};
use async_trait::async_trait;
use futures::future::{FutureExt, join_all};
use futures::stream::BoxStream;
use support::{id, nr, token, write};
use tokio::sync::{Semaphore, oneshot};

#[tokio::test]
async fn an_idle_journal_commits_at_once() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    gate.open(3);
    for expected in 0..3 {
        let head = journal.write_one(write(&id("a"), token(1, 1), expected, 1)).await.unwrap();
        assert_eq!(head.seq_nr, nr(expected + 1));
    }
    assert_eq!(gate.batches(), [1, 1, 1]);
}

#[tokio::test]
async fn what_arrives_during_a_commit_forms_the_next_one() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut calls: Vec<_> = (0..10).map(|n| appending(&journal, &format!("e{n}"))).collect();
    // The first is on its way alone, the others meet it.
    assert!(calls[0].as_mut().now_or_never().is_none());
    gate.entered().await;
    for call in &mut calls[1..] {
        assert!(call.as_mut().now_or_never().is_none());
    }
    gate.open(2);
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(gate.batches(), [1, 9]);
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
        let calls: Vec<_> = (0..9).map(|n| appending(&journal, &format!("e{n}"))).collect();
        gate.open(9);
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(gate.batches(), [4, 4, 1], "{settings:?}");
    }
}

#[tokio::test]
async fn a_list_larger_than_a_batch_goes_whole() {
    let (gate, journal) = gated(GroupCommitSettings { max_entries: 2, max_bytes: 1 });
    gate.open(1);
    let list = (0..5).map(|n| write(&id(&format!("e{n}")), token(1, 1), 0, 1)).collect();
    assert!(journal.write(list).await.iter().all(Result::is_ok));
    assert_eq!(gate.batches(), [5]);
}

#[tokio::test]
async fn after_a_failed_append_the_queued_ones_of_that_token_are_never_sent() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let a = id("a");
    gate.fail_next(JournalError::Unavailable { reason: "the disk is full".into(), source: None });
    let mut first = journal.write_one(write(&a, token(1, 1), 0, 1)).boxed();
    assert!(first.as_mut().now_or_never().is_none());
    gate.entered().await;
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
    gate.open(2);

    assert!(matches!(first.await, Err(JournalError::Unavailable { .. })));
    let answers = calls.await;
    assert!(matches!(answers[0], Err(JournalError::Unavailable { .. })), "{answers:?}");
    assert!(matches!(answers[1], Err(JournalError::Unavailable { .. })), "{answers:?}");
    assert!(answers[2..].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(gate.batches(), [1, 3]);
    // The sharp clause: a new activation stored its own n+1; what the old one sends on top of it is refused.
    gate.open(1);
    let late = journal.write_one(write(&a, token(1, 1), 1, 1)).await;
    assert!(matches!(late, Err(JournalError::Superseded { .. })), "{late:?}");
}

#[tokio::test]
async fn of_a_queued_list_only_the_failed_writer_is_refused() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let (a, b) = (id("a"), id("b"));
    gate.fail_next(JournalError::Unknown { reason: "lost".into(), source: None });
    let mut first = journal.write_one(write(&a, token(1, 1), 0, 1)).boxed();
    assert!(first.as_mut().now_or_never().is_none());
    gate.entered().await;
    let list = vec![
        write(&a, token(1, 1), 1, 1),
        write(&b, token(1, 1), 0, 1),
        write(&a, token(1, 1), 2, 1),
        write(&b, token(1, 1), 1, 2),
    ];
    let mut list = journal.write(list);
    assert!(list.as_mut().now_or_never().is_none());
    gate.open(2);
    assert!(matches!(first.await, Err(JournalError::Unknown { .. })));
    let answers = list.await;
    assert!(matches!(answers[0], Err(JournalError::Unknown { .. })), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().seq_nr, nr(1));
    assert!(matches!(answers[2], Err(JournalError::Unknown { .. })), "{answers:?}");
    assert_eq!(answers[3].as_ref().unwrap().seq_nr, nr(3));
    assert_eq!(gate.batches(), [1, 2]);
}

#[tokio::test]
async fn a_journal_that_panics_makes_its_batch_unknown_and_the_next_one_goes_on() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    gate.open(2);
    gate.panics.store(true, Ordering::SeqCst);
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
    gate.open(1);
    gate.forgets.store(true, Ordering::SeqCst);
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
    gate.entered().await;
    let mut calls: Vec<_> = (0..3).map(|n| appending(&journal, &format!("e{n}"))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    drop(calls.remove(1));
    gate.open(2);
    assert!(first.await.is_ok() && join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(gate.batches(), [1, 2]);
    assert_eq!(journal.head(&id("e1")).await.unwrap(), Head::EMPTY);
}

#[tokio::test]
async fn shutting_down_commits_what_waits_and_refuses_what_comes() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let mut first = appending(&journal, "first");
    assert!(first.as_mut().now_or_never().is_none());
    gate.entered().await;
    let mut second = appending(&journal, "second");
    assert!(second.as_mut().now_or_never().is_none());
    let mut shutdown = journal.shutdown().boxed();
    assert!(shutdown.as_mut().now_or_never().is_none());
    let late = appending(&journal, "late").await;
    assert!(matches!(late, Err(JournalError::Unavailable { .. })), "{late:?}");
    gate.open(2);
    shutdown.await;
    assert!(first.await.is_ok() && second.await.is_ok());
    assert_eq!(journal.head(&id("second")).await.unwrap().seq_nr, nr(1));
    journal.shutdown().await;
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let (gate, journal) = gated(GroupCommitSettings::default());
    let clone = journal.clone();
    let (ends, ended) = oneshot::channel();
    *gate.dropped.lock().unwrap() = Some(ends);
    drop(gate);
    drop(journal);
    assert!(clone.head(&id("a")).await.is_ok());
    drop(clone);
    ended.await.unwrap();
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

fn gated(settings: GroupCommitSettings) -> (Arc<Gated>, GroupCommit) {
    let gate = Arc::new(Gated::default());
    let journal = GroupCommit::new(Arc::clone(&gate) as Arc<dyn Journal>, settings);
    (gate, journal)
}

/// A journal that lets a commit through for each permit, and misbehaves on demand.
#[derive(Debug)]
struct Gated {
    memory: MemoryJournal,
    permits: Semaphore,
    entries: Semaphore,
    batches: Mutex<Vec<usize>>,
    failure: Mutex<Option<JournalError>>,
    panics: AtomicBool,
    forgets: AtomicBool,
    dropped: Mutex<Option<oneshot::Sender<()>>>,
}

impl Default for Gated {
    fn default() -> Self {
        Self {
            memory: MemoryJournal::new(),
            permits: Semaphore::new(0),
            entries: Semaphore::new(0),
            batches: Mutex::default(),
            failure: Mutex::default(),
            panics: AtomicBool::default(),
            forgets: AtomicBool::default(),
            dropped: Mutex::default(),
        }
    }
}

impl Gated {
    fn open(&self, commits: usize) {
        self.permits.add_permits(commits);
    }

    /// Waits until a commit has begun.
    async fn entered(&self) {
        self.entries.acquire().await.unwrap().forget();
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    fn fail_next(&self, error: JournalError) {
        *self.failure.lock().unwrap() = Some(error);
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.get_mut().unwrap().take() {
            let _ = dropped.send(());
        }
    }
}

#[async_trait]
impl Journal for Gated {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        self.batches.lock().unwrap().push(writes.len());
        self.entries.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        assert!(!self.panics.swap(false, Ordering::SeqCst), "on purpose");
        if let Some(error) = self.failure.lock().unwrap().take() {
            return vec![Err(error); writes.len()];
        }
        let mut answers = self.memory.write(writes).await;
        if self.forgets.swap(false, Ordering::SeqCst) {
            answers.pop();
        }
        answers
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.memory.replay(range)
    }
    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.memory.head(id).await
    }
    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.memory.delete_to(id, to).await
    }
    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.memory.replace(old, new).await
    }
    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.memory.events_by_tag(tag, after, limit).await
    }
    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.memory.events_by_slice(slices, after, limit).await
    }
    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.memory.persistence_ids(after, limit).await
    }
    fn limits(&self) -> Limits {
        self.memory.limits()
    }
}
