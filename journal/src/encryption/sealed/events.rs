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
    write_context(context, key.scope(), key.id(), event);
    let (mut draft, begin) = Record::draft(&event.payload, out.as_ref());
    let seal = key.seal_reserved(context, &mut draft[begin..]);
    let link = chain.link(before, out.as_ref(), context, &seal, &draft[begin..]);
    let links = Links { link, out };
    (Record::finish(draft, &seal, &links), links)
}

/// The record of a sealed event.
///
/// # Errors
/// [`JournalError::Corrupt`] with id and number.
pub(super) fn record(event: &Envelope) -> Result<Record, JournalError> {
    Record::parse(&event.payload).map_err(|error| corrupt(event, error))
}

/// Whether an event stands behind one of these links; either of two where the one before was replaced. Leaves its context. No key is
/// needed, so it is known of an event that was erased, too.
pub(super) fn follows(
    chain: &Chain,
    before: &Links,
    event: &Envelope,
    record: &Record,
    context: &mut Vec<u8>,
) -> bool {
    context_of(event, context);
    let follows = |link: &Link| chain.follows(record, link, context);
    follows(before.out()) || before.out.is_some() && follows(&before.link)
}

/// The context of a sealed event, as it is stored.
pub(super) fn context_of(event: &Envelope, context: &mut Vec<u8>) {
    // The scope is the id itself; 0 is no generation.
    write_context(context, event.persistence_id.as_str(), event.key_id.unwrap_or(KeyId(0)), event);
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
    write_context(context, key.scope(), key.id(), &event);
    open_within(key, event, record, context)
}

pub(super) fn corrupt(event: &Envelope, reason: impl ToString) -> JournalError {
    JournalError::corrupt(&event.persistence_id, event.seq_nr, reason)
}

pub(super) const DOES_NOT_FOLLOW: &str = "its link does not follow from the event before it: one of the two was changed, moved, put back or cut out";
