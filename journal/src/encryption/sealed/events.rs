use bytes::Bytes;

use super::chain::Chain;
use super::context::write_context;
use super::record::{Link, Links, Record};
use crate::encryption::{DataKey, UsedUp};
use crate::{Envelope, JournalError, KeyId};

/// Seals an event upon the link before it: its payload, and its place in the chain. `out` is given when it takes the place of one
/// that had a successor.
pub(super) fn seal(
    chain: &Chain,
    key: &DataKey,
    before: &Link,
    out: Option<Link>,
    event: &Envelope,
    context: &mut Vec<u8>,
) -> Result<(Bytes, Links), UsedUp> {
    key.reserve(1)?;
    Ok(seal_reserved(chain, key, before, out, event, context))
}

/// The same of an event that the key has counted.
pub(super) fn seal_reserved(
    chain: &Chain,
    key: &DataKey,
    before: &Link,
    out: Option<Link>,
    event: &Envelope,
    context: &mut Vec<u8>,
) -> (Bytes, Links) {
    write_context(context, key.id(), (before, out.as_ref()), event);
    let (mut draft, begin) = Record::draft(&event.payload, out.as_ref());
    let seal = key.seal_reserved(context, &mut draft[begin..]);
    let link = chain.link(context, &seal, &draft[begin..]);
    (Record::finish(draft, &seal, before, out.as_ref()), Links { link, out })
}

/// The record of a sealed event.
///
/// # Errors
/// [`JournalError::Corrupt`] with id and number.
pub(super) fn record(event: &Envelope) -> Result<Record, JournalError> {
    Record::parse(&event.payload).map_err(|error| corrupt(event, error))
}

/// Where an event stands, as it is stored. Leaves its context. No key is needed, so it is known of an event that was erased, too.
pub(super) fn links(chain: &Chain, event: &Envelope, record: &Record, context: &mut Vec<u8>) -> Links {
    context_of(event, record, context);
    Links { link: chain.link(context, &record.seal, &record.ciphertext), out: record.out }
}

/// The same of stored bytes alone.
///
/// # Errors
/// [`JournalError::Corrupt`] with id and number.
pub(super) fn links_of(chain: &Chain, event: &Envelope) -> Result<Links, JournalError> {
    let record = record(event)?;
    Ok(links(chain, event, &record, &mut Vec::with_capacity(CONTEXT_BYTES)))
}

/// The context of a sealed event, as it is stored.
pub(super) fn context_of<T>(event: &Envelope, record: &Record<T>, context: &mut Vec<u8>) {
    // 0 is no generation.
    let generation = event.key_id.unwrap_or(KeyId(0));
    write_context(context, generation, (&record.before, record.out.as_ref()), event);
}

/// The event as it was before it was sealed, with its context at hand.
///
/// # Errors
/// [`JournalError::Corrupt`] with id and number.
pub(super) fn open_within(
    key: &DataKey,
    event: Envelope,
    record: &Record,
    context: &[u8],
) -> Result<Envelope, JournalError> {
    let mut text = record.ciphertext.to_vec();
    key.open(&record.seal, context, &mut text)
        .map_err(|_| corrupt(&event, "the seal is broken: its bytes or its header were changed or moved"))?;
    Ok(Envelope { key_id: None, payload: text.into(), ..event })
}

/// The same of an event that is read by itself.
pub(super) fn open(
    key: &DataKey,
    event: Envelope,
    record: &Record,
    context: &mut Vec<u8>,
) -> Result<Envelope, JournalError> {
    context_of(&event, record, context);
    open_within(key, event, record, context)
}

pub(super) fn corrupt(event: &Envelope, reason: impl ToString) -> JournalError {
    JournalError::corrupt(&event.persistence_id, event.seq_nr, reason)
}

pub(super) const DOES_NOT_FOLLOW: &str = "its link does not follow from the event before it: one of the two was changed, moved, put back or cut out";
/// Of nearly every event's context.
pub(super) const CONTEXT_BYTES: usize = 256;
