use bytes::Bytes;

use crate::{CompareAndSet, Epoch, Gate, GatedCall, JournalError, RecordKey, Records};

/// Takes the next epoch from the counter in the journal's records; every start of a node takes one.
///
/// The counter is the record `epoch`, eight bytes, big endian. An outcome that stays unknown burns a number, which is harmless:
/// epochs only have to grow.
///
/// # Errors
/// [`JournalError::Rejected`] when the journal is closed ([`Gate`]), with the one to open;
/// [`JournalError::Unavailable`] and [`JournalError::Unknown`] as the records give them;
/// [`JournalError::Corrupt`] when the record is not a counter.
pub async fn next_epoch(records: &dyn Records) -> Result<Epoch, JournalError> {
    if let Some(gate) = Gate::of(records.get(Gate::key()).await?.as_ref())? {
        gate.check(GatedCall::Own)?;
    }
    let next = move |last: u64| last.checked_add(1).filter(|next| *next <= i64::MAX as u64);
    change(records, |last| next(last).map(Some).ok_or_else(|| corrupt("no epoch is left"))).await
}

/// Raises the counter to an epoch, when it is lower: for events that come from elsewhere with their tokens, whose next owner must not
/// be fenced by them.
///
/// # Errors
/// As [`next_epoch`]; a closed journal is no error.
pub async fn raise_epoch(records: &dyn Records, epoch: Epoch) -> Result<(), JournalError> {
    change(records, |last| Ok((epoch.0 > last).then_some(epoch.0))).await.map(drop)
}

/// The last epoch that was taken; 0 when none was. Changes nothing.
///
/// # Errors
/// As [`next_epoch`].
pub async fn last_epoch(records: &dyn Records) -> Result<Epoch, JournalError> {
    change(records, |_| Ok(None)).await
}

/// Sets the counter to what `to` makes of it, or leaves it; answers what it is then.
async fn change(
    records: &dyn Records,
    to: impl Fn(u64) -> Result<Option<u64>, JournalError>,
) -> Result<Epoch, JournalError> {
    let key = RecordKey::new(KEY).map_err(|error| corrupt(&error.to_string()))?;
    let mut current = records.get(&key).await?;
    loop {
        let last = match &current {
            None => 0,
            Some(record) => <[u8; 8]>::try_from(&record.value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| corrupt("must have eight bytes"))?,
        };
        let Some(next) = to(last)? else { return Ok(Epoch(last)) };
        let expected = current.map(|record| record.revision);
        let value = Bytes::copy_from_slice(&next.to_be_bytes());
        match records.compare_and_set(&key, expected, value).await? {
            CompareAndSet::Set(_) => return Ok(Epoch(next)),
            CompareAndSet::Changed { current: newer } => current = newer,
        }
    }
}

fn corrupt(reason: &str) -> JournalError {
    JournalError::Corrupt { persistence_id: None, seq_nr: None, reason: format!("record {KEY:?}: {reason}") }
}

const KEY: &str = "epoch";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryJournal;

    #[tokio::test]
    async fn the_counter_is_raised_and_never_lowered() {
        let records = MemoryJournal::new();
        assert_eq!(last_epoch(&records).await.unwrap(), Epoch(0));
        raise_epoch(&records, Epoch(7)).await.unwrap();
        raise_epoch(&records, Epoch(3)).await.unwrap();
        assert_eq!(last_epoch(&records).await.unwrap(), Epoch(7));
        assert_eq!(next_epoch(&records).await.unwrap(), Epoch(8));
    }
}
