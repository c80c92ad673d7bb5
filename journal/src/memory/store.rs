use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use super::log::{Log, Row};
use crate::encoded_write::{EncodedEvent, EncodedKind, EncodedWrite};
use crate::{
    Envelope, Gate, GatedCall, Head, JournalError, MarkChange, NotStored, Offset, Page, PageItem,
    PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent, Tag, Token,
};

/// All events, and where each id stands.
#[derive(Debug, Default)]
pub(super) struct Store {
    streams: HashMap<PersistenceId, Stream>,
    /// The keys of `streams`, in order.
    ids: BTreeSet<PersistenceId>,
    log: Log,
    /// What the record of the gate says.
    pub(super) gate: Option<Gate>,
}

#[derive(Debug)]
struct Stream {
    head: Head,
    /// Positions of the events `deleted_to + 1 ..= head`.
    positions: VecDeque<u64>,
    /// Position of the tombstone of the events up to `deleted_to`.
    tombstone: Option<u64>,
}

impl Store {
    /// Decides and stores a list, in order.
    pub(super) fn write(&mut self, writes: Vec<EncodedWrite>) -> Vec<Result<Head, JournalError>> {
        let mut not_stored = NotStored::new();
        let mut answers = Vec::with_capacity(writes.len());
        answers.extend(writes.into_iter().map(|EncodedWrite { persistence_id: id, token, kind, .. }| {
            if let Some(error) = not_stored.earlier_of(&id, token) {
                return Err(error.clone());
            }
            let answer = self.decide(&id, token, kind);
            if let Err(error) = &answer {
                not_stored.remember(&id, token, error);
            }
            answer
        }));
        answers
    }

    fn decide(&mut self, id: &PersistenceId, token: Token, kind: EncodedKind) -> Result<Head, JournalError> {
        if let EncodedKind::Append { events: Err(error), .. } = kind {
            return Err(error);
        }
        self.pass_gate(kind.gated())?;
        let head = self.head(id);
        if head.token > token {
            return Err(JournalError::outranked(id, token, head.token));
        }
        match kind {
            EncodedKind::Append { expected, .. } if expected != head.seq_nr => {
                Err(JournalError::Conflict { persistence_id: id.clone(), expected, head: head.seq_nr })
            }
            EncodedKind::Append { events, mark, .. } => {
                let events = events?;
                if let Some(change) = mark {
                    self.mark(id, head, *change)?;
                }
                Ok(self.append(id, token, events))
            }
            EncodedKind::Claim => {
                let stream = self.stream(id);
                stream.head.token = token;
                Ok(stream.head)
            }
            EncodedKind::Verify if head.token == token => Ok(head),
            EncodedKind::Mark(change) if head.token == token => self.mark(id, head, change),
            EncodedKind::Verify | EncodedKind::Mark(_) => Err(JournalError::outranked(id, token, head.token)),
        }
    }

    fn mark(&mut self, id: &PersistenceId, head: Head, change: MarkChange) -> Result<Head, JournalError> {
        if head.mark != change.from {
            let (persistence_id, seq_nr) = (id.clone(), head.seq_nr);
            return Err(JournalError::Conflict { persistence_id, expected: seq_nr, head: seq_nr });
        }
        let stream = self.stream(id);
        stream.head.mark = Some(change.to);
        Ok(stream.head)
    }

