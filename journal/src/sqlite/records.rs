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
    let mut last = first;
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let answer = match change.check() {
            Ok(()) => Ok(decide(conn, change, &mut last)?),
            Err(rejected) => Err(rejected),
        };
        answers.push(answer);
    }
    if last != first {
        conn.prepare_cached("UPDATE record_revisions SET last = ?")?.execute([last])?;
    }
    Ok(answers)
}

fn decide(conn: &Connection, change: &RecordChange, last: &mut i64) -> rusqlite::Result<Verdict> {
    if let Some((guard, wanted)) = &change.guard
        && revision_of(conn, guard)? != Some(*wanted)
    {
        return Ok(Verdict::GuardChanged { current: find(conn, guard)? });
    }
    let current = revision_of(conn, &change.key)?;
    // There is nothing to delete where there is nothing.
    if current != change.expected || (current.is_none() && change.value.is_none()) {
        return Ok(Verdict::Changed { current: find(conn, &change.key)? });
    }
    *last += 1;
    let key = change.key.as_str();
    match &change.value {
        Some(value) => conn
            .prepare_cached("INSERT OR REPLACE INTO records (key, revision, value) VALUES (?, ?, ?)")?
            .execute(params![key, *last, value.as_ref()])?,
        None => conn.prepare_cached("DELETE FROM records WHERE key = ?")?.execute([key])?,
    };
    Ok(Verdict::Set(Revision(last.cast_unsigned())))
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
    let mut statement = conn.prepare_cached(
        "SELECT key, revision, value FROM records WHERE key >= ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![prefix, after.map_or("", RecordKey::as_str), limit])?;
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

fn record(row: &Row<'_>, first: usize) -> rusqlite::Result<Record> {
    let revision: i64 = row.get(first)?;
    let value = Bytes::copy_from_slice(row.get_ref(first + 1)?.as_blob()?);
    Ok(Record { revision: Revision(revision.cast_unsigned()), value })
}
