use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteJournal;
use super::heads::Heads;
use crate::{Gate, JournalError, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict};

#[async_trait]
impl Records for SqliteJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        let key = key.clone();
        self.database().read(move |conn| find(conn, &key)).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let keys = keys.to_vec();
        self.database().read(move |conn| keys.iter().map(|key| find(conn, key)).collect()).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let count = changes.len();
        if count == 0 {
            return Vec::new();
        }
        let work = move |conn: &Connection, heads: &mut Heads| {
            if changes.iter().any(|change| change.key == *Gate::key()) {
                // The next write reads it anew.
                heads.forget();
            }
            change_all(conn, &changes)
        };
        match self.database().transact_with(work).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    /// The clock of the machine: all processes that use a file run on one.
    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(Timestamp::now())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.database().scan(move |conn| list(conn, &prefix, after.as_ref(), limit)).await
    }
}

fn find(conn: &Connection, key: &RecordKey) -> rusqlite::Result<Option<Record>> {
    conn.prepare_cached("SELECT revision, value FROM records WHERE key = ?")?
        .query_row([key.as_str()], |row| record(row, 0))
        .optional()
}

/// Decides the changes in their order. One counter numbers the changes of all keys, so that no key ever has a revision
/// twice, also when it was deleted in between.
fn change_all(
    conn: &Connection,
    changes: &[RecordChange],
) -> rusqlite::Result<Vec<Result<Verdict, JournalError>>> {
    let first: i64 =
        conn.prepare_cached("SELECT last FROM record_revisions")?.query_row((), |row| row.get(0))?;
    let (mut last, mut guards) = (first, Guards::default());
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let answer = match change.check() {
            Ok(()) => Ok(decide(conn, &mut guards, change, &mut last)?),
            Err(rejected) => Err(rejected),
        };
        answers.push(answer);
    }
    if last != first {
        conn.prepare_cached("UPDATE record_revisions SET last = ?")?.execute([last])?;
    }
    Ok(answers)
}

fn decide(
    conn: &Connection,
    guards: &mut Guards,
    change: &RecordChange,
    last: &mut i64,
) -> rusqlite::Result<Verdict> {
    if let Some((guard, wanted)) = &change.guard
        && guards.revision_of(conn, guard)? != Some(*wanted)
    {
        return Ok(Verdict::GuardChanged { current: find(conn, guard)? });
    }
    let (key, next) = (change.key.as_str(), *last + 1);
    let expected = change.expected.map(|revision| revision.0.cast_signed());
    let changed = match (&change.value, expected) {
        (Some(value), None) => conn.prepare_cached(INSERT)?.execute(params![key, next, value.as_ref()])?,
        (Some(value), Some(expected)) => {
            conn.prepare_cached(UPDATE)?.execute(params![next, value.as_ref(), key, expected])?
        }
        (None, Some(expected)) => conn.prepare_cached(DELETE)?.execute(params![key, expected])?,
        // There is nothing to delete where there is nothing.
        (None, None) => 0,
    };
    if changed == 0 {
        return Ok(Verdict::Changed { current: find(conn, &change.key)? });
    }
    *last = next;
    guards.forget(&change.key);
    Ok(Verdict::Set(Revision(next.cast_unsigned())))
}

/// The guard that was looked at last: the changes of a list mostly have the same.
#[derive(Default)]
struct Guards(Option<(RecordKey, Option<Revision>)>);

impl Guards {
    fn revision_of(&mut self, conn: &Connection, guard: &RecordKey) -> rusqlite::Result<Option<Revision>> {
        if let Some((known, revision)) = &self.0
            && known == guard
        {
            return Ok(*revision);
        }
        let revision = revision_of(conn, guard)?;
        self.0 = Some((guard.clone(), revision));
        Ok(revision)
    }

    /// A change of the same list has changed a record.
    fn forget(&mut self, key: &RecordKey) {
        self.0.take_if(|(known, _)| known == key);
    }
}

fn revision_of(conn: &Connection, key: &RecordKey) -> rusqlite::Result<Option<Revision>> {
    let revision: Option<i64> = conn
        .prepare_cached("SELECT revision FROM records WHERE key = ?")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?;
    Ok(revision.map(|revision| Revision(revision.cast_unsigned())))
}

fn list(
    conn: &Connection,
    prefix: &str,
    after: Option<&RecordKey>,
    limit: usize,
) -> rusqlite::Result<Vec<(RecordKey, Record)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // One bound only: given two, SQLite seeks to the first and reads from there on, so that all pages together read the square.
    let (sql, from) = match after {
        Some(after) if after.as_str() >= prefix => (LIST_BEHIND, after.as_str()),
        _ => (LIST_FROM, prefix),
    };
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![from, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str()?;
        // Keys that begin alike lie together.
        if !text.starts_with(prefix) {
            break;
        }
        let key = RecordKey::new(text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
        found.push((key, record(row, 1)?));
    }
    Ok(found)
}

const INSERT: &str = "INSERT INTO records (key, revision, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE records SET revision = ?, value = ? WHERE key = ? AND revision = ?";
const DELETE: &str = "DELETE FROM records WHERE key = ? AND revision = ?";
const LIST_FROM: &str = "SELECT key, revision, value FROM records WHERE key >= ? ORDER BY key LIMIT ?";
const LIST_BEHIND: &str = "SELECT key, revision, value FROM records WHERE key > ? ORDER BY key LIMIT ?";

fn record(row: &Row<'_>, first: usize) -> rusqlite::Result<Record> {
    let revision: i64 = row.get(first)?;
    let value = Bytes::copy_from_slice(row.get_ref(first + 1)?.as_blob()?);
    Ok(Record { revision: Revision(revision.cast_unsigned()), value })
}