    fn pass_gate(&self, call: GatedCall) -> Result<(), JournalError> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.check(call))
    }

    fn append(&mut self, id: &PersistenceId, token: Token, events: Vec<EncodedEvent>) -> Head {
        let slice = id.slice();
        // Not `self.stream`: it borrows all of the store.
        if !self.streams.contains_key(id) {
            self.stream(id);
        }
        let Some(stream) = self.streams.get_mut(id) else { return Head::EMPTY };
        for EncodedEvent { bytes, tags } in events {
            let seq_nr = stream.head.seq_nr.next();
            let row = Row { id: id.clone(), slice, seq_nr, tags, event: Some(bytes) };
            stream.positions.push_back(self.log.push(row));
            stream.head.seq_nr = seq_nr;
        }
        stream.head.token = token;
        stream.head
    }

    fn stream(&mut self, id: &PersistenceId) -> &mut Stream {
        if !self.streams.contains_key(id) {
            self.ids.insert(id.clone());
        }
        self.streams.entry(id.clone()).or_insert_with(|| Stream {
            head: Head::EMPTY,
            positions: VecDeque::new(),
            tombstone: None,
        })
    }

    pub(super) fn head(&self, id: &PersistenceId) -> Head {
        self.streams.get(id).map_or(Head::EMPTY, |stream| stream.head)
    }

    /// Puts one tombstone in the place of the last deleted event; it carries the tags of all that were deleted, so that
    /// a reader by any of them meets it.
    pub(super) fn delete_to(&mut self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.pass_gate(GatedCall::Store)?;
        let head = self.head(id);
        if to > head.seq_nr {
            let reason = format!("cannot delete up to {to:?}, the head is {:?}", head.seq_nr);
            return Err(JournalError::rejected(id, reason));
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let Ok(count) = usize::try_from(to.get().saturating_sub(head.deleted_to.get())) else {
            return Ok(());
        };
        let Some(&last) = count.checked_sub(1).and_then(|index| stream.positions.get(index)) else {
            return Ok(());
        };
        let deleted = stream.tombstone.into_iter().chain(stream.positions.drain(..count));
        let mut tags = BTreeSet::new();
        for position in deleted {
            if position == last {
                continue;
            }
            tags.extend(self.log.take(position).into_iter().flat_map(|row| row.tags));
        }
        if let Some(row) = self.log.get_mut(last) {
            tags.extend(row.tags.drain(..));
            row.tags = tags.into_iter().collect();
            row.event = None;
        }
        stream.tombstone = Some(last);
        stream.head.deleted_to = to;
        Ok(())
    }

    pub(super) fn replace(
        &mut self,
        old: &StoredEvent,
        bytes: Bytes,
        tags: Vec<Tag>,
    ) -> Result<bool, JournalError> {
        self.pass_gate(GatedCall::Store)?;
        let event = &old.envelope;
        let position = self.position(&event.persistence_id, event.seq_nr);
        let Some(row) = position.and_then(|position| self.log.get_mut(position)) else { return Ok(false) };
        let unchanged = row.event.as_ref() == Some(&old.bytes);
        if unchanged {
            row.event = Some(bytes);
            row.tags = tags;
        }
        Ok(unchanged)
    }

    fn position(&self, id: &PersistenceId, seq_nr: SeqNr) -> Option<u64> {
        let stream = self.streams.get(id)?;
        let index = seq_nr.get().checked_sub(stream.head.deleted_to.get() + 1)?;
        stream.positions.get(usize::try_from(index).ok()?).copied()
    }

    /// Reads the next items of a range and cuts them off; empty at its end.
    pub(super) fn replay_page(&self, rest: &mut ReplayRange) -> Result<VecDeque<Replayed>, JournalError> {
        let mut page = VecDeque::new();
        let deleted_to = self.head(&rest.persistence_id).deleted_to.min(rest.to);
        if rest.from <= deleted_to {
            page.push_back(Replayed::Deleted { from: rest.from, to: deleted_to });
            rest.from = deleted_to.next();
        }
        while page.len() < REPLAY_PAGE && rest.limit > 0 && rest.from <= rest.to {
            let Some(position) = self.position(&rest.persistence_id, rest.from) else { break };
            let Some(event) = self.log.get(position).and_then(|row| stored_event(position, row)) else {
                break;
            };
            page.push_back(Replayed::Event(event?));
            rest.from = rest.from.next();
            rest.limit -= 1;
        }
        Ok(page)
    }

    /// The rows of interest behind an offset. A row is pushed under the lock that gives it its position, so that nothing
    /// can appear at or before the end.
    pub(super) fn page(
        &self,
        after: Offset,
        limit: usize,
        wanted: impl Fn(&Row) -> bool,
    ) -> Result<Page, JournalError> {
        let rows = self.log.after(after.minor).filter(|(_, row)| wanted(row)).take(limit);
        let items = rows.map(|(position, row)| page_item(position, row)).collect::<Result<Vec<_>, _>>()?;
        let complete_to = match items.last() {
            Some(last) if items.len() == limit => last.offset(),
            None if limit == 0 => after,
            _ => after.max(Offset::of_position(self.log.end())),
        };
        Ok(Page { items, complete_to })
    }

    pub(super) fn persistence_ids(&self, after: Option<&PersistenceId>, limit: usize) -> Vec<PersistenceId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ids.range((from, Bound::Unbounded)).take(limit).cloned().collect()
    }
}

fn page_item(position: u64, row: &Row) -> Result<PageItem, JournalError> {
    match stored_event(position, row) {
        Some(event) => event.map(PageItem::Event),
        None => Ok(PageItem::Deleted {
            offset: Offset::of_position(position),
            persistence_id: row.id.clone(),
            from: SeqNr::FIRST,
            to: row.seq_nr,
        }),
    }
}

/// The event of a row; `None` for a tombstone.
fn stored_event(position: u64, row: &Row) -> Option<Result<StoredEvent, JournalError>> {
    let bytes = row.event.as_ref()?;
    let event = Envelope::decode_as(bytes, &row.id, row.seq_nr)
        .map(|envelope| StoredEvent { offset: Offset::of_position(position), envelope, bytes: bytes.clone() })
        .map_err(|error| JournalError::corrupt(&row.id, row.seq_nr, error));
    Some(event)
}

/// How many items of a replay are read under one lock.
const REPLAY_PAGE: usize = 256;
