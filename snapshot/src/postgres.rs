use std::ops::RangeInclusive;

use annals_journal::postgres::sqlx::{self, Row as _};
use annals_journal::postgres::{Database, OpenError, Options, Schema, read_failure, write_failure};
use annals_journal::{Cause, JournalError, PersistenceId, SeqNr};
use async_trait::async_trait;

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// Snapshots on a PostgreSQL server, by default in the journal's own schema, through its connections.
#[derive(Debug, Clone)]
pub struct PostgresSnapshotStore {
    database: Database,
}

impl PostgresSnapshotStore {
    /// The largest payload, in bytes: 32 MiB.
    pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024 * 1024;

    /// Connects and makes the table when it is missing; the URL is that of [`Database::open`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open(url, options).await?).await
    }

    /// The snapshots in a database that is open, such as the journal's.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here, and what [`Database::open`] gives.
    pub async fn in_database(database: Database) -> Result<Self, OpenError> {
        database.migrate(&TABLES).await?;
        Ok(Self { database })
    }
}

#[async_trait]
impl SnapshotStore for PostgresSnapshotStore {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        snapshot.check(Self::MAX_PAYLOAD_BYTES)?;
        let stored = snapshot.encode();
        let mut connection = self.database.writer().await.map_err(unavailable)?;
        sqlx::query(
            "INSERT INTO snapshots (persistence_id, seq, stored) VALUES ($1, $2, $3)
             ON CONFLICT (persistence_id, seq) DO UPDATE SET stored = excluded.stored",
        )
        .bind(snapshot.persistence_id.as_str())
        .bind(column(snapshot.seq_nr))
        .bind(&stored[..])
        .execute(&mut *connection)
        .await
        .map_err(|error| unavailable(write_failure(self.database.server(), error)))?;
        connection.done();
        Ok(())
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let failed = |error| unavailable(read_failure(self.database.server(), error));
        const NEWEST: &str = "SELECT seq, stored FROM snapshots WHERE persistence_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1";
        let query = || sqlx::query(NEWEST).bind(id.as_str()).bind(column(at_most));
        let rows = self.database.rows(query).await.map_err(unavailable)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let seq_nr = row.try_get(0).and_then(number).map_err(failed)?;
        let stored: Vec<u8> = row.try_get(1).map_err(failed)?;
        let snapshot = Snapshot::decode_as(&stored.into(), id, seq_nr);
        snapshot.map(Some).map_err(|error| SnapshotError::corrupt(id, seq_nr, error))
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut connection = self.database.writer().await.map_err(unavailable)?;
        sqlx::query("DELETE FROM snapshots WHERE persistence_id = $1 AND seq BETWEEN $2 AND $3")
            .bind(id.as_str())
            .bind(column(*range.start()))
            .bind(column(*range.end()))
            .execute(&mut *connection)
            .await
            .map_err(|error| unavailable(write_failure(self.database.server(), error)))?;
        connection.done();
        Ok(())
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let failed = |error| unavailable(read_failure(self.database.server(), error));
        const NUMBERS: &str = "SELECT seq FROM snapshots WHERE persistence_id = $1 ORDER BY seq";
        let rows =
            self.database.rows(|| sqlx::query(NUMBERS).bind(id.as_str())).await.map_err(unavailable)?;
        rows.iter().map(|row| row.try_get(0).and_then(number)).collect::<sqlx::Result<_>>().map_err(failed)
    }

    fn max_payload_bytes(&self) -> usize {
        Self::MAX_PAYLOAD_BYTES
    }
}

fn column(seq_nr: SeqNr) -> i64 {
    // A number is at most `i64::MAX`, see `SeqNr::MAX`.
    seq_nr.get().cast_signed()
}

fn number(column: i64) -> sqlx::Result<SeqNr> {
    let found = SeqNr::new(column.cast_unsigned());
    found
        .ok_or_else(|| sqlx::Error::Decode(format!("a stored number: {column} is no sequence number").into()))
}

/// The reasons name the server, and what to do.
fn unavailable(error: JournalError) -> SnapshotError {
    let reason = match &error {
        JournalError::Unavailable { reason, .. } | JournalError::Unknown { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    SnapshotError::Unavailable { reason, source: Some(Cause::new(error)) }
}

/// A row a snapshot.
const TABLES: Schema = Schema {
    component: "snapshots",
    steps: &[r#"
CREATE TABLE snapshots (
    persistence_id text COLLATE "C" NOT NULL,
    seq int8 NOT NULL,
    stored bytea NOT NULL,
    PRIMARY KEY (persistence_id, seq)
);"#],
};
