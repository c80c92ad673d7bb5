//! The contract of snapshot stores, for the stores of this crate.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "cassandra")]
#[path = "../../journal/tests/support/cassandra.rs"]
mod cassandra_server;
#[cfg(feature = "postgres")]
#[path = "../../journal/tests/support/postgres.rs"]
mod postgres_server;

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

#[cfg(feature = "postgres")]
mod postgres {
    use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
    use annals_snapshot::PostgresSnapshotStore;

    use super::*;

    /// A schema on the server that `DATABASE_URL` names, as `cargo xtask test` gives it; in memory, and said aloud, where there is none.
    enum Postgres {
        Server { url: String, schema: String },
        Missing(Memory),
    }

    impl Postgres {
        fn new() -> Self {
            let Some(url) = postgres_server::url() else {
                return Self::Missing(Memory(MemorySnapshotStore::new()));
            };
            Self::Server { url, schema: postgres_server::schema() }
        }
    }

    #[async_trait]
    impl Backend for Postgres {
        async fn open(&self) -> Arc<dyn SnapshotStore> {
            let (url, schema) = match self {
                Self::Missing(memory) => return memory.open().await,
                Self::Server { url, schema } => (url, schema),
            };
            let options = postgres_server::options(schema);
            Arc::new(PostgresSnapshotStore::open(url, options).await.unwrap())
        }

        fn outlives_process(&self) -> bool {
            matches!(self, Self::Server { .. })
        }

        async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
            let (url, schema) = match self {
                Self::Missing(memory) => return memory.corrupt(id, seq_nr).await,
                Self::Server { url, schema } => (url, schema),
            };
            let mut connection = PgConnection::connect(url).await.unwrap();
            let flip = format!(
                "UPDATE \"{schema}\".snapshots SET stored = set_byte(stored, 30, get_byte(stored, 30) # 1)
                 WHERE persistence_id = $1 AND seq = $2"
            );
            let flipped = sqlx::query(AssertSqlSafe(flip)).bind(id.as_str()).bind(seq_nr.get().cast_signed());
            assert_eq!(flipped.execute(&mut connection).await.unwrap().rows_affected(), 1);
        }
    }

    annals_snapshot::snapshot_conformance!(schema, Postgres::new);
}

#[cfg(feature = "cassandra")]
mod cassandra {
    use annals_journal::cassandra::{Keyspace, Options};
    use annals_snapshot::CassandraSnapshotStore;

    use super::*;

    /// A journal's snapshots on the server that `CASSANDRA_NODES` names, as `cargo xtask test` gives it; in memory, and said aloud, where
    /// there is none.
    enum Cassandra {
        Server { url: String, options: Options },
        Missing(Memory),
    }

    impl Cassandra {
        fn new() -> Self {
            let Some(url) = cassandra_server::url() else {
                return Self::Missing(Memory(MemorySnapshotStore::new()));
            };
            Self::Server { url, options: cassandra_server::options(&cassandra_server::name()) }
        }
    }

    #[async_trait]
    impl Backend for Cassandra {
        async fn open(&self) -> Arc<dyn SnapshotStore> {
            match self {
                Self::Missing(memory) => memory.open().await,
                Self::Server { url, options } => {
                    Arc::new(CassandraSnapshotStore::open(url, options.clone()).await.unwrap())
                }
            }
        }

        fn outlives_process(&self) -> bool {
            matches!(self, Self::Server { .. })
        }

        async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
            let (url, options) = match self {
                Self::Missing(memory) => return memory.corrupt(id, seq_nr).await,
                Self::Server { url, options } => (url, options),
            };
            let keyspace = Keyspace::open(url, options.clone()).await.unwrap();
            let (number, stored) = keyspace.load_snapshot(id, seq_nr.get()).await.unwrap().unwrap();
            assert_eq!(number, seq_nr.get());
            let mut stored = stored.to_vec();
            stored[30] ^= 1;
            keyspace.save_snapshot(id, number, stored.into()).await.unwrap();
        }
    }

    annals_snapshot::snapshot_conformance!(keyspace, Cassandra::new);
}
