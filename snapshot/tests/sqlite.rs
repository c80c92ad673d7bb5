//! Snapshots in the journal's SQLite file: what they share, and what each trouble with the file is called.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::Duration;

use annals_journal::sqlite::{Database, OpenError, Options, SqliteJournal, rusqlite};
use annals_journal::{
    Codec, Epoch, EventDigest, Head, JournalExt, Manifest, PersistenceId, SeqNr, Timestamp, Token,
};
use annals_snapshot::{Snapshot, SnapshotError, SnapshotStore, SqliteSnapshotStore, open_beside};
use bytes::Bytes;

fn id() -> PersistenceId {
    PersistenceId::parse("account|alice").unwrap()
}

fn snapshot(number: u64, payload: impl Into<Bytes>) -> Snapshot {
    Snapshot {
        persistence_id: id(),
        seq_nr: SeqNr::new(number).unwrap(),
        token: Token::new(Epoch(1), 1),
        last_event: EventDigest([7; 32]),
        timestamp: Timestamp::from_micros(1),
        manifest: Manifest::new("account.state").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        key_id: None,
        payload: payload.into(),
    }
}

async fn open(path: &Path) -> SqliteSnapshotStore {
    SqliteSnapshotStore::open(path, Options::default()).await.unwrap()
}

#[tokio::test]
async fn events_and_snapshots_share_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let token = Token::new(Epoch(1), 1);
    {
        let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
        let store = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
        let id = id();
        let (claimed, saved) = tokio::join!(journal.claim(&id, token), store.save(snapshot(1, "{}")));
        claimed.unwrap();
        saved.unwrap();
        journal.database().close().await;
    }
    let opened = annals_journal::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let store = open_beside(&opened).await.unwrap();
    assert_eq!(store.load(&id(), SeqNr::MAX).await.unwrap(), Some(snapshot(1, "{}")));
    assert_eq!(opened.journal.head(&id()).await.unwrap(), Head { token, ..Head::EMPTY });
}

#[tokio::test]
async fn tables_of_a_newer_build_are_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    open(&path).await;
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE annals_schema SET version = 99 WHERE component = 'snapshots'", ()).unwrap();
    let error = SqliteSnapshotStore::open(&path, Options::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }));
    assert!(error.to_string().contains("version 99 of the snapshots tables"), "{error}");
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_goes_on_when_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let options = Options::default().busy_timeout(Duration::from_millis(1));
    let store = SqliteSnapshotStore::open(&path, options).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.save(snapshot(1, "{}")).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("locked by another process"), "{error}");
    other.execute_batch("COMMIT").unwrap();
    store.save(snapshot(1, "{}")).await.unwrap();
}

#[tokio::test]
async fn a_damaged_page_names_the_snapshot_on_it_and_older_ones_load() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let payload = |byte: u8| Bytes::from(vec![byte; 3_500]);
    {
        let database = Database::open(&path, Options::default()).await.unwrap();
        let store = SqliteSnapshotStore::in_database(database.clone()).await.unwrap();
        for number in [1, 2] {
            store.save(snapshot(number, payload(number as u8))).await.unwrap();
        }
        database.close().await;
    }
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut file = std::fs::read(&path).unwrap();
    let at = file.windows(3_500).position(|window| window == payload(2)).expect("its payload is in the file");
    let page = at / 4_096 * 4_096;
    file[page..page + 8].fill(0xff);
    std::fs::write(&path, file).unwrap();

    let store = open(&path).await;
    match store.load(&id(), SeqNr::MAX).await {
        Err(SnapshotError::Corrupt { seq_nr, .. }) => assert_eq!(seq_nr.get(), 2),
        other => panic!("a damaged page was answered {other:?}"),
    }
    assert_eq!(store.load(&id(), SeqNr::FIRST).await.unwrap(), Some(snapshot(1, payload(1))));
}

#[tokio::test]
async fn beside_a_journal_that_is_only_read_snapshots_are_only_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let url: annals_journal::JournalUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    let none = SqliteJournal::open(&path, Options::default()).await.unwrap();
    let reader = open_beside(&url.open_read_only().await.unwrap()).await.unwrap();
    assert_eq!(reader.load(&id(), SeqNr::MAX).await.unwrap(), None);
    none.database().close().await;

    let writer = open(&path).await;
    writer.save(snapshot(3, "{}")).await.unwrap();
    let reader = open_beside(&url.open_read_only().await.unwrap()).await.unwrap();
    assert_eq!(reader.load(&id(), SeqNr::MAX).await.unwrap(), Some(snapshot(3, "{}")));
    assert!(reader.save(snapshot(4, "{}")).await.is_err());
    assert_eq!(writer.list(&id()).await.unwrap(), [SeqNr::new(3).unwrap()]);
}
