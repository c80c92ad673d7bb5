//! Views in PostgreSQL: the view and the progress share one transaction.

use std::panic::AssertUnwindSafe;

use annals_actors::plain::BoxError;
use annals_journal::postgres::sqlx::postgres::{PgConnection, PgRow};
use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, Postgres, Row as _, Transaction};
use annals_journal::postgres::{Connection, Database, Schema, read_failure, write_failure};
use annals_journal::{InvalidName, JournalError, PersistenceId, SeqNr, SliceRange, Timestamp};
use async_trait::async_trait;
use futures::FutureExt as _;

use crate::batch::Part;
use crate::progress::{Progress, name_of};
use crate::store::{Advance, Applied, Claimed, Refused, Store, StoreError, Work};
use crate::{CannotReplace, DeadLetter, Gone, Missed, Projected};

/// A view of events that is kept in PostgreSQL, each event in it exactly once.
///
/// Its methods are given the connection in the midst of a transaction (`READ COMMITTED`) that also moves the projection's progress: both
/// are committed, or none. They must not begin, commit or undo transactions; savepoints are theirs. What a handler remembers by itself is not
/// undone, so it keeps everything in its tables. Names without a schema are of the journal's schema.
pub trait PostgresView: Send + Sync + 'static {
    /// What it is made of.
    type Event: Send + Sync + 'static;

    /// Makes the tables that are missing; called whenever the projection starts.
    ///
    /// # Errors
    /// Any; the projection does not start.
    fn prepare(&self, view: &mut PgConnection) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Takes an event in.
    ///
    /// # Errors
    /// Any; nothing of it is kept, and the [policy](crate::FailurePolicy) says what comes then.
    fn apply(
        &self,
        view: &mut PgConnection,
        event: &Projected<Self::Event>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Takes several events in, with the same outcome as one after the other; that is what it does unless said otherwise. One
    /// statement with `UNNEST` for all of them saves the round trips.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply), with which each is tried alone then.
    fn apply_all(
        &self,
        view: &mut PgConnection,
        events: &[Projected<Self::Event>],
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        async move {
            for event in events {
                self.apply(view, event).await?;
            }
            Ok(())
        }
    }

    /// Is told of events that were deleted or erased before they were projected.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply). Unless said otherwise it is [`Missed`]: a view that lacks events should not be taken for whole.
    fn gone(
        &self,
        view: &mut PgConnection,
        gone: &Gone,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = view;
        let missed = Missed::from(gone);
        async move { Err(missed.into()) }
    }

    /// Empties the tables, to begin from the first event again.
    ///
    /// # Errors
    /// Any; nothing is changed then.
    fn clear(&self, view: &mut PgConnection) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Puts its tables in the place of those of the view that it was built beside, as by dropping the old ones and renaming its own; see
    /// [`Projection::replace`](crate::Projection::replace).
    ///
    /// # Errors
    /// Any; nothing is changed then. [`CannotReplace`] unless said otherwise.
    fn replace(&self, view: &mut PgConnection) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = view;
        async { Err(CannotReplace.into()) }
    }
}

pub(crate) struct PostgresStore<V> {
    name: String,
    database: Database,
    view: V,
}

/// Why a transaction is not committed.
enum Failed {
    Fenced,
    /// The handler's fault, unless its error says that it is the server's.
    Refused(Option<usize>, BoxError),
    Panicked(Refused),
    Sql(sqlx::Error),
}

/// How a transaction ended that could be ended.
enum Ended<T> {
    Committed(T),
    Refused(Refused),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl<T> Ended<T> {
    fn committed(self) -> Result<T, StoreError> {
        match self {
            Self::Committed(done) => Ok(done),
            Self::Refused(refused) => Err(StoreError::Refused(refused.error)),
        }
    }
}

impl<V: PostgresView> PostgresStore<V> {
    pub(crate) fn new(name: &str, database: Database, view: V) -> Self {
        Self { name: name.to_owned(), database, view }
    }

    /// A connection apart from those that append, so that a long batch holds no append up.
    async fn lend(&self) -> Result<Connection, StoreError> {
        Ok(self.database.reader().await?)
    }

    fn interrupted(&self, error: sqlx::Error) -> StoreError {
        StoreError::Interrupted(read_failure(self.database.server(), error))
    }

