//! Group commit in front of SQLite's own thread: what the thread cannot begin is answered as well.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use annals_journal::sqlite::{Options, SqliteJournal, rusqlite};
use annals_journal::{GroupCommit, GroupCommitSettings, Journal, JournalError, JournalExt};
use futures::FutureExt;
use futures::future::join_all;
use support::{id, nr, token, write};
use tokio::time::timeout;

/// On one thread, so that nobody commits in its own.
#[tokio::test]
async fn a_commit_that_cannot_begin_fails_for_all_who_wait_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let options = Options::default().busy_timeout(Duration::from_millis(20));
    let backend = Arc::new(SqliteJournal::open(&path, options).await.unwrap());
    let journal = GroupCommit::new(backend, GroupCommitSettings::default());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (a, b) = (id("a"), id("b"));
    let calls = [&a, &b].map(|id| journal.write_one(write(id, token(1, 1), 0, 1)));
    let answers = timeout(PATIENCE, join_all(calls)).await.expect("those who wait are told");
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("locked by another process"), "{error}");
        assert!(error.to_string().contains("or set a larger busy_timeout_ms"), "{error}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(journal.write_one(write(&a, token(1, 1), 0, 1)).await.unwrap().seq_nr, nr(1));
    timeout(PATIENCE, journal.shutdown()).await.expect("nothing is on its way");
}

#[tokio::test]
async fn a_caller_does_not_wait_to_be_queued_while_the_thread_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let backend = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let mut busy = backend
        .database()
        .transact(move |_| {
            entered.send(()).unwrap();
            // Ends also when the test fails.
            let _ = wait_release.recv_timeout(PATIENCE);
            Ok(())
        })
        .boxed();
    assert!(busy.as_mut().now_or_never().is_none());
    wait_entered.recv().unwrap();
    let mut waits = journal.write_one(write(&id("a"), token(1, 1), 0, 1)).boxed();
    // Were it blocked here, nobody would release the thread.
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(release.send(()).is_ok(), "the thread gave up waiting: the caller was blocked");
    busy.await.unwrap();
    assert!(waits.await.is_ok());
}

/// The group commit is not shut down: it finds out that the file is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_file_ends_while_callers_write_without_pause() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let backend = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let database = backend.database().clone();
    let journal = GroupCommit::new(Arc::new(backend), GroupCommitSettings::default());
    let (answered, mut first) = tokio::sync::mpsc::channel(1);
    let callers = (0..64).map(|number| {
        let (journal, answered) = (journal.clone(), answered.clone());
        tokio::spawn(async move {
            let id = id(&format!("id-{number}"));
            for stored in 0.. {
                match journal.write_one(write(&id, token(1, 1), stored, 1)).await {
                    Ok(head) => assert_eq!(head.seq_nr, nr(stored + 1)),
                    Err(error) => return (id, stored, error),
                }
                let _ = answered.try_send(());
            }
            unreachable!("nobody writes for so long")
        })
    });
    let callers: Vec<_> = callers.collect();
    first.recv().await.unwrap();
    timeout(PATIENCE, database.close()).await.expect("closing ends");
    let again = SqliteJournal::open(&path, Options::default()).await.unwrap();
    for (id, stored, error) in timeout(PATIENCE, join_all(callers)).await.unwrap().into_iter().flatten() {
        assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("open"), "{error}");
        assert_eq!(
            again.head(&id).await.unwrap().seq_nr,
            nr(stored),
            "what was answered is stored, and nothing else"
        );
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
