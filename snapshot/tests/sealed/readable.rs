//! What the files of a store say to who reads them.

use std::path::Path;

use annals_journal::sqlite::{Options, SqliteJournal};
use annals_snapshot::SqliteSnapshotStore;

use super::*;

/// Keys and snapshots in one file; the snapshots are given sealed and bare.
async fn open(home: &Path) -> (SqliteJournal, SqliteSnapshotStore, SealedSnapshots) {
    let journal = SqliteJournal::open(home.join("bank.db"), Options::default()).await.unwrap();
    let stored = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
    let keys = keys(Arc::new(journal.clone()), ring(1)).await.unwrap();
    let sealed = SealedSnapshots::new(Arc::new(stored.clone()), keys);
    (journal, stored, sealed)
}

fn has(home: &Path, fragment: &[u8]) -> bool {
    std::fs::read_dir(home).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(fragment.len()).any(|window| window == fragment)
    })
}

#[tokio::test]
async fn no_file_of_sqlite_has_a_piece_of_a_state() {
    let home = tempfile::tempdir().unwrap();
    let (journal, _, sealed) = open(home.path()).await;
    for number in 1..=200 {
        sealed.save(snapshot("account|alice", number)).await.unwrap();
        if number % 10 == 0 {
            sealed.delete(&id("account|alice"), nr(number - 5)..=nr(number)).await.unwrap();
        }
    }
    // With its write-ahead log, and after that is gone.
    assert!(has(home.path(), b"account|alice") && !has(home.path(), b"Liddell"));
    journal.database().close().await;
    assert!(has(home.path(), b"account|alice") && !has(home.path(), b"Liddell"));

    let (journal, stored, _) = open(home.path()).await;
    stored.save(snapshot("account|eve", 1)).await.unwrap();
    assert!(has(home.path(), b"Liddell"), "the search finds nothing at all");
    journal.database().close().await;
}
