use std::ops::RangeInclusive;
use std::path::Path;

use annals_journal::sqlite::{Database, OpenError, Options, Schema};
use annals_journal::{Cause, JournalError, PersistenceId, SeqNr};
use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// Snapshots in a SQLite file, by default the journal's own.
///
/// In the journal's file a save shares transaction and fsync with the events that wait at the same time, and one backup has both.
/// The writer of a file does one thing at a time, though: a state of many MiB delays the events of all entities by the milliseconds
/// that it takes to write it. Give such snapshots a file of their own ([`SqliteSnapshotStore::open`]).
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("bank.db");
/// use annals_journal::PersistenceId;
/// use annals_journal::sqlite::{Options, SqliteJournal};
/// use annals_snapshot::{SnapshotStore, SqliteSnapshotStore};
///
/// # runtime.block_on(async {
/// let journal = SqliteJournal::open(&path, Options::default()).await?;
/// let store = SqliteSnapshotStore::in_database(journal.database().clone()).await?;
/// assert_eq!(store.list(&PersistenceId::new("account", "alice")?).await?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SqliteSnapshotStore {
    database: Database,
}

impl SqliteSnapshotStore {
    /// The largest payload, in bytes: 32 MiB.
    pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024 * 1024;

    /// Opens a file, or creates it when it is missing.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open(path, options).await?).await
    }

    /// The snapshots in a file that is open, such as the journal's.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here, and what [`Database::open`] gives.
    pub async fn in_database(database: Database) -> Result<Self, OpenError> {
        database.migrate(&TABLES).await?;
        Ok(Self { database })
    }

    /// Which snapshot lies on the damaged part of the file, so that recovery can go on below it.
    async fn damaged(&self, id: &PersistenceId, at_most: SeqNr, reason: String) -> SnapshotError {
        let key = id.clone();
        match self.database.read(move |conn| newest_number(conn, &key, at_most)).await {
            Ok(Some(seq_nr)) => SnapshotError::corrupt(id, seq_nr, reason),
            Ok(None) => SnapshotError::Unavailable { reason, source: None },
            Err(error) => unavailable(error),
        }
    }
}

#[async_trait]
impl SnapshotStore for SqliteSnapshotStore {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        snapshot.check(Self::MAX_PAYLOAD_BYTES)?;
        let stored = snapshot.encode();
        self.database
            .transact(move |conn| {
                conn.prepare_cached(
                    "INSERT OR REPLACE INTO snapshots (persistence_id, seq, stored) VALUES (?, ?, ?)",
                )?
                .execute(params![
                    snapshot.persistence_id.as_str(),
                    column(snapshot.seq_nr),
                    &stored[..]
                ])
            })
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let key = id.clone();
        let (seq_nr, stored) = match self.database.read(move |conn| newest(conn, &key, at_most)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(JournalError::Corrupt { reason, .. }) => return Err(self.damaged(id, at_most, reason).await),
            Err(error) => return Err(unavailable(error)),
        };
        let snapshot = Snapshot::decode_as(&stored, id, seq_nr)
            .map_err(|error| SnapshotError::corrupt(id, seq_nr, error))?;
        Ok(Some(snapshot))
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        if range.is_empty() {
            return Ok(());
        }
        let id = id.clone();
        self.database
            .transact(move |conn| {
                conn.prepare_cached("DELETE FROM snapshots WHERE persistence_id = ? AND seq BETWEEN ? AND ?")?
                    .execute(params![id.as_str(), column(*range.start()), column(*range.end())])
            })
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let id = id.clone();
        self.database
            .read(move |conn| {
                conn.prepare_cached("SELECT seq FROM snapshots WHERE persistence_id = ? ORDER BY seq")?
                    .query_map([id.as_str()], |row| number(row.get(0)?))?
                    .collect()
            })
            .await
            .map_err(unavailable)
    }

    fn max_payload_bytes(&self) -> usize {
        Self::MAX_PAYLOAD_BYTES
    }
}

fn newest(conn: &Connection, id: &PersistenceId, at_most: SeqNr) -> rusqlite::Result<Option<(SeqNr, Bytes)>> {
    conn.prepare_cached(
        "SELECT seq, stored FROM snapshots WHERE persistence_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
    )?
    .query_row(params![id.as_str(), column(at_most)], |row| {
        Ok((number(row.get(0)?)?, row.get::<_, Vec<u8>>(1)?.into()))
    })
    .optional()
}

/// Needs only the index, so it answers where the row cannot be read.
fn newest_number(conn: &Connection, id: &PersistenceId, at_most: SeqNr) -> rusqlite::Result<Option<SeqNr>> {
    conn.prepare_cached("SELECT max(seq) FROM snapshots WHERE persistence_id = ? AND seq <= ?")?
        .query_row(params![id.as_str(), column(at_most)], |row| row.get::<_, Option<i64>>(0))?
        .map(number)
        .transpose()
}

fn column(seq_nr: SeqNr) -> i64 {
    // A number is at most `i64::MAX`, see `SeqNr::MAX`.
    seq_nr.get().cast_signed()
}

fn number(column: i64) -> rusqlite::Result<SeqNr> {
    SeqNr::new(column.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, column))
}

/// The reasons come from the file: locked, full, damaged, and what to do about it.
fn unavailable(error: JournalError) -> SnapshotError {
    let reason = match &error {
        JournalError::Unavailable { reason, .. } | JournalError::Unknown { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    SnapshotError::Unavailable { reason, source: Some(Cause::new(error)) }
}

/// A row a snapshot, found by an index of ids and numbers.
///
/// The rows are not in the index itself (`WITHOUT ROWID`): with states of 20 kB a load takes 2 to 3 times as long there and a list
/// 10 times, because few rows fit on a page and finding one walks over the others; with 200 bytes they are alike.
const TABLES: Schema = Schema {
    component: "snapshots",
    steps: &["\
CREATE TABLE snapshots (
    persistence_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    stored BLOB NOT NULL,
    PRIMARY KEY (persistence_id, seq)
) STRICT;"],
};
