use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, PgConnection, Postgres, Row as _};

use super::failure::{gave_way, read_failure, write_failure};
use super::{Database, PostgresJournal, row};
use crate::{Gate, JournalError, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict};

#[async_trait]
impl Records for PostgresJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        Ok(self.get_all(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let database = self.database();
        let rows = database.rows(|| find(keys.iter())).await?;
        let found = found(&rows).map_err(|error| read_failure(database.server(), error))?;
        Ok(keys.iter().map(|key| found.get(key.as_str()).cloned()).collect())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        if changes.is_empty() {
            return Vec::new();
        }
        match change_in_turns(self.database(), &changes).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); changes.len()],
        }
    }

    /// The clock of the server.
    async fn now(&self) -> Result<Timestamp, JournalError> {
        let database = self.database();
        const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
        let rows = database.rows(|| sqlx::query(NOW)).await?;
        let micros = rows.first().map_or(Ok(0_i64), |row| row.try_get(0));
        let micros = micros.map_err(|error| read_failure(database.server(), error))?;
        Ok(Timestamp::from_micros(micros.try_into().unwrap_or_default()))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let database = self.database();
        let failed = |error| read_failure(database.server(), error);
        let query = || {
            sqlx::query(LIST)
                .bind(prefix)
                .bind(after.map_or("", RecordKey::as_str))
                .bind(behind_all(prefix))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        };
        let rows = database.rows(query).await?;
        rows.iter().map(keyed).collect::<sqlx::Result<_>>().map_err(failed)
    }
}

const LIST: &str = "\
SELECT key, revision, value FROM records
WHERE key >= $1 AND key > $2 AND ($3::text IS NULL OR key < $3) ORDER BY key LIMIT $4";

/// The first text behind all that begin with this one, in the order of bytes; `None`: there is none.
fn behind_all(prefix: &str) -> Option<String> {
    let mut text: Vec<char> = prefix.chars().collect();
    while let Some(last) = text.pop() {
        // Texts in UTF-8 are in the order of their characters' numbers.
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            text.push(next);
            return Some(text.into_iter().collect());
        }
    }
    None
}

async fn change_in_turns(
    database: &Database,
    changes: &[RecordChange],
) -> Result<Vec<Result<Verdict, JournalError>>, JournalError> {
    let mut tries = 0;
    loop {
        let mut connection = database.writer().await?;
        match try_to_change(&mut connection, changes).await {
            Ok(answers) => {
                connection.done();
                return Ok(answers);
            }
            Err(error) if gave_way(&error) && tries < TRIES => {
                connection.done();
                tries += 1;
            }
            Err(error) => return Err(write_failure(database.server(), error)),
        }
    }
}

