//! Views in a SQLite file: the view, the progress and the events may share one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals_actors::plain::BoxError;
use annals_journal::sqlite::rusqlite::{self, Connection, ErrorCode, params};
use annals_journal::sqlite::{Database, Schema};
use annals_journal::{JournalError, PersistenceId, SeqNr, SliceRange, Timestamp};
use async_trait::async_trait;

use crate::batch::Part;
use crate::progress::{Progress, name_of};
use crate::store::{Advance, Applied, Claimed, Refused, Store, StoreError, Work};
use crate::{CannotReplace, DeadLetter, Gone, Missed, Projected};

/// A view of events that is kept in a SQLite file, each event in it exactly once.
///
/// Its methods are given the connection in the midst of a transaction that also moves the projection's progress: both are committed, or
/// none. They must not begin, commit or undo transactions, nor change tables of others. What a handler remembers by itself is not undone,
/// so it keeps everything in its tables.
///
/// They run on the thread that writes the file: what they do should take a millisecond, and statements should be
/// [prepared once](Connection::prepare_cached).
pub trait SqliteView: Send + Sync + 'static {
    /// What it is made of.
    type Event: Send + Sync + 'static;

    /// Makes the tables that are missing; called whenever the projection starts.
    ///
    /// # Errors
    /// Any; the projection does not start.
    fn prepare(&self, view: &Connection) -> Result<(), BoxError>;

    /// Takes an event in.
    ///
    /// # Errors
    /// Any; nothing of it is kept, and the [policy](crate::FailurePolicy) says what comes then.
    fn apply(&self, view: &Connection, event: &Projected<Self::Event>) -> Result<(), BoxError>;

    /// Takes several events in, with the same outcome as one after the other; that is what it does unless said otherwise.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply), with which each is tried alone then.
    fn apply_all(&self, view: &Connection, events: &[Projected<Self::Event>]) -> Result<(), BoxError> {
        events.iter().try_for_each(|event| self.apply(view, event))
    }

    /// Is told of events that were deleted or erased before they were projected.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply). Unless said otherwise it is [`Missed`]: a view that lacks events should not be taken for whole.
    fn gone(&self, view: &Connection, gone: &Gone) -> Result<(), BoxError> {
        let _ = view;
        Err(Missed::from(gone).into())
    }

    /// Empties the tables, to begin from the first event again.
    ///
    /// # Errors
    /// Any; nothing is changed then.
    fn clear(&self, view: &Connection) -> Result<(), BoxError>;

    /// Puts its tables in the place of those of the view that it was built beside, as by dropping the old ones and renaming its own; see
    /// [`Projection::replace`](crate::Projection::replace).
    ///
    /// # Errors
    /// Any; nothing is changed then. [`CannotReplace`] unless said otherwise.
    fn replace(&self, view: &Connection) -> Result<(), BoxError> {
        let _ = view;
        Err(CannotReplace.into())
    }
}

pub(crate) struct SqliteStore<V> {
    name: Arc<str>,
    database: Database,
    view: Arc<V>,
}

impl<V: SqliteView> SqliteStore<V> {
    pub(crate) fn new(name: &str, database: Database, view: V) -> Self {
        Self { name: name.into(), database, view: Arc::new(view) }
    }

    /// Runs a job that is undone whole when it fails, and may share its transaction with others.
    async fn transact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection, &str, &V) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Ended> {
        let (name, view) = (Arc::clone(&self.name), Arc::clone(&self.view));
        let done = self.database.transact(move |conn| {
            conn.execute_batch("SAVEPOINT projection")?;
            let ended = catch_unwind(AssertUnwindSafe(|| job(conn, &name, &view)))
                .unwrap_or_else(|panic| Err(Failed::Refused(Refused::panicked(&*panic))));
            let ended = match ended {
                Ok(done) => Ok(done),
                Err(Failed::Sql(error)) => return Err(error),
                Err(Failed::Fenced) => Err(Ended::Fenced),
                Err(Failed::Refused(refused)) => Err(Ended::Refused(refused)),
            };
            if ended.is_err() {
                // SQLite has undone everything, of others too: they are to hear of it.
                if conn.is_autocommit() {
                    let undone = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
                    let what = "a projection's transaction was undone".to_owned();
                    return Err(rusqlite::Error::SqliteFailure(undone, Some(what)));
                }
                conn.execute_batch("ROLLBACK TO projection")?;
            }
            conn.execute_batch("RELEASE projection")?;
            Ok(ended)
        });
        done.await.map_err(Ended::Journal)?
    }
}

/// Why a job changes nothing.
enum Failed {
    Fenced,
    /// The handler's fault.
    Refused(Refused),
    /// The file's.
    Sql(rusqlite::Error),
}

enum Ended {
    Fenced,
    Refused(Refused),
    Journal(JournalError),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Ended> for StoreError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Fenced => Self::Fenced,
            Ended::Refused(refused) => Self::Refused(refused.error),
            Ended::Journal(error) => error.into(),
        }
    }
}

