//! A SQLite file that cannot be used says why, and what to do about it.
#![cfg(all(feature = "sqlite", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use annals_journal::sqlite::{Database, OpenError, Options, Schema, SqliteJournal, rusqlite};
use rusqlite::Connection;

fn quick() -> Options {
    Options::default().busy_timeout(Duration::from_millis(50))
}

async fn refusal(path: impl AsRef<Path>) -> OpenError {
    SqliteJournal::open(path, quick()).await.map(drop).unwrap_err()
}

async fn create(path: &Path) {
    let journal = SqliteJournal::open(path, quick()).await.unwrap();
    journal.database().close().await;
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = refusal(directory.path().join("not/here/bank.db")).await;
    assert!(
        matches!(&error, OpenError::MissingDirectory { directory, .. } if directory.ends_with("not/here"))
    );
    assert!(error.to_string().contains("create it"), "{error}");
}

#[tokio::test]
async fn a_new_file_that_another_process_locks_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("busy_timeout_ms"), "{error}");
    other.execute_batch("COMMIT").unwrap();
    create(&path).await;
}

#[tokio::test]
async fn a_journal_that_a_tool_locks_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    create(&path).await;
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE t (x); COMMIT")
        .unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::Locked { .. }), "{error:?}");
}

#[tokio::test]
async fn a_write_transaction_elsewhere_does_not_keep_a_journal_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    create(&path).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    create(&path).await;
}

/// The user who runs tests may be root, for whom nothing is read-only; so this runs as nobody.
#[test]
fn a_read_only_file_is_read_only() {
    const NAME: &str = "a_read_only_file_is_read_only";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(path) = children::task() {
        let error = runtime.block_on(refusal(&path));
        assert!(matches!(&error, OpenError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("write permission"), "{error}");
        children::say("refused");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("bank.db");
    runtime.block_on(create(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(children::refused_as_nobody(NAME, &path), "a read-only file");
    // The file may be written, but nothing can be put beside it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(children::refused_as_nobody(NAME, &path), "a read-only directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    assert!(children::refused_as_nobody(NAME, &directory.path().join("new.db")), "a new file in it");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let text = "this is no database, and never was\n".repeat(400);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_truncated_journal_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    create(&path).await;
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_journal_with_a_damaged_schema_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    create(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_another_application_is_foreign_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("tables.db", "CREATE TABLE orders (id INTEGER PRIMARY KEY)"),
        ("id.db", "PRAGMA application_id = 42; CREATE TABLE streams (id INTEGER)"),
    ] {
        let path = directory.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(&error, OpenError::Foreign { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("choose another path"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
        assert!(!directory.path().join(format!("{name}-wal")).exists());
    }
}

#[tokio::test]
async fn a_directory_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let error = refusal(directory.path()).await;
    assert!(matches!(&error, OpenError::CannotOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("is a directory"), "{error}");
    assert!(matches!(refusal("").await, OpenError::CannotOpen { .. }));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    create(&path).await;
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE annals_schema SET version = 99 WHERE component = 'journal'", ()).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(&error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("run the newer build"), "{error}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    fs::write(&path, "").unwrap();
    create(&path).await;
}

#[tokio::test]
async fn a_file_may_be_opened_for_the_first_time_many_times_at_once() {
    const NOTES: Schema = Schema { component: "notes", steps: &["CREATE TABLE notes (text TEXT)"] };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let opening = (0..8).map(|_| async {
        let database = Database::open(&path, Options::default()).await?;
        database.migrate(&NOTES).await?;
        SqliteJournal::in_database(database).await
    });
    for journal in futures::future::join_all(opening).await {
        journal.unwrap();
    }
}
