//! The contract of snapshot stores, for stores behind keys.

use annals_journal::Records;
use annals_snapshot::conformance::Backend;
use async_trait::async_trait;

use super::*;

/// Where keys and snapshots are.
#[async_trait]
trait Home: Send + Sync + 'static {
    async fn open(&self) -> (Arc<dyn SnapshotStore>, Arc<dyn Records>);

    fn outlives_process(&self) -> bool;
}

struct Sealed<H>(H);

#[async_trait]
impl<H: Home> Backend for Sealed<H> {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        let (stored, records) = self.0.open().await;
        let keys = keys(records, ring(1)).await.unwrap();
        Arc::new(SealedSnapshots::new(stored, keys))
    }

    fn outlives_process(&self) -> bool {
        self.0.outlives_process()
    }

    fn seals(&self) -> bool {
        true
    }

    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
        // One bit of what is sealed, and all around it as the store beneath wants it.
        let (stored, _) = self.0.open().await;
        let mut snapshot = stored.load(id, seq_nr).await.unwrap().unwrap();
        assert_eq!(snapshot.seq_nr, seq_nr);
        let mut payload = snapshot.payload.to_vec();
        *payload.last_mut().unwrap() ^= 1;
        snapshot.payload = payload.into();
        stored.save(snapshot).await.unwrap();
    }
}

struct Memory(MemorySnapshotStore, Arc<MemoryJournal>);

impl Memory {
    fn new() -> Self {
        Self(MemorySnapshotStore::new(), Arc::new(MemoryJournal::new()))
    }
}

#[async_trait]
impl Home for Memory {
    async fn open(&self) -> (Arc<dyn SnapshotStore>, Arc<dyn Records>) {
        (Arc::new(self.0.clone()), self.1.clone())
    }

    fn outlives_process(&self) -> bool {
        false
    }
}

annals_snapshot::snapshot_conformance!(memory, || Sealed(Memory::new()));

#[cfg(feature = "sqlite")]
mod sqlite {
    use annals_journal::sqlite::{Options, SqliteJournal};
    use annals_snapshot::SqliteSnapshotStore;
    use tempfile::TempDir;

    use super::*;

    struct File(TempDir);

    #[async_trait]
    impl Home for File {
        async fn open(&self) -> (Arc<dyn SnapshotStore>, Arc<dyn Records>) {
            let path = self.0.path().join("bank.db");
            let journal = SqliteJournal::open(path, Options::default()).await.unwrap();
            let stored = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
            (Arc::new(stored), Arc::new(journal))
        }

        fn outlives_process(&self) -> bool {
            true
        }
    }

    annals_snapshot::snapshot_conformance!(file, || Sealed(File(tempfile::tempdir().unwrap())));
}

/// On a server; in memory, and said aloud, where there is none.
#[cfg(any(feature = "postgres", feature = "cassandra"))]
enum OnServer<O> {
    Server { url: String, options: O },
    Missing(Memory),
}

#[cfg(feature = "postgres")]
mod postgres {
    use annals_journal::postgres::{Options, PostgresJournal};
    use annals_snapshot::PostgresSnapshotStore;

    use super::*;
    use crate::postgres;

    fn schema() -> OnServer<Options> {
        let Some(url) = postgres::url() else { return OnServer::Missing(Memory::new()) };
        OnServer::Server { url, options: postgres::options(&postgres::schema()).writers(1).readers(1) }
    }

    #[async_trait]
    impl Home for OnServer<Options> {
        async fn open(&self) -> (Arc<dyn SnapshotStore>, Arc<dyn Records>) {
            let (url, options) = match self {
                Self::Missing(memory) => return memory.open().await,
                Self::Server { url, options } => (url, options.clone()),
            };
            let journal = PostgresJournal::open(url, options).await.unwrap();
            let stored = PostgresSnapshotStore::in_database(journal.database().clone()).await.unwrap();
            (Arc::new(stored), Arc::new(journal))
        }

        fn outlives_process(&self) -> bool {
            matches!(self, Self::Server { .. })
        }
    }

    annals_snapshot::snapshot_conformance!(schema, || Sealed(schema()));
}

#[cfg(feature = "cassandra")]
mod cassandra {
    use annals_journal::cassandra::{CassandraJournal, Options};
    use annals_snapshot::CassandraSnapshotStore;

    use super::*;
    use crate::cassandra;

    fn journal() -> OnServer<Options> {
        let Some(url) = cassandra::url() else { return OnServer::Missing(Memory::new()) };
        OnServer::Server { url, options: cassandra::options(&cassandra::name()) }
    }

    #[async_trait]
    impl Home for OnServer<Options> {
        async fn open(&self) -> (Arc<dyn SnapshotStore>, Arc<dyn Records>) {
            let (url, options) = match self {
                Self::Missing(memory) => return memory.open().await,
                Self::Server { url, options } => (url, options.clone()),
            };
            let journal = CassandraJournal::open(url, options).await.unwrap();
            (Arc::new(CassandraSnapshotStore::in_keyspace(journal.keyspace().clone())), Arc::new(journal))
        }

        fn outlives_process(&self) -> bool {
            matches!(self, Self::Server { .. })
        }
    }

    annals_snapshot::snapshot_conformance!(keyspace, || Sealed(journal()));
}