/// What the handler's error says of the file, if it does.
fn refused(at: Option<usize>, error: BoxError) -> Failed {
    match error.downcast::<rusqlite::Error>() {
        Ok(error) if is_of_the_file(&error) => Failed::Sql(*error),
        Ok(error) => Failed::Refused(Refused::new(at, &(error as BoxError))),
        Err(error) => Failed::Refused(Refused::new(at, &error)),
    }
}

fn is_of_the_file(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
        )
    )
}

#[async_trait]
impl<V: SqliteView> Store<V::Event> for SqliteStore<V> {
    async fn claim(&self, ranges: &[SliceRange], resume: bool) -> Result<Claimed, StoreError> {
        let migrated = self.database.migrate(&TABLES).await;
        migrated
            .map_err(|error| StoreError::Interrupted(JournalError::unavailable(error.to_string(), error)))?;
        let ranges = ranges.to_vec();
        let claimed = self.transact(move |conn, name, view| {
            let (token, paused): (i64, bool) = conn.query_row(
                "INSERT INTO projections (name, token, paused) VALUES (?1, 1, 0)
                 ON CONFLICT (name) DO UPDATE SET token = token + 1, paused = CASE WHEN ?2 THEN 0 ELSE paused END
                 RETURNING token, paused",
                params![name, resume],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let stored = stored(conn, name)?;
            conn.execute("DELETE FROM projection_progress WHERE name = ?", [name])?;
            let mut insert = conn.prepare_cached(
                "INSERT INTO projection_progress (name, slices, token, progress) VALUES (?, ?, ?, ?)",
            )?;
            let mut progress = Vec::with_capacity(ranges.len());
            for range in ranges {
                let cut = Progress::cut(&stored, range);
                insert.execute(params![name, name_of(range), token, cut.to_string()])?;
                progress.push(cut);
            }
            view.prepare(conn).map_err(|error| refused(None, error))?;
            Ok(Claimed { token: token.cast_unsigned(), paused, progress })
        });
        Ok(claimed.await?)
    }

    async fn progress(&self, token: u64, slices: SliceRange) -> Result<Progress, StoreError> {
        // Behind what this instance has sent, in the queue of those that write.
        let progress = self.transact(move |conn, name, _| {
            let found = conn.query_row(
                "SELECT progress FROM projection_progress WHERE name = ? AND slices = ? AND token = ?",
                params![name, name_of(slices), token.cast_signed()],
                |row| row.get::<_, String>(0),
            );
            match found {
                Ok(text) => parse(&text),
                Err(rusqlite::Error::QueryReturnedNoRows) => Err(Failed::Fenced),
                Err(error) => Err(error.into()),
            }
        });
        Ok(progress.await?)
    }

    async fn apply(&self, token: u64, work: Work<V::Event>) -> Result<Applied, StoreError> {
        let work = Arc::new(work);
        let given = Arc::clone(&work);
        let applied = self.transact(move |conn, name, view| {
            advance(conn, name, token, given.slices, &given.from, &given.to)?;
            for part in given.parts() {
                let (at, done) = match part {
                    Part::Events(events) => (None, view.apply_all(conn, events)),
                    Part::Gone(at, gone) => (Some(at), view.gone(conn, gone)),
                    Part::Unreadable(at, error) => (Some(at), Err(error.into())),
                };
                done.map_err(|error| refused(at, error))?;
            }
            Ok(())
        });
        match applied.await {
            Ok(()) => Ok(work.done()),
            Err(Ended::Refused(refused)) => Ok(work.refused(refused)),
            Err(ended) => Err(ended.into()),
        }
    }

    async fn advance(&self, token: u64, step: Advance) -> Result<(), StoreError> {
        let advanced = self.transact(move |conn, name, _| {
            advance(conn, name, token, step.slices, &step.from, &step.to)?;
            if let Some(letter) = step.letter {
                conn.execute(
                    "INSERT INTO projection_dead_letters (name, persistence_id, seq, place, error, at)
                     VALUES (?, ?, ?, ?, ?, ?)",
                    params![
                        name,
                        letter.persistence_id.as_str(),
                        letter.seq_nr.get().cast_signed(),
                        letter.offset.to_string(),
                        letter.error,
                        letter.at.as_micros().cast_signed()
                    ],
                )?;
            }
            Ok(())
        });
        Ok(advanced.await?)
    }

    async fn pause(&self, token: u64) -> Result<(), StoreError> {
        let paused = self.transact(move |conn, name, _| {
            let changed = conn.execute(
                "UPDATE projections SET paused = 1 WHERE name = ? AND token = ?",
                params![name, token.cast_signed()],
            )?;
            if changed == 1 { Ok(()) } else { Err(Failed::Fenced) }
        });
        Ok(paused.await?)
    }

    async fn reset(&self, token: u64) -> Result<(), StoreError> {
        let reset = self.transact(move |conn, name, view| {
            must_be_mine(conn, name, token)?;
            // Cut anew from nothing by the claim that follows.
            conn.execute("DELETE FROM projection_progress WHERE name = ?", [name])?;
            conn.execute("DELETE FROM projection_dead_letters WHERE name = ?", [name])?;
            view.clear(conn).map_err(|error| refused(None, error))
        });
        Ok(reset.await?)
    }

    async fn replace(&self, token: u64, other: &str) -> Result<(), StoreError> {
        let other = other.to_owned();
        let replaced = self.transact(move |conn, name, view| {
            must_be_mine(conn, name, token)?;
            let token: i64 = conn.query_row(
                "INSERT INTO projections (name, token, paused) VALUES (?, 1, 0)
                 ON CONFLICT (name) DO UPDATE SET token = token + 1 RETURNING token",
                [&other],
                |row| row.get(0),
            )?;
            for table in ["projection_progress", "projection_dead_letters"] {
                conn.execute(&format!("DELETE FROM {table} WHERE name = ?"), [&other])?;
                conn.execute(&format!("UPDATE {table} SET name = ? WHERE name = ?"), [other.as_str(), name])?;
            }
            conn.execute("UPDATE projection_progress SET token = ? WHERE name = ?", params![token, other])?;
            conn.execute("DELETE FROM projections WHERE name = ?", [name])?;
            view.replace(conn).map_err(|error| refused(None, error))
        });
        Ok(replaced.await?)
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let found = self.transact(|conn, name, _| {
            let mut letters = conn.prepare_cached(
                "SELECT persistence_id, seq, place, error, at FROM projection_dead_letters WHERE name = ? ORDER BY rowid",
            )?;
            let mut rows = letters.query([name])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, place): (String, String) = (row.get(0)?, row.get(2)?);
                let (Ok(id), Ok(offset)) = (PersistenceId::parse(&id), place.parse()) else {
                    return Err(corrupt(&id));
                };
                let seq_nr = SeqNr::ZERO.plus(row.get::<_, i64>(1)?.cast_unsigned());
                let at = Timestamp::from_micros(row.get::<_, i64>(4)?.cast_unsigned());
                found.push(DeadLetter::new(id, seq_nr, offset, &row.get::<_, String>(3)?, at));
            }
            Ok(found)
        });
        Ok(found.await?)
    }
}

