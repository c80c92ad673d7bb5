use annals_journal::{JournalError, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict};
use async_trait::async_trait;
use redb::ReadableTable;

use crate::RedbJournal;
use crate::failure::Failure;
use crate::tables::{RECORDS, REVISION, Tables};

#[async_trait]
impl Records for RedbJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        let key = key.clone();
        self.read(move |snapshot| find(&snapshot.open_table(RECORDS)?, &key)).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let keys = keys.to_vec();
        self.read(move |snapshot| {
            let records = snapshot.open_table(RECORDS)?;
            keys.iter().map(|key| find(&records, key)).collect()
        })
        .await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let count = changes.len();
        // Not the name of the trait's method.
        let decided = RedbJournal::change(self, move |tables| {
            let decide = |change: RecordChange| match change.check() {
                Ok(()) => Ok(Ok(decide(tables, change)?)),
                Err(error) => Ok(Err(error)),
            };
            changes.into_iter().map(decide).collect::<Result<Vec<_>, Failure>>()
        });
        decided.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        // All processes are on the machine that has the file.
        Ok(Timestamp::now())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let (prefix, after) =
            (prefix.to_owned(), after.map_or_else(String::new, |after| after.as_str().to_owned()));
        self.read(move |snapshot| {
            let records = snapshot.open_table(RECORDS)?;
            let mut listed = Vec::new();
            for row in records.range(prefix.as_str().max(&after)..)? {
                let (key, record) = row?;
                if listed.len() == limit || !key.value().starts_with(&prefix) {
                    break;
                }
                if key.value() != after {
                    let key = RecordKey::new(key.value()).map_err(|error| {
                        let reason =
                            format!("{:?} stands where a record's key belongs: {error}", key.value());
                        JournalError::Corrupt { persistence_id: None, seq_nr: None, reason }
                    })?;
                    listed.push((key, record_of(record.value())));
                }
            }
            Ok(listed)
        })
        .await
    }
}

fn decide(tables: &mut Tables<'_>, change: RecordChange) -> Result<Verdict, Failure> {
    let RecordChange { key, expected, value, guard } = change;
    if let Some((guard, revision)) = guard {
        let current = find(&tables.records, &guard)?;
        if current.as_ref().map(|record| record.revision) != Some(revision) {
            return Ok(Verdict::GuardChanged { current });
        }
    }
    let current = find(&tables.records, &key)?;
    // There is nothing to delete where there is nothing.
    if current.as_ref().map(|record| record.revision) != expected || (value.is_none() && current.is_none()) {
        return Ok(Verdict::Changed { current });
    }
    let revision = tables.count(REVISION)?;
    match value {
        Some(value) => tables.records.insert(key.as_str(), (revision, &*value))?,
        None => tables.records.remove(key.as_str())?,
    };
    Ok(Verdict::Set(Revision(revision)))
}

fn find(
    records: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    key: &RecordKey,
) -> Result<Option<Record>, Failure> {
    Ok(records.get(key.as_str())?.map(|record| record_of(record.value())))
}

fn record_of((revision, value): (u64, &[u8])) -> Record {
    Record { revision: Revision(revision), value: value.to_vec().into() }
}
