use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, Weak};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::sqlite::SqliteJournal;
use crate::{Head, PersistenceId, Token};

/// Its disk is full: no commit of its begins.
#[derive(Default)]
struct Full {
    tries: Arc<AtomicUsize>,
}

impl CommitThread for Full {
    fn prepare(&self, write: Write) -> EncodedWrite {
        EncodedWrite::new(write, SqliteJournal::LIMITS)
    }

    fn turn(&self) -> Option<Box<dyn Turn + '_>> {
        None
    }

    fn begin(&self, source: Arc<dyn CommitSource>) -> Result<(), JournalError> {
        let tries = Arc::clone(&self.tries);
        std::thread::spawn(move || {
            let full = || JournalError::Unavailable { reason: "make room".into(), source: None };
            let mut needed = source.is_needed();
            while needed && tries.fetch_add(1, Ordering::SeqCst) < 1_000 {
                needed = source.conclude(Err(full()));
            }
        });
        Ok(())
    }
}

#[tokio::test]
async fn who_waits_for_a_commit_that_cannot_begin_hears_why() {
    let thread = Full::default();
    let tries = Arc::clone(&thread.tries);
    let commits = commits(Arc::new(thread));
    let answers = tokio::time::timeout(PATIENCE, commits.write(vec![claim("alice")])).await.unwrap();
    assert!(matches!(&answers[..], [Err(JournalError::Unavailable { reason, .. })] if reason == "make room"));
    commits.shutdown().await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

/// Its file turns out to be locked when a caller would commit, and a second one comes at that moment.
#[derive(Default)]
struct Locks {
    commits: OnceLock<Weak<ByThread>>,
    second: Mutex<Option<BoxFuture<'static, Answers>>>,
    /// The ids of each commit of the thread.
    committed: Arc<Mutex<Vec<Vec<String>>>>,
}

impl CommitThread for Locks {
    fn prepare(&self, write: Write) -> EncodedWrite {
        EncodedWrite::new(write, SqliteJournal::LIMITS)
    }

    fn turn(&self) -> Option<Box<dyn Turn + '_>> {
        Some(Box::new(LocksHere(self)))
    }

    fn begin(&self, source: Arc<dyn CommitSource>) -> Result<(), JournalError> {
        let committed = Arc::clone(&self.committed);
        std::thread::spawn(move || {
            let mut needed = source.is_needed();
            while needed {
                let ids: Vec<_> =
                    source.take().iter().map(|write| write.persistence_id.entity_id().to_owned()).collect();
                let answers = vec![Ok(Head::EMPTY); ids.len()];
                committed.lock().unwrap().push(ids);
                needed = source.conclude(Ok(answers));
            }
        });
        Ok(())
    }
}

struct LocksHere<'a>(&'a Locks);

impl Turn for LocksHere<'_> {
    fn commit(self: Box<Self>, writes: Vec<EncodedWrite>) -> Result<Result<Answers, JournalError>, Locked> {
        let commits = self.0.commits.get().and_then(Weak::upgrade).unwrap();
        let mut second = async move { commits.write(vec![claim("second")]).await }.boxed();
        assert!(second.as_mut().now_or_never().is_none());
        *self.0.second.lock().unwrap() = Some(second);
        Err(Locked(writes))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_could_not_commit_for_a_lock_is_the_first_that_the_thread_commits() {
    let thread = Arc::new(Locks::default());
    let commits = commits(Arc::clone(&thread));
    thread.commits.set(Arc::downgrade(&commits)).unwrap();
    let first = tokio::time::timeout(PATIENCE, commits.write(vec![claim("first")])).await.unwrap();
    let second = thread.second.lock().unwrap().take().expect("the first one would have committed itself");
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap();
    assert!(matches!((&first[..], &second[..]), ([Ok(_)], [Ok(_)])), "{first:?}, {second:?}");
    assert_eq!(*thread.committed.lock().unwrap(), [["first", "second"]]);
}

fn commits(thread: Arc<impl CommitThread + 'static>) -> Arc<ByThread> {
    let settings = GroupCommitSettings::default();
    Arc::new(ByThread::new(thread, Arc::new(JournalMetrics::new()), settings))
}

fn claim(name: &str) -> Write {
    let persistence_id = PersistenceId::new("account", name).unwrap();
    Write::Claim { persistence_id, token: Token::NONE }
}

const PATIENCE: Duration = Duration::from_secs(30);