fn must_be_mine(conn: &Connection, name: &str, token: u64) -> Result<(), Failed> {
    let mine: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM projections WHERE name = ? AND token = ?)",
        params![name, token.cast_signed()],
        |row| row.get(0),
    )?;
    if mine { Ok(()) } else { Err(Failed::Fenced) }
}

fn stored(conn: &Connection, name: &str) -> Result<Vec<Progress>, Failed> {
    let mut rows = conn.prepare_cached("SELECT progress FROM projection_progress WHERE name = ?")?;
    let texts =
        rows.query_map([name], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    texts.iter().map(|text| parse(text)).collect()
}

/// Moves the progress, where it is still what it was and ours.
fn advance(
    conn: &Connection,
    name: &str,
    token: u64,
    slices: SliceRange,
    from: &Progress,
    to: &Progress,
) -> Result<(), Failed> {
    let mut update = conn.prepare_cached(
        "UPDATE projection_progress SET progress = ?1
         WHERE name = ?2 AND slices = ?3 AND token = ?4 AND progress = ?5",
    )?;
    let changed = update.execute(params![
        to.to_string(),
        name,
        name_of(slices),
        token.cast_signed(),
        from.to_string()
    ])?;
    if changed == 1 { Ok(()) } else { Err(Failed::Fenced) }
}

fn parse(text: &str) -> Result<Progress, Failed> {
    text.parse().map_err(|_| corrupt(text))
}

fn corrupt(text: &str) -> Failed {
    let error =
        format!("a row of the projection's tables is none of ours ({text:?}): restore it from a backup");
    Failed::Refused(Refused { at: None, error })
}

/// ```text
/// projections              name │ token of the instance that has it, paused
/// projection_progress      name, slices │ token, progress (see progress.rs)       a row for each reader
/// projection_dead_letters  name, id, number, offset, error, when
/// ```
const TABLES: Schema = Schema {
    component: "projections",
    steps: &["\
CREATE TABLE projections (name TEXT PRIMARY KEY, token INTEGER NOT NULL, paused INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE projection_progress (
    name TEXT NOT NULL, slices TEXT NOT NULL, token INTEGER NOT NULL, progress TEXT NOT NULL, PRIMARY KEY (name, slices)
) STRICT, WITHOUT ROWID;
CREATE TABLE projection_dead_letters (
    name TEXT NOT NULL, persistence_id TEXT NOT NULL, seq INTEGER NOT NULL, place TEXT NOT NULL, error TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX projection_dead_letters_by_name ON projection_dead_letters (name);"],
};
