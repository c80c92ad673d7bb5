use std::fmt;
use std::sync::Arc;

use annals_journal::{
    CompareAndSet, JournalError, Manifest, RecordChange, RecordKey, Records, Revision, Verdict,
};
use bytes::Bytes;

use super::membership::Change;
use super::records::{self, Entry};
use super::{Process, VersionTable};

/// What a journal's records say about versions: who reads what, what is stored, what is held.
///
/// To look at, and to set holds. Whoever writes events takes part as a [`Member`](super::Member).
#[derive(Clone)]
pub struct VersionRecords {
    records: Arc<dyn Records>,
}

impl VersionRecords {
    /// Those of the journal to which these records belong.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records }
    }

    /// All of it, as it is now. What others change meanwhile may be in it or not, each record for itself.
    ///
    /// # Errors
    /// As [`Records`]; [`JournalError::Corrupt`] when a record is none of these.
    pub async fn table(&self) -> Result<VersionTable, JournalError> {
        let mut table = VersionTable { now: self.records.now().await?, ..VersionTable::default() };
        let mut after: Option<RecordKey> = None;
        loop {
            let page = self.records.list(records::PREFIX, after.as_ref(), PAGE).await?;
            for (key, record) in &page {
                match records::decode(key, record)? {
                    Some(Entry::Hold(manifest, version)) => _ = table.holds.insert(manifest, version),
                    Some(Entry::Process(id, process)) => {
                        table.processes.insert(id, (record.revision, process));
                    }
                    Some(Entry::Watermark(manifest, watermark)) => {
                        table.watermarks.insert(manifest, (record.revision, watermark));
                    }
                    None => {}
                }
            }
            if page.len() < PAGE {
                return Ok(table);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// Has nobody write a manifest above a version, until it is [released](Self::release); 0: not at all. Answers how it was held before.
    ///
    /// Processes follow at their next renewal. One that is about to write a higher version for the first time looks at the holds after it
    /// has said so: so what [`VersionRecords::table`] shows after this call as neither stored nor raising will not be stored.
    ///
    /// # Errors
    /// As [`Records`]; after [`JournalError::Unknown`] do it again.
    pub async fn hold(&self, manifest: &Manifest, version: u32) -> Result<Option<u32>, JournalError> {
        self.set_hold(manifest, Some(records::encode_hold(version))).await
    }

    /// Ends a hold; answers how it was held.
    ///
    /// # Errors
    /// As [`VersionRecords::hold`].
    pub async fn release(&self, manifest: &Manifest) -> Result<Option<u32>, JournalError> {
        self.set_hold(manifest, None).await
    }

    async fn set_hold(&self, manifest: &Manifest, value: Option<Bytes>) -> Result<Option<u32>, JournalError> {
        let key = records::hold_key(manifest)?;
        let mut current = self.records.get(&key).await?;
        loop {
            let before = match &current {
                None => None,
                Some(record) => match records::decode(&key, record)? {
                    Some(Entry::Hold(_, version)) => Some(version),
                    _ => None,
                },
            };
            let expected = current.as_ref().map(|record| record.revision);
            let set = match (&value, expected) {
                (Some(value), _) => self.records.compare_and_set(&key, expected, value.clone()).await?,
                (None, Some(expected)) => self.records.delete(&key, expected).await?,
                (None, None) => return Ok(None),
            };
            match set {
                CompareAndSet::Set(_) => return Ok(before),
                CompareAndSet::Changed { current: newer } => current = newer,
            }
        }
    }

    /// Makes one change; `None`: the record was another.
    pub(super) async fn change(&self, change: &Change) -> Result<Option<Revision>, JournalError> {
        let change = match change {
            Change::Process { id, expected, value } => RecordChange {
                key: records::process_key(*id)?,
                expected: *expected,
                value: value.as_ref().map(|process: &Process| records::encode_process(process)),
                guard: None,
            },
            Change::Watermark { manifest, expected, value } => RecordChange::set(
                records::watermark_key(manifest)?,
                *expected,
                records::encode_watermark(value),
            ),
        };
        match self.records.change(vec![change]).await.pop() {
            Some(Ok(Verdict::Set(revision))) => Ok(Some(revision)),
            Some(Ok(Verdict::Changed { .. } | Verdict::GuardChanged { .. })) => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(JournalError::Unknown { reason: "the records gave no answer".into(), source: None }),
        }
    }
}

impl fmt::Debug for VersionRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VersionRecords").field(&self.records).finish()
    }
}

const PAGE: usize = 256;
