//! The contract of snapshot stores, for stores behind keys.

use annals_snapshot::conformance::Backend;
use async_trait::async_trait;

use super::*;

struct Memory {
    stored: MemorySnapshotStore,
    records: Arc<MemoryJournal>,
}

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        let keys = keys(self.records.clone(), ring(1)).await.unwrap();
        Arc::new(SealedSnapshots::new(Arc::new(self.stored.clone()), keys))
    }

    fn outlives_process(&self) -> bool {
        false
    }

    fn seals(&self) -> bool {
        true
    }

    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
        // One bit of what is sealed, and all around it as the store beneath wants it.
        let mut snapshot = self.stored.load(id, seq_nr).await.unwrap().unwrap();
        let mut payload = snapshot.payload.to_vec();
        *payload.last_mut().unwrap() ^= 1;
        snapshot.payload = payload.into();
        self.stored.save(snapshot).await.unwrap();
    }
}

annals_snapshot::snapshot_conformance!(memory, || Memory {
    stored: MemorySnapshotStore::new(),
    records: Arc::new(MemoryJournal::new())
});

#[cfg(feature = "sqlite")]
mod sqlite {
    use annals_journal::sqlite::{Options, SqliteJournal, rusqlite};
    use annals_snapshot::SqliteSnapshotStore;
    use tempfile::TempDir;

    use super::*;

    /// Keys and snapshots in one file.
    struct Sqlite(TempDir);

    #[async_trait]
    impl Backend for Sqlite {
        async fn open(&self) -> Arc<dyn SnapshotStore> {
            let path = self.0.path().join("bank.db");
            let journal = SqliteJournal::open(path, Options::default()).await.unwrap();
            let stored = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
            let keys = keys(Arc::new(journal), ring(1)).await.unwrap();
            Arc::new(SealedSnapshots::new(Arc::new(stored), keys))
        }

        fn outlives_process(&self) -> bool {
            true
        }

        fn seals(&self) -> bool {
            true
        }

        async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
            let conn = rusqlite::Connection::open(self.0.path().join("bank.db")).unwrap();
            let (id, number) = (id.as_str(), seq_nr.get().cast_signed());
            let of = "persistence_id = ? AND seq = ?";
            let stored: Vec<u8> = conn
                .query_row(&format!("SELECT stored FROM snapshots WHERE {of}"), (id, number), |row| {
                    row.get(0)
                })
                .unwrap();
            let mut snapshot = Snapshot::decode(&stored.into()).unwrap();
            let mut payload = snapshot.payload.to_vec();
            *payload.last_mut().unwrap() ^= 1;
            snapshot.payload = payload.into();
            conn.execute(
                &format!("UPDATE snapshots SET stored = ? WHERE {of}"),
                (&snapshot.encode()[..], id, number),
            )
            .unwrap();
        }
    }

    annals_snapshot::snapshot_conformance!(file, || Sqlite(tempfile::tempdir().unwrap()));
}
