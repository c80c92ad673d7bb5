use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;

use super::{MemoryJournal, read, write};
use crate::{CompareAndSet, JournalError, Record, RecordKey, Records, Revision, check_record};

/// All records. One counter numbers the changes of all keys, so that no key ever has a revision twice.
#[derive(Debug, Default)]
pub(super) struct RecordStore {
    records: BTreeMap<RecordKey, Record>,
    last: u64,
}

impl RecordStore {
    /// Changes a key that is still at `expected`; `None` as value deletes.
    fn change(&mut self, key: &RecordKey, expected: Option<Revision>, value: Option<Bytes>) -> CompareAndSet {
        let current = self.records.get(key);
        if current.map(|record| record.revision) != expected {
            return CompareAndSet::Changed { current: current.cloned() };
        }
        self.last += 1;
        let revision = Revision(self.last);
        match value {
            Some(value) => self.records.insert(key.clone(), Record { revision, value }),
            None => self.records.remove(key),
        };
        CompareAndSet::Set(revision)
    }
}

#[async_trait]
impl Records for MemoryJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        Ok(read(&self.records).records.get(key).cloned())
    }

    async fn compare_and_set(
        &self,
        key: &RecordKey,
        expected: Option<Revision>,
        value: Bytes,
    ) -> Result<CompareAndSet, JournalError> {
        check_record(key, &value)?;
        Ok(write(&self.records).change(key, expected, Some(value)))
    }

    async fn delete(&self, key: &RecordKey, expected: Revision) -> Result<CompareAndSet, JournalError> {
        Ok(write(&self.records).change(key, Some(expected), None))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let store = read(&self.records);
        // A key at or after the prefix, and behind the last one that was listed.
        let first = RecordKey::new(prefix).ok();
        let from = match (after, &first) {
            (Some(after), Some(first)) if after < first => Bound::Included(first),
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let found = store.records.range((from, Bound::Unbounded));
        let found = found.skip_while(|(key, _)| key.as_str() < prefix);
        let found = found.take_while(|(key, _)| key.as_str().starts_with(prefix));
        Ok(found.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect())
    }
}