    /// Commits, or undoes.
    async fn end<T>(
        &self,
        transaction: Transaction<'_, Postgres>,
        done: Result<T, Failed>,
    ) -> Result<Ended<T>, StoreError> {
        let failed = match done {
            Ok(done) => {
                let committed = transaction.commit().await;
                committed
                    .map_err(|error| StoreError::Interrupted(write_failure(self.database.server(), error)))?;
                return Ok(Ended::Committed(done));
            }
            Err(failed) => failed,
        };
        let undone = transaction.rollback().await;
        match failed {
            Failed::Fenced => Err(StoreError::Fenced),
            Failed::Sql(error) => Err(self.interrupted(error)),
            Failed::Panicked(refused) => {
                undone.map_err(|error| self.interrupted(error))?;
                Ok(Ended::Refused(refused))
            }
            Failed::Refused(at, error) => {
                undone.map_err(|error| self.interrupted(error))?;
                match error.downcast::<sqlx::Error>() {
                    Ok(error) if is_of_the_server(&error) => Err(self.interrupted(*error)),
                    Ok(error) => Ok(Ended::Refused(Refused::new(at, &(error as BoxError)))),
                    Err(error) => Ok(Ended::Refused(Refused::new(at, &error))),
                }
            }
        }
    }

    async fn claim_in(
        &self,
        conn: &mut PgConnection,
        ranges: &[SliceRange],
        resume: bool,
    ) -> Result<Claimed, Failed> {
        // Whoever claims waits here for who does so, too.
        let row = sqlx::query(
            "INSERT INTO projections AS p (name, token, paused) VALUES ($1, 1, false)
             ON CONFLICT (name) DO UPDATE SET token = p.token + 1, paused = p.paused AND NOT $2
             RETURNING token, paused",
        )
        .bind(&self.name)
        .bind(resume)
        .fetch_one(&mut *conn)
        .await?;
        let (token, paused): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        // And here for a batch that is being committed.
        let rows = sqlx::query("DELETE FROM projection_progress WHERE name = $1 RETURNING progress")
            .bind(&self.name)
            .fetch_all(&mut *conn)
            .await?;
        let stored = rows.iter().map(|row| parse(row, 0)).collect::<Result<Vec<_>, Failed>>()?;
        let progress: Vec<_> = ranges.iter().map(|range| Progress::cut(&stored, *range)).collect();
        for (range, progress) in ranges.iter().zip(&progress) {
            sqlx::query(
                "INSERT INTO projection_progress (name, slices, token, progress) VALUES ($1, $2, $3, $4)",
            )
            .bind(&self.name)
            .bind(name_of(*range))
            .bind(token)
            .bind(progress.to_string())
            .execute(&mut *conn)
            .await?;
        }
        self.handled(None, self.view.prepare(conn)).await?;
        Ok(Claimed { token: token.cast_unsigned(), paused, progress })
    }

    async fn apply_in(
        &self,
        conn: &mut PgConnection,
        token: u64,
        work: &Work<V::Event>,
    ) -> Result<(), Failed> {
        self.advance_in(conn, token, work.slices, &work.from, &work.to).await?;
        for part in work.parts() {
            match part {
                Part::Events(events) => self.handled(None, self.view.apply_all(conn, events)).await?,
                Part::Gone(at, gone) => self.handled(Some(at), self.view.gone(conn, gone)).await?,
                Part::Unreadable(at, error) => return Err(Failed::Refused(Some(at), error.into())),
            }
        }
        Ok(())
    }

    /// Moves the progress, where it is still what it was and ours. Locks it first: who comes second waits here.
    async fn advance_in(
        &self,
        conn: &mut PgConnection,
        token: u64,
        slices: SliceRange,
        from: &Progress,
        to: &Progress,
    ) -> Result<(), Failed> {
        let moved = sqlx::query(
            "UPDATE projection_progress SET progress = $1
             WHERE name = $2 AND slices = $3 AND token = $4 AND progress = $5",
        )
        .bind(to.to_string())
        .bind(&self.name)
        .bind(name_of(slices))
        .bind(token.cast_signed())
        .bind(from.to_string())
        .execute(conn)
        .await?;
        if moved.rows_affected() == 1 { Ok(()) } else { Err(Failed::Fenced) }
    }

