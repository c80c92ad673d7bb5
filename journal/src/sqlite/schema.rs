use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::OptionalExtension as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use tokio::time::sleep;

use super::connection::{Closing, open_reader};
use super::{OpenError, Options};

/// The tables of one component, as the steps that made them.
///
/// The first step creates version 1, each further one leads to the next version. Released steps never change.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Whose tables, such as `journal`.
    pub component: &'static str,
    /// The statements of each step.
    pub steps: &'static [&'static str],
}

impl Schema {
    fn version(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

/// Creates the file when it is missing, checks that it is ours, and switches it to a write-ahead log.
///
/// Of several processes that open a new file at once, all but one may find it locked: SQLite does not wait for the lock with which it
/// switches to a write-ahead log, whatever its busy time-out. So it is tried again for as long as that.
pub(super) async fn prepare(path: &Path, options: &Options) -> Result<(), OpenError> {
    let began = Instant::now();
    loop {
        match try_to_prepare(path, options).await {
            Err(OpenError::Locked { .. }) if began.elapsed() < options.busy_timeout => sleep(RETRY).await,
            prepared => return prepared,
        }
    }
}

async fn try_to_prepare(path: &Path, options: &Options) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path, &error, options.busy_timeout);
    let mut conn = connect(path, options).await.map_err(failed)?;
    // Before anything is changed: another application's file stays as it is.
    let owner = identify(&mut conn, path, options).await?;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut conn).await.map_err(failed)?;
    if mode != "wal" {
        let reason =
            format!("its file system cannot share memory, which a write-ahead log needs (mode {mode})");
        return Err(OpenError::CannotOpen { path: path.to_owned(), reason });
    }
    if owner == Owner::Nobody {
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // Another process may have been faster.
        if identify(&mut transaction, path, options).await? == Owner::Nobody {
            sqlx::raw_sql(CREATE).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
    }
    conn.close().await.map_err(failed)
}

/// Brings a component's tables to the newest version; of several processes that do so at once one does it.
pub(super) async fn migrate(path: &Path, options: &Options, schema: &Schema) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path, &error, options.busy_timeout);
    let mut conn = connect(path, options).await.map_err(failed)?;
    if version(&mut conn, path, options, schema).await? < schema.version() {
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // Read again, now that nobody else can write.
        let found = version(&mut transaction, path, options, schema).await?;
        for step in schema.steps.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
        }
        sqlx::query("INSERT OR REPLACE INTO annals_schema (component, version) VALUES (?, ?)")
            .bind(schema.component)
            .bind(schema.version())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    conn.close().await.map_err(failed)
}

/// Checks that the file is there and ours, and changes nothing.
pub(super) fn look_at(path: &Path, options: &Options) -> Result<Closing, OpenError> {
    if fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Err(OpenError::Missing { path: path.to_owned(), found: "there is no such file" });
    }
    // A log that is there is somebody's: of an application that runs or was killed, and copying it is that one's part. Where there is
    // none, our own empty one is taken away.
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let closing = if log { Closing::LeavesTheLog } else { Closing::Checkpoints };
    let failed = |error: rusqlite::Error| OpenError::from_rusqlite(path, &error, options.busy_timeout);
    let conn = open_reader(path, options, closing).map_err(failed)?;
    let marks = conn.query_row(MARKS, (), |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    match owner(path, marks)? {
        Owner::Annals => Ok(closing),
        Owner::Nobody => Err(OpenError::Missing { path: path.to_owned(), found: "the file is empty" }),
    }
}

/// Checks that a component's tables are those of this build, and changes nothing.
pub(super) fn must_be_current(
    path: &Path,
    options: &Options,
    closing: Closing,
    schema: &Schema,
) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::from_rusqlite(path, &error, options.busy_timeout);
    let conn = open_reader(path, options, closing).map_err(failed)?;
    let found: Option<u32> = conn
        .query_row("SELECT version FROM annals_schema WHERE component = ?", [schema.component], |row| {
            row.get(0)
        })
        .optional()
        .map_err(failed)?;
    let found = known(path, schema, found)?;
    if found < schema.version() {
        let (path, component) = (path.to_owned(), schema.component.to_owned());
        return Err(OpenError::OlderSchema { path, component, found, known: schema.version() });
    }
    Ok(())
}

/// The version of a component's tables in the file; 0 when there are none.
async fn version(
    conn: &mut SqliteConnection,
    path: &Path,
    options: &Options,
    schema: &Schema,
) -> Result<u32, OpenError> {
    let found: Option<u32> = sqlx::query_scalar("SELECT version FROM annals_schema WHERE component = ?")
        .bind(schema.component)
        .fetch_optional(conn)
        .await
        .map_err(|error| OpenError::from_sqlx(path, &error, options.busy_timeout))?;
    known(path, schema, found)
}

/// The version that was found, when this build knows it; 0 when there are no tables.
fn known(path: &Path, schema: &Schema, found: Option<u32>) -> Result<u32, OpenError> {
    let found = found.unwrap_or(0);
    if found > schema.version() {
        return Err(OpenError::NewerSchema {
            path: path.to_owned(),
            component: schema.component.to_owned(),
            found,
            known: schema.version(),
        });
    }
    Ok(found)
}

async fn connect(path: &Path, options: &Options) -> sqlx::Result<SqliteConnection> {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(false);
    SqliteConnection::connect_with(&connect).await
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Annals,
    Nobody,
}

async fn identify(conn: &mut SqliteConnection, path: &Path, options: &Options) -> Result<Owner, OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path, &error, options.busy_timeout);
    let row = sqlx::query(MARKS).fetch_one(conn).await.map_err(failed)?;
    owner(path, (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))
}

/// Whose file it is, by what [`MARKS`] found.
fn owner(path: &Path, marks: (i32, Option<String>)) -> Result<Owner, OpenError> {
    let foreign = |found: String| OpenError::Foreign { path: path.to_owned(), found };
    match marks {
        (APPLICATION_ID, _) => Ok(Owner::Annals),
        (0, None) => Ok(Owner::Nobody),
        (0, Some(tables)) => Err(foreign(format!("it has tables such as {tables}"))),
        (other, _) => Err(foreign(format!("its application id is {other:#x}"))),
    }
}

/// The file that SQLite keeps beside another.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The application id and some tables: one statement, so that both are of one moment, because another process may be creating the
/// tables.
const MARKS: &str = "\
SELECT application_id, (SELECT group_concat(name, ', ') FROM (SELECT name FROM sqlite_schema LIMIT 3))
FROM pragma_application_id";
const RETRY: Duration = Duration::from_millis(5);
/// "Annl".
const APPLICATION_ID: i32 = 0x416e_6e6c;
const CREATE: &str = "\
PRAGMA application_id = 1097756268;
CREATE TABLE annals_schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_marked_with_the_id_that_is_looked_for() {
        assert!(CREATE.contains(&format!("application_id = {APPLICATION_ID};")));
    }
}
