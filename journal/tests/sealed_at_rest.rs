//! What lies on the disk says nothing: no piece of a payload is in any file of SQLite's.
#![cfg(all(feature = "sqlite", feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    Envelope, GroupCommit, GroupCommitSettings, Journal, JournalExt, ReplayRange, Replayed,
};
use behind_keys::sealed;
use bytes::Bytes;
use futures::TryStreamExt;
use support::{append, id, nr, token};

/// Text that is nowhere else, and differs from event to event.
fn secret(number: u64) -> Bytes {
    Bytes::from(format!("{{\"iban\":\"DE{:020}\",\"cents\":{}}}", number * 7_919, number))
}

/// Appends, rewrites, deletes, conflicts, and reads it all again.
async fn workload(journal: &dyn Journal) {
    for name in ["alice", "bob"] {
        let id = id(name);
        journal.claim(&id, token(1, 1)).await.unwrap();
        for number in 0..100 {
            let mut write = append(&id, token(1, 1), number, 1);
            write.events[0].payload = secret(number);
            journal.append(write.clone()).await.unwrap();
            assert!(journal.append(write).await.is_err(), "an append on an old head");
        }
        let old = journal.replay(ReplayRange::all(&id).from(nr(50)).limit(1)).try_next().await.unwrap();
        let Some(Replayed::Event(old)) = old else { panic!("an event") };
        let new = Envelope { payload: secret(100), ..old.envelope.clone() };
        assert!(journal.replace(&old, new).await.unwrap());
        journal.delete_to(&id, nr(20)).await.unwrap();
        let read: Vec<_> = journal.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
        assert_eq!(read.len(), 81);
    }
}

/// How many pieces of payloads are in the files.
fn pieces(directory: &Path) -> usize {
    let secrets: Vec<_> = (0..=100).map(secret).collect();
    // Eight bytes in a row do not come up by chance.
    let pieces: HashSet<&[u8]> = secrets.iter().flat_map(|secret| secret.windows(8)).collect();
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(8).filter(|window| pieces.contains(window)).count()
        })
        .sum()
}

#[tokio::test]
async fn no_piece_of_a_payload_is_in_the_files() {
    for encrypted in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        let backend = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
        let group = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
        if encrypted {
            workload(&sealed(Arc::new(group.clone()), backend.clone()).await).await;
        } else {
            workload(&group).await;
        }
        // While the write-ahead log is there, and once all is in the main file.
        assert!(directory.path().join("journal.db-wal").exists());
        let running = pieces(directory.path());
        group.shutdown().await;
        backend.database().close().await;
        let closed = pieces(directory.path());
        // Where nothing is sealed the search finds them.
        assert_eq!((running == 0, closed == 0), (encrypted, encrypted), "{running} {closed}");
    }
}