    async fn bury_in(&self, conn: &mut PgConnection, letter: &DeadLetter) -> Result<(), Failed> {
        sqlx::query(
            "INSERT INTO projection_dead_letters (name, persistence_id, seq, place, error, at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&self.name)
        .bind(letter.persistence_id.as_str())
        .bind(letter.seq_nr.get().cast_signed())
        .bind(letter.offset.to_string())
        // PostgreSQL has no text with it.
        .bind(letter.error.replace('\0', ""))
        .bind(letter.at.as_micros().cast_signed())
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn handled(
        &self,
        at: Option<usize>,
        handling: impl Future<Output = Result<(), BoxError>> + Send,
    ) -> Result<(), Failed> {
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(handled) => handled.map_err(|error| Failed::Refused(at, error)),
            Err(panic) => Err(Failed::Panicked(Refused::panicked(&*panic))),
        }
    }

    /// Whether this instance still has the projection; nobody takes it over before the transaction ends.
    async fn lock_in(&self, conn: &mut PgConnection, token: u64) -> Result<(), Failed> {
        let mine = sqlx::query("SELECT 1 FROM projections WHERE name = $1 AND token = $2 FOR UPDATE")
            .bind(&self.name)
            .bind(token.cast_signed())
            .fetch_optional(conn)
            .await?;
        mine.map(|_| ()).ok_or(Failed::Fenced)
    }
}

/// Whether the same may succeed later: the server, a lock, or room was not to be had.
fn is_of_the_server(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        // Serialization failures, resources, intervention of an operator, input and output.
        Some(reported) => reported
            .code()
            .is_some_and(|code| ["40", "53", "57", "58"].iter().any(|class| code.starts_with(class))),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)),
    }
}

#[async_trait]
impl<V: PostgresView> Store<V::Event> for PostgresStore<V> {
    async fn claim(&self, ranges: &[SliceRange], resume: bool) -> Result<Claimed, StoreError> {
        let migrated = self.database.migrate(&TABLES).await;
        migrated
            .map_err(|error| StoreError::Interrupted(JournalError::unavailable(error.to_string(), error)))?;
        let mut lent = self.lend().await?;
        let mut transaction = lent.begin().await.map_err(|error| self.interrupted(error))?;
        let claimed = self.claim_in(&mut transaction, ranges, resume).await;
        let ended = self.end(transaction, claimed).await?;
        lent.done();
        ended.committed()
    }

    async fn progress(&self, token: u64, slices: SliceRange) -> Result<Progress, StoreError> {
        let mut lent = self.lend().await?;
        let found = sqlx::query(
            // Waits for a transaction of ours whose answer was lost.
            "SELECT progress FROM projection_progress WHERE name = $1 AND slices = $2 AND token = $3 FOR UPDATE",
        )
        .bind(&self.name)
        .bind(name_of(slices))
        .bind(token.cast_signed())
        .fetch_optional(&mut *lent)
        .await
        .map_err(|error| self.interrupted(error))?;
        lent.done();
        let row = found.ok_or(StoreError::Fenced)?;
        parse(&row, 0).map_err(|failed| match failed {
            Failed::Sql(error) => self.interrupted(error),
            Failed::Fenced | Failed::Refused(..) | Failed::Panicked(_) => StoreError::Fenced,
        })
    }

    async fn apply(&self, token: u64, work: Work<V::Event>) -> Result<Applied, StoreError> {
        let mut lent = self.lend().await?;
        let mut transaction = lent.begin().await.map_err(|error| self.interrupted(error))?;
        let applied = self.apply_in(&mut transaction, token, &work).await;
        let ended = self.end(transaction, applied).await?;
        lent.done();
        Ok(match ended {
            Ended::Committed(()) => work.done(),
            Ended::Refused(refused) => work.refused(refused),
        })
    }

    async fn advance(&self, token: u64, step: Advance) -> Result<(), StoreError> {
        let mut lent = self.lend().await?;
        let mut transaction = lent.begin().await.map_err(|error| self.interrupted(error))?;
        let mut advanced = self.advance_in(&mut transaction, token, step.slices, &step.from, &step.to).await;
        if let (Ok(()), Some(letter)) = (&advanced, &step.letter) {
            advanced = self.bury_in(&mut transaction, letter).await;
        }
        let ended = self.end(transaction, advanced).await?;
        lent.done();
        ended.committed()
    }