/// Locks the keys, looks, decides in the order of the list, and writes what came of it.
///
/// A key is locked by a number that it shares with others: of keys that are not there no row could be. Numbers are taken in their order,
/// so that two lists do not wait for each other. One sequence numbers the changes of all keys, under the lock: no key
/// ever has a revision twice, also when it was deleted in between.
async fn try_to_change(
    connection: &mut PgConnection,
    changes: &[RecordChange],
) -> sqlx::Result<Vec<Result<Verdict, JournalError>>> {
    let mut transaction = connection.begin().await?;
    let guards = changes.iter().filter_map(|change| change.guard.as_ref().map(|(key, _)| key));
    let keys: BTreeSet<&RecordKey> = changes.iter().map(|change| &change.key).chain(guards).collect();
    let locks: BTreeSet<i64> = keys.iter().map(|key| lock_of(key)).collect();
    let gated = changes.iter().any(|change| change.key == *Gate::key());
    if gated {
        // Waits for the writes that are on their way.
        sqlx::query("SELECT pg_advisory_xact_lock(ledger_key())").execute(&mut *transaction).await?;
    }
    sqlx::query(
        "SELECT pg_advisory_xact_lock(ledger_key() # (k << 56)) FROM unnest($1::int8[]) WITH ORDINALITY AS l(k, n)",
    )
    .bind(locks.into_iter().collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    let found = found(&find(keys.into_iter()).fetch_all(&mut *transaction).await?)?;
    let mut revisions =
        sqlx::query_scalar::<_, i64>("SELECT nextval('record_revisions') FROM generate_series(1, $1)")
            .bind(i64::try_from(changes.len()).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await?
            .into_iter();
    let mut decided = Decided { found, changed: HashMap::new() };
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        answers.push(change.check().map(|()| decided.decide(change, &mut revisions)));
    }
    decided.store(&mut transaction).await?;
    if gated {
        sqlx::query(GATED).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(answers)
}

/// The records of a list of changes as they are, with what was decided so far.
struct Decided<'a> {
    found: HashMap<String, Record>,
    changed: HashMap<&'a str, Option<Record>>,
}

impl<'a> Decided<'a> {
    fn current(&self, key: &RecordKey) -> Option<Record> {
        match self.changed.get(key.as_str()) {
            Some(changed) => changed.clone(),
            None => self.found.get(key.as_str()).cloned(),
        }
    }

    fn decide(&mut self, change: &'a RecordChange, revisions: &mut impl Iterator<Item = i64>) -> Verdict {
        if let Some((guard, wanted)) = &change.guard {
            let current = self.current(guard);
            if current.as_ref().map(|record| record.revision) != Some(*wanted) {
                return Verdict::GuardChanged { current };
            }
        }
        let current = self.current(&change.key);
        let as_expected = current.as_ref().map(|record| record.revision) == change.expected;
        // There is nothing to delete where there is nothing.
        if !as_expected || (current.is_none() && change.value.is_none()) {
            return Verdict::Changed { current };
        }
        let revision = Revision(revisions.next().unwrap_or_default().cast_unsigned());
        let record = change.value.clone().map(|value| Record { revision, value });
        self.changed.insert(change.key.as_str(), record);
        Verdict::Set(revision)
    }

    async fn store(self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        let (mut keys, mut revisions, mut values, mut deleted) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (key, record) in &self.changed {
            match record {
                Some(record) => {
                    keys.push(*key);
                    revisions.push(row::stored(record.revision.0));
                    values.push(record.value.as_ref());
                }
                None => deleted.push(*key),
            }
        }
        if !keys.is_empty() {
            sqlx::query(SET).bind(keys).bind(revisions).bind(values).execute(&mut *transaction).await?;
        }
        if !deleted.is_empty() {
            sqlx::query("DELETE FROM records WHERE key = ANY($1)")
                .bind(deleted)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(())
    }
}

/// Last, because a number stays drawn when its transaction is undone.
const GATED: &str = "\
UPDATE ledger SET gated = EXISTS (SELECT FROM records WHERE key = 'journal/gate'), version = nextval('ledger_versions')";
const SET: &str = "\
INSERT INTO records (key, revision, value) SELECT * FROM unnest($1::text[], $2::int8[], $3::bytea[])
ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value";

fn find<'q>(keys: impl Iterator<Item = &'q RecordKey>) -> Query<'q, Postgres, PgArguments> {
    let keys: Vec<&str> = keys.map(RecordKey::as_str).collect();
    sqlx::query("SELECT key, revision, value FROM records WHERE key = ANY($1)").bind(keys)
}

fn found(rows: &[PgRow]) -> sqlx::Result<HashMap<String, Record>> {
    rows.iter().map(|row| Ok((row.try_get(0)?, record(row)?))).collect()
}

fn keyed(row: &PgRow) -> sqlx::Result<(RecordKey, Record)> {
    let key: &str = row.try_get(0)?;
    let key = RecordKey::new(key).map_err(|error| row::none_of_ours("record key", error))?;
    Ok((key, record(row)?))
}

fn record(row: &PgRow) -> sqlx::Result<Record> {
    let revision: i64 = row.try_get(1)?;
    Ok(Record { revision: Revision(revision.cast_unsigned()), value: row::bytes(row, 2)? })
}

/// 1 to [`LOCKS`]: a list locks few numbers, however long it is.
fn lock_of(key: &RecordKey) -> i64 {
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    1 + i64::try_from((hash ^ (hash >> 32)) % LOCKS).unwrap_or_default()
}

const LOCKS: u64 = 64;
const TRIES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_prefix_is_found() {
        for (prefix, behind) in [
            ("a", Some("b")),
            ("reader/", Some("reader0")),
            ("", None),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ] {
            assert_eq!(behind_all(prefix).as_deref(), behind, "{prefix:?}");
        }
    }
}
