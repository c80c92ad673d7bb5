use std::sync::Arc;

use annals_journal::OpenJournal;
#[cfg(feature = "sqlite")]
use annals_journal::sqlite::OpenError;

#[cfg(feature = "cassandra")]
use crate::CassandraSnapshotStore;
#[cfg(feature = "postgres")]
use crate::PostgresSnapshotStore;
#[cfg(feature = "sqlite")]
use crate::SqliteSnapshotStore;
use crate::{MemorySnapshotStore, SnapshotStore};

/// Opens the snapshot store that lies beside a journal: in the same SQLite file, PostgreSQL schema or keyspace of Cassandra, or in memory when the journal is there.
///
/// Beside a journal that was opened for reading only, what changes the store is refused; it is empty when the file has none.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let journal = annals_journal::open("memory:").await?;
/// let snapshots = annals_snapshot::open_beside(&journal).await?;
/// assert!(snapshots.max_payload_bytes() >= 1024 * 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenStoreError`] says what is in the way and what to do about it.
#[allow(clippy::unused_async, reason = "it waits with a feature")]
pub async fn open_beside(journal: &OpenJournal) -> Result<Arc<dyn SnapshotStore>, OpenStoreError> {
    #[cfg(feature = "sqlite")]
    if let Some(database) = &journal.database {
        return match SqliteSnapshotStore::in_database(database.clone()).await {
            Ok(store) => Ok(Arc::new(store)),
            // Nobody has kept snapshots in this file, and it must not be changed for looking at it.
            Err(OpenError::OlderSchema { found: 0, .. }) => Ok(Arc::new(MemorySnapshotStore::new())),
            Err(error) => Err(error.into()),
        };
    }
    #[cfg(feature = "postgres")]
    if let Some(database) = &journal.postgres {
        use annals_journal::postgres::OpenError;

        return match PostgresSnapshotStore::in_database(database.clone()).await {
            Ok(store) => Ok(Arc::new(store)),
            // Nobody has kept snapshots here, and nothing must be changed for looking at it.
            Err(OpenError::OlderSchema { found: 0, .. }) => Ok(Arc::new(MemorySnapshotStore::new())),
            Err(error) => Err(error.into()),
        };
    }
    #[cfg(feature = "cassandra")]
    if let Some(keyspace) = &journal.cassandra {
        return Ok(Arc::new(CassandraSnapshotStore::in_keyspace(keyspace.clone())));
    }
    let _ = journal;
    Ok(Arc::new(MemorySnapshotStore::new()))
}

/// Why the snapshot store beside a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// The tables in the SQLite file could not be made or migrated.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// The tables in PostgreSQL could not be made or migrated.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] annals_journal::postgres::OpenError),
}
