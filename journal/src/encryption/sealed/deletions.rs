//! What authenticates that an id's events were deleted, and what the first one that is left builds on.
//!
//! ```text
//!  encryption/deleted/<persistence id>  =  format, 1 | one or more of: bound, u64 | link, 24 | out, 24 | authentic, 16
//! ```
//!
//! The entry of a bound is stored before anything is deleted, beside those of bounds that may still be in force; so a crash in between
//! leaves an entry for whatever was deleted.

use std::sync::Arc;

use bytes::Bytes;

use super::chain::Chain;
use super::record::{AUTHENTIC_BYTES, LINK_BYTES, Links};
use crate::{CompareAndSet, JournalError, PersistenceId, RecordKey, Records, SeqNr};

/// The bounds to which an id's events may be deleted, each with the links of the event there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deletions(Vec<(SeqNr, Links)>);

impl Deletions {
    /// What is stored for an id; entries that are not authentic are none.
    pub(super) async fn read(
        records: &dyn Records,
        chain: &Chain,
        id: &PersistenceId,
    ) -> Result<Self, JournalError> {
        let key = key(id)?;
        let Some(record) = records.get(&key).await? else { return Ok(Self::default()) };
        Self::parse(chain, id, &record.value)
            .ok_or_else(|| JournalError::corrupt_record(&key, "is not what was written"))
    }

    /// Adds a bound, and forgets those below what is deleted already.
    pub(super) async fn add(
        records: &Arc<dyn Records>,
        chain: &Chain,
        id: &PersistenceId,
        (bound, links): (SeqNr, Links),
        deleted_to: SeqNr,
    ) -> Result<(), JournalError> {
        let key = key(id)?;
        let mut before = records.get(&key).await?;
        loop {
            let mut entries = match &before {
                None => Self::default(),
                Some(record) => Self::parse(chain, id, &record.value)
                    .ok_or_else(|| JournalError::corrupt_record(&key, "is not what was written"))?,
            };
            entries.0.retain(|(known, _)| *known >= deleted_to && *known != bound);
            entries.0.push((bound, links));
            let value = entries.to_value(chain, id);
            match records.compare_and_set(&key, before.map(|record| record.revision), value).await? {
                CompareAndSet::Set(_) => return Ok(()),
                CompareAndSet::Changed { .. } => before = records.get(&key).await?,
            }
        }
    }

    /// The links at a bound.
    pub(super) fn at(&self, bound: SeqNr) -> Option<Links> {
        self.0.iter().find(|(known, _)| *known == bound).map(|(_, links)| *links)
    }

    /// Whether everything up to a number may be gone.
    pub(super) fn allow(&self, to: SeqNr) -> bool {
        self.0.iter().any(|(bound, _)| *bound >= to)
    }

    fn to_value(&self, chain: &Chain, id: &PersistenceId) -> Bytes {
        let mut value = Vec::with_capacity(1 + self.0.len() * ENTRY_BYTES);
        value.push(FORMAT);
        for (bound, links) in &self.0 {
            value.extend_from_slice(&bound.get().to_be_bytes());
            value.extend_from_slice(&links.link);
            value.extend_from_slice(links.out());
            value.extend_from_slice(&chain.deletion(id, *bound, links));
        }
        value.into()
    }

    fn parse(chain: &Chain, id: &PersistenceId, value: &[u8]) -> Option<Self> {
        let (&FORMAT, entries) = value.split_first()? else { return None };
        let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else { return None };
        let entry = |entry: &[u8; ENTRY_BYTES]| {
            let (bound, rest) = entry.split_first_chunk::<8>()?;
            let (link, rest) = rest.split_first_chunk::<LINK_BYTES>()?;
            let (out, authentic) = rest.split_first_chunk::<LINK_BYTES>()?;
            let bound = SeqNr::new(u64::from_be_bytes(*bound))?;
            let links = Links { link: *link, out: (out != link).then_some(*out) };
            (chain.deletion(id, bound, &links) == authentic).then_some((bound, links))
        };
        entries.iter().map(entry).collect::<Option<_>>().map(Self)
    }
}

fn key(id: &PersistenceId) -> Result<RecordKey, JournalError> {
    RecordKey::new(&format!("encryption/deleted/{id}"))
        .map_err(|error| JournalError::rejected(id, error.to_string()))
}

const ENTRY_BYTES: usize = 8 + 2 * LINK_BYTES + AUTHENTIC_BYTES;
const FORMAT: u8 = 1;
