use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::{Bytes, BytesMut};
use futures::future::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::readers::stopped;
use super::stream::{Stream, seq_nr, stored_seq_nr};
use super::{Database, offset};
use crate::envelope::Sequence;
use crate::{JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

/// Streams a range page by page. Each page is a transaction of its own; while the consumer works on one, the next is read.
pub(super) fn replay(database: Database, range: ReplayRange) -> BoxStream<'static, Item> {
    let rest = Rest { from: range.from.max(SeqNr::FIRST), to: range.to, limit: range.limit, stored: None };
    let (id, sequence) = (range.persistence_id.clone(), Sequence::sharing(range.persistence_id));
    Replay { database, id, sequence, next: Next::Rest(rest), page: Page::default() }.boxed()
}

type Item = Result<Replayed, JournalError>;

struct Replay {
    database: Database,
    id: PersistenceId,
    sequence: Sequence,
    next: Next,
    page: Page,
}

enum Next {
    /// To be read when somebody asks.
    Rest(Rest),
    /// On its way, also when nobody polls.
    Reading(oneshot::Receiver<Result<Read, JournalError>>),
    /// The page in hand is the last.
    Nothing,
}

/// What is left of the range.
#[derive(Debug, Clone, Copy)]
struct Rest {
    from: SeqNr,
    to: SeqNr,
    limit: u64,
    /// The head when the replay began: what came later is not part of it.
    stored: Option<SeqNr>,
}

struct Read {
    page: Page,
    /// `None`: this was the last page.
    rest: Option<Rest>,
}

/// A piece of the range as it lies in the file. Whoever works on the events decodes them, each when it is asked for.
#[derive(Default)]
struct Page {
    /// What was deleted, before all events.
    deleted: Option<Replayed>,
    /// Offset, number, and where the bytes are.
    rows: vec::IntoIter<(i64, SeqNr, Range<usize>)>,
    /// The bytes of all rows, one behind the other: one allocation.
    bytes: Bytes,
    /// Why nothing follows the events.
    error: Option<JournalError>,
}

impl Page {
    fn next(&mut self, id: &PersistenceId, sequence: &mut Sequence) -> Option<Item> {
        if let Some(deleted) = self.deleted.take() {
            return Some(Ok(deleted));
        }
        if let Some((ordering, seq_nr, range)) = self.rows.next() {
            let event = stored_event(ordering, sequence, id, seq_nr, self.bytes.slice(range));
            return Some(event.map(Replayed::Event));
        }
        self.error.take().map(Err)
    }

    /// The memory of the bytes, to be used again when nobody kept an event.
    fn memory(self) -> BytesMut {
        let mut memory = self.bytes.try_into_mut().unwrap_or_default();
        memory.clear();
        memory
    }
}

impl futures::Stream for Replay {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let replay = self.get_mut();
        loop {
            if let Some(item) = replay.page.next(&replay.id, &mut replay.sequence) {
                if item.is_err() {
                    (replay.page, replay.next) = (Page::default(), Next::Nothing);
                }
                return Poll::Ready(Some(item));
            }
            match &mut replay.next {
                Next::Nothing => return Poll::Ready(None),
                &mut Next::Rest(rest) => {
                    replay.next = replay.read(rest, BytesMut::new());
                }
                Next::Reading(reading) => {
                    match ready!(reading.poll_unpin(context)).unwrap_or_else(|_| Err(stopped())) {
                        Ok(Read { page, rest }) => {
                            let worked_on = std::mem::replace(&mut replay.page, page);
                            replay.next =
                                rest.map_or(Next::Nothing, |rest| replay.read(rest, worked_on.memory()));
                        }
                        Err(error) => {
                            replay.next = Next::Nothing;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

impl Replay {
    fn read(&self, rest: Rest, memory: BytesMut) -> Next {
        let id = self.id.clone();
        Next::Reading(self.database.read_now(move |conn| read_page(conn, &id, rest, memory)))
    }
}

fn read_page(
    conn: &Connection,
    id: &PersistenceId,
    mut rest: Rest,
    memory: BytesMut,
) -> rusqlite::Result<Read> {
    let mut page = Page::default();
    let Some(stream) = Stream::find(conn, id)? else { return Ok(Read { page, rest: None }) };
    rest.to = rest.to.min(*rest.stored.get_or_insert(stream.head.seq_nr));
    // Also what was deleted since the last page was read.
    let deleted_to = stream.head.deleted_to.min(rest.to);
    if rest.from <= deleted_to {
        page.deleted = Some(Replayed::Deleted { from: rest.from, to: deleted_to });
        rest.from = deleted_to.next();
    }
    if rest.from > rest.to || rest.limit == 0 {
        return Ok(Read { page, rest: None });
    }
    if let Err(found) = read_rows(conn, stream, &mut rest, memory, &mut page)? {
        page.error = Some(JournalError::missing_event(id, rest.from, found));
        return Ok(Read { page, rest: None });
    }
    let more = rest.from <= rest.to && rest.limit > 0;
    Ok(Read { page, rest: more.then_some(rest) })
}

/// Reads events, which must be numbered without a gap, and cuts them off the range; `Err` when one is missing, with what is there.
fn read_rows(
    conn: &Connection,
    stream: Stream,
    rest: &mut Rest,
    mut bytes: BytesMut,
    page: &mut Page,
) -> rusqlite::Result<Result<(), String>> {
    let numbers = (rest.to.get() - rest.from.get()).saturating_add(1).min(rest.limit).min(PAGE_EVENTS);
    let expected = usize::try_from(numbers).unwrap_or_default();
    let last = rest.from.previous().plus(numbers);
    let mut statement = conn.prepare_cached(
        "SELECT ordering, seq, envelope FROM events WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq",
    )?;
    let mut found = statement.query(params![stream.id, stored_seq_nr(rest.from), stored_seq_nr(last)])?;
    let (mut rows, mut read) = (Vec::with_capacity(expected), Ok(()));
    while rows.len() < expected && bytes.len() < PAGE_BYTES {
        let Some(row) = found.next()? else {
            // The range goes up to the head at most, so every number of it has a row.
            read = Err(format!("the head is {:?}", stream.head.seq_nr));
            break;
        };
        let (start, seq_nr, envelope) = (bytes.len(), seq_nr(row, 1)?, row.get_ref(2)?.as_blob()?);
        if seq_nr != rest.from {
            read = Err(format!("{seq_nr:?} follows"));
            break;
        }
        if start == 0 {
            // Events of one id are about equally long.
            bytes.reserve((envelope.len() * expected).min(PAGE_BYTES) + envelope.len());
        }
        bytes.extend_from_slice(envelope);
        rows.push((row.get(0)?, seq_nr, start..bytes.len()));
        rest.from = rest.from.next();
        rest.limit -= 1;
    }
    (page.rows, page.bytes) = (rows.into_iter(), bytes.freeze());
    Ok(read)
}

pub(super) fn stored_event(
    ordering: i64,
    sequence: &mut Sequence,
    id: &PersistenceId,
    seq_nr: SeqNr,
    bytes: Bytes,
) -> Result<StoredEvent, JournalError> {
    let envelope =
        sequence.decode(&bytes, seq_nr).map_err(|error| JournalError::corrupt(id, seq_nr, error))?;
    Ok(StoredEvent { offset: offset(ordering), envelope, bytes })
}

/// A page keeps its memory as long as any of its events is kept, so it is small.
const PAGE_EVENTS: u64 = 1_024;
const PAGE_BYTES: usize = 256 * 1024;