    async fn pause(&self, token: u64) -> Result<(), StoreError> {
        let mut lent = self.lend().await?;
        let paused = sqlx::query("UPDATE projections SET paused = true WHERE name = $1 AND token = $2")
            .bind(&self.name)
            .bind(token.cast_signed())
            .execute(&mut *lent)
            .await
            .map_err(|error| self.interrupted(error))?;
        lent.done();
        if paused.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Fenced) }
    }

    async fn reset(&self, token: u64) -> Result<(), StoreError> {
        let mut lent = self.lend().await?;
        let mut transaction = lent.begin().await.map_err(|error| self.interrupted(error))?;
        let reset = self.reset_in(&mut transaction, token).await;
        let ended = self.end(transaction, reset).await?;
        lent.done();
        ended.committed()
    }

    async fn replace(&self, token: u64, other: &str) -> Result<(), StoreError> {
        let mut lent = self.lend().await?;
        let mut transaction = lent.begin().await.map_err(|error| self.interrupted(error))?;
        let replaced = self.replace_in(&mut transaction, token, other).await;
        let ended = self.end(transaction, replaced).await?;
        lent.done();
        ended.committed()
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let mut lent = self.lend().await?;
        let rows = sqlx::query(
            "SELECT persistence_id, seq, place, error, at FROM projection_dead_letters WHERE name = $1 ORDER BY number",
        )
        .bind(&self.name)
        .fetch_all(&mut *lent)
        .await
        .map_err(|error| self.interrupted(error))?;
        lent.done();
        rows.iter().map(letter).collect::<sqlx::Result<_>>().map_err(|error| self.interrupted(error))
    }
}

impl<V: PostgresView> PostgresStore<V> {
    async fn reset_in(&self, conn: &mut PgConnection, token: u64) -> Result<(), Failed> {
        self.lock_in(conn, token).await?;
        // Cut anew from nothing by the claim that follows.
        for table in ["projection_progress", "projection_dead_letters"] {
            let delete = format!("DELETE FROM {table} WHERE name = $1");
            sqlx::query(AssertSqlSafe(delete)).bind(&self.name).execute(&mut *conn).await?;
        }
        self.handled(None, self.view.clear(conn)).await
    }
}

impl<V: PostgresView> PostgresStore<V> {
    async fn replace_in(&self, conn: &mut PgConnection, token: u64, other: &str) -> Result<(), Failed> {
        self.lock_in(conn, token).await?;
        let row = sqlx::query(
            "INSERT INTO projections AS p (name, token, paused) VALUES ($1, 1, false)
             ON CONFLICT (name) DO UPDATE SET token = p.token + 1 RETURNING token",
        )
        .bind(other)
        .fetch_one(&mut *conn)
        .await?;
        let token: i64 = row.try_get(0)?;
        for table in ["projection_progress", "projection_dead_letters"] {
            let delete = format!("DELETE FROM {table} WHERE name = $1");
            sqlx::query(AssertSqlSafe(delete)).bind(other).execute(&mut *conn).await?;
            let rename = format!("UPDATE {table} SET name = $1 WHERE name = $2");
            sqlx::query(AssertSqlSafe(rename)).bind(other).bind(&self.name).execute(&mut *conn).await?;
        }
        let own = sqlx::query("UPDATE projection_progress SET token = $1 WHERE name = $2");
        own.bind(token).bind(other).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM projections WHERE name = $1").bind(&self.name).execute(&mut *conn).await?;
        self.handled(None, self.view.replace(conn)).await
    }
}

fn letter(row: &PgRow) -> sqlx::Result<DeadLetter> {
    let (id, place): (String, String) = (row.try_get(0)?, row.try_get(2)?);
    let wrong = |error: InvalidName| sqlx::Error::Decode(error.into());
    let id = PersistenceId::parse(&id).map_err(wrong)?;
    let offset = place.parse().map_err(wrong)?;
    let seq_nr = SeqNr::ZERO.plus(row.try_get::<i64, _>(1)?.cast_unsigned());
    let at = Timestamp::from_micros(row.try_get::<i64, _>(4)?.cast_unsigned());
    Ok(DeadLetter::new(id, seq_nr, offset, &row.try_get::<String, _>(3)?, at))
}

fn parse(row: &PgRow, column: usize) -> Result<Progress, Failed> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: String| Failed::Sql(sqlx::Error::Decode(error.into())))
}

/// ```text
/// projections              name │ token of the instance that has it, paused
/// projection_progress      name, slices │ token, progress (see progress.rs)       a row for each reader
/// projection_dead_letters  number │ name, id, number, offset, error, when
/// ```
const TABLES: Schema = Schema {
    component: "projections",
    steps: &["\
CREATE TABLE projections (name text PRIMARY KEY, token int8 NOT NULL, paused bool NOT NULL);
CREATE TABLE projection_progress (
    name text NOT NULL, slices text NOT NULL, token int8 NOT NULL, progress text NOT NULL, PRIMARY KEY (name, slices)
);
CREATE TABLE projection_dead_letters (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, persistence_id text NOT NULL,
    seq int8 NOT NULL, place text NOT NULL, error text NOT NULL, at int8 NOT NULL
);
CREATE INDEX projection_dead_letters_by_name ON projection_dead_letters (name, number);"],
};
