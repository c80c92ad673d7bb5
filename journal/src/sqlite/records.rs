use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteJournal;
use crate::{CompareAndSet, JournalError, Record, RecordKey, Records, Revision, check_record};

#[async_trait]
impl Records for SqliteJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        let key = key.clone();
        self.database().read(move |conn| find(conn, &key)).await
    }

    async fn compare_and_set(
        &self,
        key: &RecordKey,
        expected: Option<Revision>,
        value: Bytes,
    ) -> Result<CompareAndSet, JournalError> {
        check_record(key, &value)?;
        let key = key.clone();
        self.database().transact(move |conn| change(conn, &key, expected, Some(&value))).await
    }

    async fn delete(&self, key: &RecordKey, expected: Revision) -> Result<CompareAndSet, JournalError> {
        let key = key.clone();
        self.database().transact(move |conn| change(conn, &key, Some(expected), None)).await
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

/// Changes a key that is still at `expected`; `None` as value deletes. One counter numbers the changes of all keys, so that
/// no key ever has a revision twice, also when it was deleted in between.
fn change(
    conn: &Connection,
    key: &RecordKey,
    expected: Option<Revision>,
    value: Option<&[u8]>,
) -> rusqlite::Result<CompareAndSet> {
    let current = find(conn, key)?;
    if current.as_ref().map(|record| record.revision) != expected {
        return Ok(CompareAndSet::Changed { current });
    }
    let revision: i64 = conn
        .prepare_cached("UPDATE record_revisions SET last = last + 1 RETURNING last")?
        .query_row((), |row| row.get(0))?;
    match value {
        Some(value) => conn
            .prepare_cached("INSERT OR REPLACE INTO records (key, revision, value) VALUES (?, ?, ?)")?
            .execute(params![key.as_str(), revision, value])?,
        None => conn.prepare_cached("DELETE FROM records WHERE key = ?")?.execute([key.as_str()])?,
    };
    Ok(CompareAndSet::Set(Revision(revision.cast_unsigned())))
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
