use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use super::{MemoryJournal, read, write};
use crate::{Gate, JournalError, Record, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict};

/// All records. One counter numbers the changes of all keys, so that no key ever has a revision twice.
#[derive(Debug, Default)]
pub(super) struct RecordStore {
    records: BTreeMap<RecordKey, Record>,
    last: u64,
}

impl RecordStore {
    fn change(&mut self, change: RecordChange) -> Verdict {
        let RecordChange { key, expected, value, guard } = change;
        if let Some((guard, wanted)) = guard {
            let current = self.records.get(&guard);
            if current.map(|record| record.revision) != Some(wanted) {
                return Verdict::GuardChanged { current: current.cloned() };
            }
        }
        let current = self.records.get(&key);
        if current.map(|record| record.revision) != expected {
            return Verdict::Changed { current: current.cloned() };
        }
        // There is nothing to delete.
        if value.is_none() && current.is_none() {
            return Verdict::Changed { current: None };
        }
        self.last += 1;
        let revision = Revision(self.last);
        match value {
            Some(value) => self.records.insert(key, Record { revision, value }),
            None => self.records.remove(&key),
        };
        Verdict::Set(revision)
    }
}

#[async_trait]
impl Records for MemoryJournal {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        Ok(read(&self.records).records.get(key).cloned())
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let store = read(&self.records);
        Ok(keys.iter().map(|key| store.records.get(key).cloned()).collect())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let mut store = write(&self.records);
        let gated = changes.iter().any(|change| change.key == *Gate::key());
        let answers =
            changes.into_iter().map(|change| change.check().map(|()| store.change(change))).collect();
        if gated {
            // Before the answer, and before anybody else changes the record.
            let gate = store.records.get(Gate::key()).map(|record| Gate::decode(&record.value));
            write(&self.store).gate = gate.map(|gate| gate.unwrap_or_else(|_| Gate::unreadable()));
        }
        answers
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(Timestamp::now())
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
