//! What a transaction does with events; every decision is made in the transaction that stores.

use std::collections::BTreeSet;

use annals_journal::{
    AtomicWrite, Envelope, Gate, GatedCall, Head, JournalError, MarkChange, Offset, Page, PageItem,
    PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use redb::{ReadTransaction, ReadableTable};

use crate::RedbJournal;
use crate::failure::Failure;
use crate::tables::{EVENTS, LOG, POSITION, STREAMS, StreamRow, TAGGED, Tables, end_of_log, stream};

/// An answer that the caller gets, in a transaction that goes on.
type Answer<T> = Result<Result<T, JournalError>, Failure>;

/// Decides an entry, and stores it where it is accepted.
pub(crate) fn decide(tables: &mut Tables<'_>, write: &Write) -> Answer<Head> {
    let (id, token) = (write.persistence_id(), write.token());
    let call = match write {
        Write::Claim { .. } | Write::Verify { .. } => GatedCall::Own,
        _ => GatedCall::Store,
    };
    if let Write::Append(append) = write
        && let Err(error) = append.check(RedbJournal::LIMITS)
    {
        return Ok(Err(error));
    }
    if let Err(error) = pass_gate(tables, call)? {
        return Ok(Err(error));
    }
    let (head, tombstone) = stream(&tables.streams, id)?.unwrap_or((Head::EMPTY, 0));
    if head.token > token {
        return Ok(Err(JournalError::outranked(id, token, head.token)));
    }
    let conflict = |expected| {
        Ok(Err(JournalError::Conflict { persistence_id: id.clone(), expected, head: head.seq_nr }))
    };
    let moved = |change: &MarkChange| (change.from == head.mark).then_some(Some(change.to));
    let next = match write {
        Write::Append(append) if append.expected != head.seq_nr => return conflict(append.expected),
        Write::Append(append) => {
            let Some(mark) = append.mark.as_ref().map_or(Some(head.mark), moved) else {
                return conflict(append.expected);
            };
            append_events(tables, append)?;
            Head { seq_nr: append.last(), token, mark, ..head }
        }
        Write::Claim { .. } => Head { token, ..head },
        // Below, the token is the newest; here it has to be known.
        _ if head.token != token => return Ok(Err(JournalError::outranked(id, token, head.token))),
        Write::Verify { .. } => return Ok(Ok(head)),
        Write::Mark { change, .. } => match moved(change) {
            Some(mark) => Head { mark, ..head },
            None => return conflict(head.seq_nr),
        },
        _ => return Ok(Err(JournalError::rejected(id, "this backend does not know writes of this kind"))),
    };
    tables.streams.insert(id.as_str(), row_of(&next, tombstone))?;
    Ok(Ok(next))
}

fn pass_gate(tables: &Tables<'_>, call: GatedCall) -> Answer<()> {
    let record = tables.records.get(Gate::key().as_str())?;
    let Some(record) = record else { return Ok(Ok(())) };
    Ok(Gate::decode(record.value().1).unwrap_or_else(|_| Gate::unreadable()).check(call))
}

fn append_events(tables: &mut Tables<'_>, append: &AtomicWrite) -> Result<(), Failure> {
    let (id, slice) = (append.persistence_id.as_str(), append.persistence_id.slice().number());
    for event in &append.events {
        let (position, number) = (tables.count(POSITION)?, event.seq_nr.get());
        let tags = labels(event);
        for tag in &tags {
            tables.tagged.insert((*tag, position), ())?;
        }
        tables.log.insert(position, (slice, id, number, Some(&*event.encode()), tags))?;
        tables.events.insert((id, number), position)?;
    }
    Ok(())
}

/// Puts a tombstone in the place of the last deleted event; it has the tags of all that were deleted, so that a reader by any of them
/// meets it.
pub(crate) fn delete_to(tables: &mut Tables<'_>, id: &PersistenceId, to: SeqNr) -> Result<(), Failure> {
    pass_gate(tables, GatedCall::Store)??;
    let (head, tombstone) = stream(&tables.streams, id)?.unwrap_or((Head::EMPTY, 0));
    if to > head.seq_nr {
        let reason = format!("cannot delete up to {to:?}, the head is {:?}", head.seq_nr);
        return Err(JournalError::rejected(id, reason).into());
    }
    if to <= head.deleted_to {
        return Ok(());
    }
    let mut gone = Vec::from_iter((tombstone > 0).then_some(tombstone));
    for number in head.deleted_to.get() + 1..=to.get() {
        gone.extend(tables.events.remove((id.as_str(), number))?.map(|position| position.value()));
    }
    let Some(&last) = gone.last() else { return Err(missing(id, to).into()) };
    let mut tags = BTreeSet::new();
    for position in gone {
        let Some(row) = tables.log.remove(position)? else { continue };
        for tag in row.value().4 {
            tables.tagged.remove((tag, position))?;
            tags.insert(tag.to_owned());
        }
    }
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    for tag in &tags {
        tables.tagged.insert((*tag, last), ())?;
    }
    tables.log.insert(last, (id.slice().number(), id.as_str(), to.get(), None, tags))?;
    tables.streams.insert(id.as_str(), row_of(&Head { deleted_to: to, ..head }, last))?;
    Ok(())
}

/// Replaces an event that still has its bytes; the caller has checked the pair.
pub(crate) fn replace(tables: &mut Tables<'_>, old: &StoredEvent, new: &Envelope) -> Answer<bool> {
    if let Err(error) = pass_gate(tables, GatedCall::Store)? {
        return Ok(Err(error));
    }
    let (id, number) = (&old.envelope.persistence_id, old.envelope.seq_nr.get());
    let Some(position) = tables.events.get((id.as_str(), number))?.map(|position| position.value()) else {
        return Ok(Ok(false));
    };
    let stored: Vec<String> = match tables.log.get(position)? {
        Some(row) if row.value().3 == Some(&*old.bytes) => {
            row.value().4.into_iter().map(str::to_owned).collect()
        }
        _ => return Ok(Ok(false)),
    };
    for tag in &stored {
        tables.tagged.remove((tag.as_str(), position))?;
    }
    let tags = labels(new);
    for tag in &tags {
        tables.tagged.insert((*tag, position), ())?;
    }
    tables.log.insert(position, (id.slice().number(), id.as_str(), number, Some(&*new.encode()), tags))?;
    Ok(Ok(true))
}

/// Reads the next items of a range and cuts them off; empty at its end.
pub(crate) fn replay_page(
    snapshot: &ReadTransaction,
    rest: &mut ReplayRange,
) -> Result<Vec<Replayed>, Failure> {
    let id = rest.persistence_id.clone();
    let (events, log) = (snapshot.open_table(EVENTS)?, snapshot.open_table(LOG)?);
    let Some((head, _)) = stream(&snapshot.open_table(STREAMS)?, &id)? else { return Ok(Vec::new()) };
    let mut page = Vec::new();
    rest.from = rest.from.max(SeqNr::FIRST);
    let deleted_to = head.deleted_to.min(rest.to);
    if rest.from <= deleted_to {
        page.push(Replayed::Deleted { from: rest.from, to: deleted_to });
        rest.from = deleted_to.next();
    }
    let last = head.seq_nr.min(rest.to);
    while page.len() < REPLAY_PAGE && rest.limit > 0 && rest.from <= last {
        let position = events.get((id.as_str(), rest.from.get()))?.map(|position| position.value());
        let row = position.map(|position| Ok::<_, Failure>((position, log.get(position)?))).transpose()?;
        let Some((position, Some(row))) = row else { return Err(missing(&id, rest.from).into()) };
        let (_, _, _, envelope, _) = row.value();
        let envelope = envelope.ok_or_else(|| missing(&id, rest.from))?;
        page.push(Replayed::Event(stored_event(position, &id, rest.from, envelope)?));
        (rest.from, rest.limit) = (rest.from.next(), rest.limit - 1);
    }
    Ok(page)
}

/// The events of some slices: a look at each row behind `after`.
pub(crate) fn page_of_slices(
    snapshot: &ReadTransaction,
    slices: SliceRange,
    after: Offset,
    limit: usize,
) -> Result<Page, Failure> {
    let log = snapshot.open_table(LOG)?;
    let mut items = Vec::new();
    for row in log.range(after.minor.saturating_add(1)..)? {
        if items.len() == limit {
            break;
        }
        let (position, row) = row?;
        let (slice, id, number, envelope, _) = row.value();
        if (slices.first().number()..=slices.last().number()).contains(&slice) {
            items.push(page_item(position.value(), id, number, envelope)?);
        }
    }
    page(snapshot, items, after, limit)
}

/// The events that carry a tag.
pub(crate) fn page_of_tag(
    snapshot: &ReadTransaction,
    tag: &Tag,
    after: Offset,
    limit: usize,
) -> Result<Page, Failure> {
    let (tagged, log) = (snapshot.open_table(TAGGED)?, snapshot.open_table(LOG)?);
    let mut items = Vec::new();
    for row in
        tagged.range((tag.as_str(), after.minor.saturating_add(1))..=(tag.as_str(), u64::MAX))?.take(limit)
    {
        let (_, position) = row?.0.value();
        let Some(row) = log.get(position)? else { continue };
        let (_, id, number, envelope, _) = row.value();
        items.push(page_item(position, id, number, envelope)?);
    }
    page(snapshot, items, after, limit)
}

/// A page says up to where it is complete: to its last item where it is full, otherwise to the end of the log.
fn page(
    snapshot: &ReadTransaction,
    items: Vec<PageItem>,
    after: Offset,
    limit: usize,
) -> Result<Page, Failure> {
    let complete_to = match items.last() {
        Some(last) if items.len() == limit => last.offset(),
        None if limit == 0 => after,
        _ => after.max(Offset::of_position(end_of_log(snapshot)?)),
    };
    Ok(Page { items, complete_to })
}

fn page_item(position: u64, id: &str, number: u64, envelope: Option<&[u8]>) -> Result<PageItem, Failure> {
    let (persistence_id, to) = (persistence_id(id)?, SeqNr::new(number).unwrap_or(SeqNr::MAX));
    Ok(match envelope {
        Some(envelope) => PageItem::Event(stored_event(position, &persistence_id, to, envelope)?),
        None => PageItem::Deleted {
            offset: Offset::of_position(position),
            persistence_id,
            from: SeqNr::FIRST,
            to,
        },
    })
}

fn stored_event(
    position: u64,
    id: &PersistenceId,
    number: SeqNr,
    bytes: &[u8],
) -> Result<StoredEvent, Failure> {
    let bytes = bytes.to_vec().into();
    let envelope =
        Envelope::decode_as(&bytes, id, number).map_err(|error| JournalError::corrupt(id, number, error))?;
    Ok(StoredEvent { offset: Offset::of_position(position), envelope, bytes })
}

/// An id as it is stored.
pub(crate) fn persistence_id(stored: &str) -> Result<PersistenceId, Failure> {
    PersistenceId::parse(stored).map_err(|error| {
        let reason = format!("{stored:?} stands where a persistence id belongs: {error}");
        JournalError::Corrupt { persistence_id: None, seq_nr: None, reason }.into()
    })
}

/// An event's tags, each once.
fn labels(event: &Envelope) -> Vec<&str> {
    event.tags.iter().map(Tag::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

fn missing(id: &PersistenceId, number: SeqNr) -> JournalError {
    JournalError::missing_event(id, number, "the head is behind it")
}

fn row_of(head: &Head, tombstone: u64) -> StreamRow {
    let Head { seq_nr, token, deleted_to, mark, .. } = head;
    let mark = mark.map(|mark| *mark.as_bytes());
    (seq_nr.get(), token.epoch.0, token.activation, deleted_to.get(), tombstone, mark)
}

/// How many events of a replay are in memory at a time.
const REPLAY_PAGE: usize = 256;
