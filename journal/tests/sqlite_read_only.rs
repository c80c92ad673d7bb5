//! A SQLite journal that is only looked at stays as it is.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use annals_journal::sqlite::{Database, OpenError, Options, Schema, SqliteJournal, rusqlite};
use annals_journal::{
    Epoch, Head, Journal, JournalError, JournalExt, JournalUrl, PersistenceId, Token, next_epoch,
};
use rusqlite::Connection;

fn alice() -> PersistenceId {
    PersistenceId::new("account", "alice").unwrap()
}

/// A journal that somebody has claimed an id of.
async fn claimed(path: &Path) -> (SqliteJournal, Head) {
    let journal = SqliteJournal::open(path, Options::default()).await.unwrap();
    let head = journal.claim(&alice(), Token::new(Epoch(3), 1)).await.unwrap();
    (journal, head)
}

/// Every file of a directory but the index of a log, which is memory that processes share.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect()
}

async fn refusal(path: &Path) -> OpenError {
    SqliteJournal::open_read_only(path, Options::default()).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn what_is_not_there_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let error = refusal(&directory.path().join("bank.db")).await;
    assert!(matches!(&error, OpenError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("there is no such file"), "{error}");
    assert_eq!(files(directory.path()), BTreeMap::new());

    fs::write(directory.path().join("empty.db"), "").unwrap();
    let before = files(directory.path());
    let error = refusal(&directory.path().join("empty.db")).await;
    assert!(error.to_string().contains("the file is empty"), "{error}");
    assert_eq!(files(directory.path()), before);
}

#[tokio::test]
async fn a_closed_journal_is_read_and_stays_byte_by_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let (journal, head) = claimed(&path).await;
    journal.database().close().await;
    drop(journal);
    let before = files(directory.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), ["bank.db"]);

    let url: JournalUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    let opened = url.open_read_only().await.unwrap();
    assert_eq!(opened.journal.head(&alice()).await.unwrap(), head);
    assert_eq!(opened.journal.persistence_ids(None, 9).await.unwrap(), [alice()]);
    opened.database.as_ref().unwrap().close().await;
    drop(opened);
    assert_eq!(files(directory.path()), before);
    assert!(!directory.path().join("bank.db-shm").exists());
}

#[tokio::test]
async fn the_log_of_a_process_that_was_killed_is_read_and_left_alone() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, head) = claimed(&home.path().join("bank.db")).await;
    for name in ["bank.db", "bank.db-wal"] {
        fs::copy(home.path().join(name), away.path().join(name)).unwrap();
    }
    drop(journal);
    let before = files(away.path());
    assert!(!before["bank.db-wal"].is_empty());
    let copy = SqliteJournal::open_read_only(away.path().join("bank.db"), Options::default()).await.unwrap();
    assert_eq!(copy.head(&alice()).await.unwrap(), head);
    copy.database().close().await;
    drop(copy);
    assert_eq!(files(away.path()), before);
}

#[tokio::test]
async fn beside_a_writer_it_sees_what_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let (journal, _) = claimed(&path).await;
    let reader = SqliteJournal::open_read_only(&path, Options::default()).await.unwrap();
    let head = journal.claim(&alice(), Token::new(Epoch(4), 1)).await.unwrap();
    assert_eq!(reader.head(&alice()).await.unwrap(), head);
}

#[tokio::test]
async fn what_would_change_it_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let (journal, head) = claimed(&path).await;
    let reader = SqliteJournal::open_read_only(&path, Options::default()).await.unwrap();
    let refused = reader.claim(&alice(), Token::new(Epoch(9), 1)).await.unwrap_err();
    assert!(matches!(refused, JournalError::Rejected { .. }), "{refused}");
    assert!(matches!(next_epoch(&reader).await, Err(JournalError::Rejected { .. })));
    assert_eq!(journal.head(&alice()).await.unwrap(), head);
}

#[tokio::test]
async fn other_versions_of_the_tables_are_refused_and_not_migrated() {
    const NOTES: Schema = Schema { component: "notes", steps: &["CREATE TABLE notes (text TEXT)"] };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let (journal, _) = claimed(&path).await;
    journal.database().close().await;
    drop(journal);
    for version in [1, 99] {
        let other = Connection::open(&path).unwrap();
        other.execute("UPDATE annals_schema SET version = ? WHERE component = 'journal'", [version]).unwrap();
        drop(other);
        let before = files(directory.path());
        let error = refusal(&path).await;
        match version {
            1 => assert!(matches!(&error, OpenError::OlderSchema { found: 1, .. }), "{error:?}"),
            _ => assert!(matches!(&error, OpenError::NewerSchema { found: 99, .. }), "{error:?}"),
        }
        assert_eq!(files(directory.path()), before);
    }
    let database = Database::open_read_only(&path, Options::default()).await.unwrap();
    assert!(matches!(database.migrate(&NOTES).await, Err(OpenError::OlderSchema { found: 0, .. })));
}

#[tokio::test]
async fn another_applications_file_is_foreign() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    assert!(matches!(refusal(&path).await, OpenError::Foreign { .. }));
    fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
    assert!(matches!(refusal(&path).await, OpenError::Corrupt { .. }));
}
