//! The contract of snapshot stores, for the stores of this crate.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use annals_journal::{PersistenceId, SeqNr};
use annals_snapshot::conformance::Backend;
use annals_snapshot::{MemorySnapshotStore, SnapshotStore};
use async_trait::async_trait;

struct Memory(MemorySnapshotStore);

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }

    fn outlives_process(&self) -> bool {
        false
    }

    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
        assert!(self.0.tamper(id, seq_nr, |bytes| bytes[30] ^= 1), "{id} {seq_nr:?} is not there");
    }
}

annals_snapshot::snapshot_conformance!(memory, || Memory(MemorySnapshotStore::new()));

#[cfg(feature = "sqlite")]
mod sqlite {
    use annals_journal::sqlite::{Options, rusqlite};
    use annals_snapshot::SqliteSnapshotStore;
    use tempfile::TempDir;

    use super::*;

    struct Sqlite(TempDir);

    impl Sqlite {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
    }

    #[async_trait]
    impl Backend for Sqlite {
        async fn open(&self) -> Arc<dyn SnapshotStore> {
            let path = self.0.path().join("snapshots.db");
            Arc::new(SqliteSnapshotStore::open(path, Options::default()).await.unwrap())
        }

        fn outlives_process(&self) -> bool {
            true
        }

        async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
            let conn = rusqlite::Connection::open(self.0.path().join("snapshots.db")).unwrap();
            let place = rusqlite::params![id.as_str(), seq_nr.get().cast_signed()];
            let mut stored: Vec<u8> = conn
                .query_row(
                    "SELECT stored FROM snapshots WHERE persistence_id = ? AND seq = ?",
                    place,
                    |row| row.get(0),
                )
                .unwrap();
            stored[30] ^= 1;
            let changed = rusqlite::params![stored, id.as_str(), seq_nr.get().cast_signed()];
            conn.execute("UPDATE snapshots SET stored = ? WHERE persistence_id = ? AND seq = ?", changed)
                .unwrap();
        }
    }

    annals_snapshot::snapshot_conformance!(file, Sqlite::new);
}
