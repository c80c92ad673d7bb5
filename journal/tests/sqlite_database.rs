//! The handle to a SQLite file: jobs share a transaction and stay apart from each other.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use annals_journal::JournalError;
use annals_journal::sqlite::{Database, Durability, OpenError, Options, Schema, rusqlite};
use futures::future::join_all;

const NOTES: Schema =
    Schema { component: "notes", steps: &["CREATE TABLE notes (text TEXT NOT NULL UNIQUE)"] };

async fn notes(directory: &tempfile::TempDir) -> Database {
    let database = Database::open(directory.path().join("notes.db"), Options::default()).await.unwrap();
    database.migrate(&NOTES).await.unwrap();
    database
}

async fn insert(database: &Database, text: &str) -> Result<usize, JournalError> {
    let text = text.to_owned();
    database.transact(move |tx| tx.execute("INSERT INTO notes VALUES (?)", [text])).await
}

async fn texts(database: &Database) -> Vec<String> {
    let read = database.read(|tx| {
        tx.prepare("SELECT text FROM notes ORDER BY rowid")?.query_map((), |row| row.get(0))?.collect()
    });
    read.await.unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_for_readers_and_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    insert(&database, "one").await.unwrap();
    assert_eq!(texts(&database).await, ["one"]);
    database.close().await;
    assert!(matches!(insert(&database, "late").await, Err(JournalError::Unavailable { .. })));
    assert_eq!(texts(&notes(&directory).await).await, ["one"]);
}

#[tokio::test]
async fn a_job_that_fails_or_panics_is_undone_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    // Queued while the first job holds the writer, so that the others share one transaction.
    let (entered, wait_entered) = std::sync::mpsc::channel();
    let (release, wait_release) = std::sync::mpsc::channel::<()>();
    let first = tokio::spawn({
        let database = database.clone();
        async move {
            let held = database.transact(move |tx| {
                entered.send(()).unwrap();
                wait_release.recv().unwrap();
                tx.execute("INSERT INTO notes VALUES ('first')", ())
            });
            held.await
        }
    });
    tokio::task::spawn_blocking(move || wait_entered.recv().unwrap()).await.unwrap();
    let failing = database.transact(|tx| {
        tx.execute("INSERT INTO notes VALUES ('undone')", ())?;
        tx.execute("INSERT INTO nowhere VALUES (1)", ())
    });
    let panicking = database.transact(|tx| -> rusqlite::Result<usize> {
        tx.execute("INSERT INTO notes VALUES ('undone too')", ())?;
        panic!("this panic is part of the test")
    });
    let (a, failed, panicked, b, released) =
        tokio::join!(insert(&database, "a"), failing, panicking, insert(&database, "b"), async {
            release.send(())
        });
    released.unwrap();
    first.await.unwrap().unwrap();
    a.unwrap();
    b.unwrap();
    assert!(matches!(failed, Err(JournalError::Unavailable { .. })), "{failed:?}");
    assert!(matches!(panicked, Err(JournalError::Unavailable { .. })), "{panicked:?}");
    assert_eq!(texts(&database).await, ["first", "a", "b"]);
    insert(&database, "the thread lives on").await.unwrap();
}

#[tokio::test]
async fn a_job_alone_that_fails_is_undone() {
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    let failed = database.transact(|tx| {
        tx.execute("INSERT INTO notes VALUES ('undone')", ())?;
        tx.execute("INSERT INTO nowhere VALUES (1)", ())
    });
    assert!(matches!(failed.await, Err(JournalError::Unavailable { .. })));
    assert!(texts(&database).await.is_empty());
}

#[tokio::test]
async fn jobs_are_done_in_the_order_in_which_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    // So few that all find room in the queue: who waits for room may be passed by who comes when there is some.
    let expected: Vec<String> = (0..500).map(|n| format!("note {n}")).collect();
    // Tasks of this runtime begin in the order in which they were spawned.
    let tasks: Vec<_> = expected
        .iter()
        .map(|text| {
            let (database, text) = (database.clone(), text.clone());
            tokio::spawn(async move { insert(&database, &text).await })
        })
        .collect();
    for answer in join_all(tasks).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(texts(&database).await, expected);
}

#[tokio::test]
async fn a_reader_cannot_write_and_sees_one_state() {
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    let wrote = database.read(|tx| tx.execute("INSERT INTO notes VALUES ('no')", ())).await;
    assert!(wrote.is_err());
    let (entered, wait_entered) = std::sync::mpsc::channel();
    let (release, wait_release) = std::sync::mpsc::channel::<()>();
    let reader = tokio::spawn({
        let database = database.clone();
        async move {
            let counts = database.read(move |tx| {
                let count = || tx.query_row("SELECT count(*) FROM notes", (), |row| row.get::<_, i64>(0));
                let before = count()?;
                entered.send(()).unwrap();
                wait_release.recv().unwrap();
                Ok((before, count()?))
            });
            counts.await.unwrap()
        }
    });
    tokio::task::spawn_blocking(move || wait_entered.recv().unwrap()).await.unwrap();
    insert(&database, "meanwhile").await.unwrap();
    release.send(()).unwrap();
    assert_eq!(reader.await.unwrap(), (0, 0));
    assert_eq!(texts(&database).await, ["meanwhile"]);
}

#[tokio::test]
async fn a_component_is_migrated_step_by_step_and_never_back() {
    const NEWER: Schema = Schema {
        component: "notes",
        steps: &[
            NOTES.steps[0],
            "ALTER TABLE notes ADD COLUMN author TEXT; CREATE INDEX by_author ON notes(author)",
        ],
    };
    let directory = tempfile::tempdir().unwrap();
    let database = notes(&directory).await;
    insert(&database, "kept").await.unwrap();
    let (one, other) = tokio::join!(database.migrate(&NEWER), database.migrate(&NEWER));
    one.unwrap();
    other.unwrap();
    assert_eq!(texts(&database).await, ["kept"]);
    let error = database.migrate(&NOTES).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 2, known: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("run the newer build"), "{error}");
}

#[tokio::test]
async fn commits_left_to_the_operating_system_are_seen_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::default().durability(Durability::Os).checkpoint_pages(2).readers(1);
    let database = Database::open(directory.path().join("notes.db"), options).await.unwrap();
    database.migrate(&NOTES).await.unwrap();
    for n in 0..100 {
        insert(&database, &format!("{n}")).await.unwrap();
    }
    assert_eq!(texts(&database).await.len(), 100);
    assert_eq!(database.durability(), Durability::Os);
}

/// SQLite does not wait for the lock with which it switches a new file to a write-ahead log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_that_open_a_new_file_at_once_all_get_it() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.db");
        let open = || tokio::spawn(Database::open(path.clone(), Options::default()));
        let opened = join_all((0..8).map(|_| open())).await;
        for database in opened {
            database.unwrap().unwrap().close().await;
        }
    }
}
