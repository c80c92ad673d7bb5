use std::ops::RangeInclusive;

use annals_journal::cassandra::{Keyspace, OpenError, Options};
use annals_journal::{Cause, JournalError, PersistenceId, SeqNr};
use async_trait::async_trait;

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// Snapshots on Apache Cassandra, in a table of their own beside the journal's, a partition an id.
#[derive(Debug, Clone)]
pub struct CassandraSnapshotStore {
    keyspace: Keyspace,
}

impl CassandraSnapshotStore {
    /// The largest payload, in bytes: 8 MiB. A server takes writes of at most half a segment of its commit log, 16 MiB by default.
    pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

    /// Connects and makes the tables when they are missing; the URL is that of [`Keyspace::open`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Ok(Self::in_keyspace(Keyspace::open(url, options).await?))
    }

    /// The snapshots in a keyspace that is open, such as the journal's.
    pub fn in_keyspace(keyspace: Keyspace) -> Self {
        Self { keyspace }
    }
}

#[async_trait]
impl SnapshotStore for CassandraSnapshotStore {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        snapshot.check(Self::MAX_PAYLOAD_BYTES)?;
        let (id, seq_nr) = (&snapshot.persistence_id, snapshot.seq_nr.get());
        let saved = self.keyspace.save_snapshot(id, seq_nr, snapshot.encode()).await;
        saved.map_err(unavailable)
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let found = self.keyspace.load_snapshot(id, at_most.get()).await.map_err(unavailable)?;
        let Some((seq_nr, stored)) = found else { return Ok(None) };
        let seq_nr = number(seq_nr)?;
        let snapshot = Snapshot::decode_as(&stored, id, seq_nr);
        snapshot.map(Some).map_err(|error| SnapshotError::corrupt(id, seq_nr, error))
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        if range.is_empty() {
            return Ok(());
        }
        let deleted = self.keyspace.delete_snapshots(id, range.start().get(), range.end().get()).await;
        deleted.map_err(unavailable)
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let numbers = self.keyspace.list_snapshots(id).await.map_err(unavailable)?;
        numbers.into_iter().map(number).collect()
    }

    fn max_payload_bytes(&self) -> usize {
        Self::MAX_PAYLOAD_BYTES
    }
}

fn number(column: u64) -> Result<SeqNr, SnapshotError> {
    SeqNr::new(column).ok_or_else(|| SnapshotError::Unavailable {
        reason: format!("a stored number: {column} is no sequence number"),
        source: None,
    })
}

/// The reasons name the nodes, and what to do.
fn unavailable(error: JournalError) -> SnapshotError {
    let reason = match &error {
        JournalError::Unavailable { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    SnapshotError::Unavailable { reason, source: Some(Cause::new(error)) }
}
