//! What an append leaves in the file of a `SqliteJournal`, seen with another connection.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use annals_journal::sqlite::rusqlite::Connection;
use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{Journal, JournalError, JournalExt, Mark, PersistenceId, ReplayRange, Token};
use futures::TryStreamExt;
use support::{id, nr, token};

async fn append(journal: &SqliteJournal, id: &PersistenceId, expected: u64, token: Token) {
    journal.append(support::append(id, token, expected, 1)).await.unwrap();
}

async fn close(journal: SqliteJournal) {
    journal.database().close().await;
}

fn known_head(path: &std::path::Path) -> i64 {
    let conn = Connection::open(path).unwrap();
    conn.query_row("SELECT known_head FROM streams", (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_row_of_an_id_is_written_by_new_tokens_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let alice = id("alice");
    for number in 0..5 {
        append(&journal, &alice, number, token(1, 1)).await;
    }
    assert_eq!(known_head(&path), 1);
    assert_eq!(journal.claim(&alice, token(2, 1)).await.unwrap().seq_nr, nr(5));
    assert_eq!(known_head(&path), 5);
    append(&journal, &alice, 5, token(2, 1)).await;
    assert_eq!(known_head(&path), 5);
    assert_eq!(journal.head(&alice).await.unwrap().seq_nr, nr(6));
}

#[tokio::test]
async fn the_head_is_found_again_whatever_was_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let alice = id("alice");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    for number in 0..3 {
        append(&journal, &alice, number, token(1, 1)).await;
    }
    journal.delete_to(&alice, nr(3)).await.unwrap();
    append(&journal, &alice, 3, token(1, 1)).await;
    journal.delete_to(&alice, nr(4)).await.unwrap();
    close(journal).await;
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    assert_eq!(journal.head(&alice).await.unwrap().seq_nr, nr(4));
    append(&journal, &alice, 4, token(1, 1)).await;
}

#[tokio::test]
async fn an_event_that_the_row_knows_and_that_is_gone_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let alice = id("alice");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    for number in 0..3 {
        append(&journal, &alice, number, token(1, 1)).await;
    }
    journal.claim(&alice, token(2, 1)).await.unwrap();
    close(journal).await;
    Connection::open(&path).unwrap().execute("DELETE FROM events WHERE seq = 3", ()).unwrap();
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let read = journal.replay(ReplayRange::all(&alice)).try_collect::<Vec<_>>().await;
    assert!(matches!(read, Err(JournalError::Corrupt { seq_nr: Some(at), .. }) if at == nr(3)), "{read:?}");
}

#[tokio::test]
async fn a_file_of_the_first_version_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let alice = id("alice");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    for number in 0..3 {
        append(&journal, &alice, number, token(1, 1)).await;
    }
    close(journal).await;
    // As a build left it that wrote the head with every append.
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TABLE mark_blocks;
         ALTER TABLE streams RENAME COLUMN known_head TO head;
         UPDATE streams SET head = 3;
         UPDATE annals_schema SET version = 1 WHERE component = 'journal'",
    )
    .unwrap();
    drop(conn);
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    assert_eq!(journal.head(&alice).await.unwrap().seq_nr, nr(3));
    append(&journal, &alice, 3, token(1, 1)).await;
    let events: Vec<_> = journal.replay(ReplayRange::all(&alice)).try_collect().await.unwrap();
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_file_with_marks_in_the_rows_of_events_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let ids: Vec<_> = (0..250).map(|number| id(&format!("{number:03}"))).collect();
    for id in &ids {
        append(&journal, id, 0, token(1, 1)).await;
    }
    close(journal).await;
    // As a build left it that kept a mark in the row of the event that it is about, and that of an id without one in a table.
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TABLE mark_blocks;
         ALTER TABLE events ADD COLUMN mark BLOB;
         CREATE TABLE marks (stream INTEGER PRIMARY KEY, mark BLOB NOT NULL) STRICT;
         UPDATE events SET mark = CAST(printf('%032d', stream) AS BLOB) WHERE stream IN (1, 120, 121, 250);
         INSERT INTO marks VALUES (7, CAST(printf('%032d', 7) AS BLOB));
         UPDATE annals_schema SET version = 3 WHERE component = 'journal'",
    )
    .unwrap();
    drop(conn);
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    for (stream, id) in (1..).zip(&ids) {
        let text = format!("{stream:032}");
        let marked = [1, 7, 120, 121, 250].contains(&stream);
        let mark = marked.then(|| Mark::from_bytes(text.as_bytes().try_into().unwrap()));
        assert_eq!(journal.head(id).await.unwrap().mark, mark, "{id}");
    }
}
