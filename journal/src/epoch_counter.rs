use bytes::Bytes;

use crate::{CompareAndSet, Epoch, JournalError, RecordKey, Records};

/// Takes the next epoch from the counter in the journal's records; every start of a node takes one.
///
/// The counter is the record `epoch`, eight bytes, big endian. An outcome that stays unknown burns a number, which is harmless:
/// epochs only have to grow.
///
/// # Errors
/// [`JournalError::Unavailable`] and [`JournalError::Unknown`] as the records give them;
/// [`JournalError::Corrupt`] when the record is not a counter.
pub async fn next_epoch(records: &dyn Records) -> Result<Epoch, JournalError> {
    let corrupt = |reason: &str| JournalError::Corrupt {
        persistence_id: None,
        seq_nr: None,
        reason: format!("record {KEY:?}: {reason}"),
    };
    let key = RecordKey::new(KEY).map_err(|error| corrupt(&error.to_string()))?;
    let mut current = records.get(&key).await?;
    loop {
        let last = match &current {
            None => 0,
            Some(record) => <[u8; 8]>::try_from(&record.value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| corrupt("must have eight bytes"))?,
        };
        let next = last
            .checked_add(1)
            .filter(|next| *next <= i64::MAX as u64)
            .ok_or_else(|| corrupt("no epoch is left"))?;
        let expected = current.map(|record| record.revision);
        let value = Bytes::copy_from_slice(&next.to_be_bytes());
        match records.compare_and_set(&key, expected, value).await? {
            CompareAndSet::Set(_) => return Ok(Epoch(next)),
            CompareAndSet::Changed { current: newer } => current = newer,
        }
    }
}

const KEY: &str = "epoch";
