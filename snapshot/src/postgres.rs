use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_journal::postgres::sqlx::{self, Row as _};
use annals_journal::postgres::{Database, OpenError, Options, Schema, Together, read_failure, write_failure};
use annals_journal::{Cause, JournalError, PersistenceId, SeqNr};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// Snapshots on a PostgreSQL server, by default in the journal's own schema, through its connections.
#[derive(Debug, Clone)]
pub struct PostgresSnapshotStore {
    database: Database,
    loads: Arc<Together<Wanted, Result<Found, SnapshotError>>>,
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
        let loads = Arc::new(Together::new(database.options().reading_together(), LOADS));
        Ok(Self { database, loads })
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
        loop {
            let database = self.database.clone();
            let load = move |wanted: Vec<Wanted>| {
                let database = database.clone();
                async move { load_all(&database, &wanted).await }
            };
            let found = self.loads.ask((id.clone(), at_most), load).await.unwrap_or_else(|| {
                let reason = "the runtime shut down while a snapshot was read".into();
                Err(SnapshotError::Unavailable { reason, source: None })
            });
            match found? {
                Found::None => return Ok(None),
                Found::Small(snapshot) => return Ok(Some(snapshot)),
                Found::Large(seq_nr) => {
                    let snapshot = self.load_large(id, seq_nr).await?;
                    if snapshot.is_some() {
                        return Ok(snapshot);
                    }
                    // It was deleted meanwhile, after a newer one was stored: look again.
                }
            }
        }
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

impl PostgresSnapshotStore {
    async fn load_large(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        const ONE: &str = "SELECT stored FROM snapshots WHERE persistence_id = $1 AND seq = $2";
        let query = || sqlx::query(ONE).bind(id.as_str()).bind(column(seq_nr));
        let rows = self.database.rows(query).await.map_err(unavailable)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let stored = row.try_get::<&[u8], _>(0);
        let stored = stored.map_err(|error| unavailable(read_failure(self.database.server(), error)))?;
        decoded(id, seq_nr, stored).map(Some)
    }
}

fn decoded(id: &PersistenceId, seq_nr: SeqNr, stored: &[u8]) -> Result<Snapshot, SnapshotError> {
    let snapshot = Snapshot::decode_as(&Bytes::copy_from_slice(stored), id, seq_nr);
    snapshot.map_err(|error| SnapshotError::corrupt(id, seq_nr, error))
}

/// An id, and the newest snapshot that is wanted.
type Wanted = (PersistenceId, SeqNr);

/// What a look finds.
#[derive(Debug)]
enum Found {
    None,
    Small(Snapshot),
    /// To be read by itself: several of these would be much memory.
    Large(SeqNr),
}

/// Looks for several that are asked for at the same time, as many recoveries do.
async fn load_all(database: &Database, wanted: &[Wanted]) -> Vec<Result<Found, SnapshotError>> {
    const NEWEST: &str = "\
        SELECT w.place, s.seq, CASE WHEN octet_length(s.stored) <= $3 THEN s.stored END
        FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS w(id, at_most, place)
        CROSS JOIN LATERAL (
            SELECT seq, stored FROM snapshots WHERE persistence_id = w.id AND seq <= w.at_most ORDER BY seq DESC LIMIT 1) s";
    let ids: Vec<&str> = wanted.iter().map(|(id, _)| id.as_str()).collect();
    let at_most: Vec<i64> = wanted.iter().map(|(_, at_most)| column(*at_most)).collect();
    let query = || sqlx::query(NEWEST).bind(&ids).bind(&at_most).bind(SMALL);
    let rows = match database.rows(query).await {
        Ok(rows) => rows,
        Err(error) => return wanted.iter().map(|_| Err(unavailable(error.clone()))).collect(),
    };
    let mut found: Vec<_> = wanted.iter().map(|_| Ok(Found::None)).collect();
    for row in rows {
        let place = row.try_get(0).map(|number: i64| usize::try_from(number - 1).ok());
        let Some(place) = place.ok().flatten().filter(|place| *place < wanted.len()) else { continue };
        let columns = row.try_get(1).and_then(number).and_then(|seq_nr| Ok((seq_nr, row.try_get(2)?)));
        found[place] = match columns {
            Ok((seq_nr, Some(stored))) => decoded(&wanted[place].0, seq_nr, stored).map(Found::Small),
            Ok((seq_nr, None)) => Ok(Found::Large(seq_nr)),
            Err(error) => Err(unavailable(read_failure(database.server(), error))),
        };
    }
    found
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

/// Snapshots of a statement, of so many bytes each.
const LOADS: usize = 32;
const SMALL: i32 = 64 * 1024;

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
