use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use rusqlite::{Connection, params};

use super::failure::unavailable;
use super::stream::{Stream, seq_nr, stored_seq_nr};
use super::{Database, offset};
use crate::envelope::Sequence;
use crate::{JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

/// Streams a range page by page. Each page is a transaction of its own; while the consumer works on one, the next is read.
pub(super) fn replay(database: Database, range: ReplayRange) -> BoxStream<'static, Item> {
    let rest = Rest { from: range.from.max(SeqNr::FIRST), to: range.to, limit: range.limit, stored: None };
    Replay { database, id: range.persistence_id, next: Next::Rest(rest), page: VecDeque::new() }.boxed()
}

type Item = Result<Replayed, JournalError>;

struct Replay {
    database: Database,
    id: PersistenceId,
    next: Next,
    page: VecDeque<Item>,
}

enum Next {
    /// To be read when somebody asks.
    Rest(Rest),
    /// On its way.
    Reading(BoxFuture<'static, Result<Read, JournalError>>),
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
    page: VecDeque<Item>,
    /// `None`: this was the last page.
    rest: Option<Rest>,
}

impl futures::Stream for Replay {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.page.pop_front() {
                return Poll::Ready(Some(item));
            }
            match &mut self.next {
                Next::Nothing => return Poll::Ready(None),
                &mut Next::Rest(rest) => self.next = Next::Reading(self.read(rest).boxed()),
                Next::Reading(reading) => match ready!(reading.as_mut().poll(context)) {
                    Ok(Read { page, rest }) => {
                        self.page = page;
                        self.next = rest.map_or(Next::Nothing, |rest| self.read_ahead(rest));
                    }
                    Err(error) => {
                        self.next = Next::Nothing;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
    }
}

impl Replay {
    /// Begins at once, also when nobody polls.
    fn read_ahead(&self, rest: Rest) -> Next {
        let task = tokio::spawn(self.read(rest));
        let stopped = || unavailable("the runtime shut down while events were replayed");
        Next::Reading(task.map(move |read| read.unwrap_or_else(|_| Err(stopped()))).boxed())
    }

    fn read(&self, rest: Rest) -> impl Future<Output = Result<Read, JournalError>> + Send + 'static {
        let (database, id) = (self.database.clone(), self.id.clone());
        async move { database.read(move |conn| read_page(conn, &id, rest)).await }
    }
}

fn read_page(conn: &Connection, id: &PersistenceId, mut rest: Rest) -> rusqlite::Result<Read> {
    let mut page = VecDeque::new();
    let Some(stream) = Stream::find(conn, id)? else { return Ok(Read { page, rest: None }) };
    rest.to = rest.to.min(*rest.stored.get_or_insert(stream.head.seq_nr));
    // Also what was deleted since the last page was read.
    let deleted_to = stream.head.deleted_to.min(rest.to);
    if rest.from <= deleted_to {
        page.push_back(Ok(Replayed::Deleted { from: rest.from, to: deleted_to }));
        rest.from = deleted_to.next();
    }
    if rest.from > rest.to || rest.limit == 0 {
        return Ok(Read { page, rest: None });
    }
    let events = StoredPage::read(conn, stream, &rest)?;
    let ended = events.ended;
    for event in events.decode(id, rest.from) {
        rest.from = rest.from.next();
        rest.limit -= 1;
        let failed = event.is_err();
        page.push_back(event.map(Replayed::Event));
        if failed {
            return Ok(Read { page, rest: None });
        }
    }
    if rest.from > rest.to || rest.limit == 0 {
        return Ok(Read { page, rest: None });
    }
    if ended {
        // The range goes up to the head at most, so every number of it has a row.
        let reason = format!("the event is missing, the head is {:?}", stream.head.seq_nr);
        page.push_back(Err(JournalError::corrupt(id, rest.from, reason)));
        return Ok(Read { page, rest: None });
    }
    Ok(Read { page, rest: Some(rest) })
}

/// Events of one id as they lie in the file, their bytes one behind the other: one allocation for all.
struct StoredPage {
    rows: Vec<(i64, SeqNr, Range<usize>)>,
    bytes: Vec<u8>,
    /// There are no more rows in the range.
    ended: bool,
}

impl StoredPage {
    fn read(conn: &Connection, stream: Stream, rest: &Rest) -> rusqlite::Result<Self> {
        let limit = i64::try_from(rest.limit).unwrap_or(i64::MAX).min(PAGE_EVENTS);
        let mut statement = conn.prepare_cached(
            "SELECT ordering, seq, envelope FROM events WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        )?;
        let mut rows =
            statement.query(params![stream.id, stored_seq_nr(rest.from), stored_seq_nr(rest.to), limit])?;
        let numbers = rest.to.get() - rest.from.get() + 1;
        let expected =
            usize::try_from(numbers).unwrap_or(usize::MAX).min(usize::try_from(limit).unwrap_or(0));
        let mut page = Self { rows: Vec::with_capacity(expected), bytes: Vec::new(), ended: false };
        while page.bytes.len() < PAGE_BYTES {
            let Some(row) = rows.next()? else {
                page.ended = i64::try_from(page.rows.len()).is_ok_and(|read| read < limit);
                break;
            };
            let (start, envelope) = (page.bytes.len(), row.get_ref(2)?.as_blob()?);
            if start == 0 {
                // Events of one id are about equally long.
                page.bytes.reserve((envelope.len() * expected).min(PAGE_BYTES) + envelope.len());
            }
            page.bytes.extend_from_slice(envelope);
            page.rows.push((row.get(0)?, seq_nr(row, 1)?, start..page.bytes.len()));
        }
        Ok(page)
    }

    /// The events, which must be numbered without a gap; ends after the first that cannot be read.
    fn decode(
        self,
        id: &PersistenceId,
        mut next: SeqNr,
    ) -> impl Iterator<Item = Result<StoredEvent, JournalError>> {
        let (bytes, mut sequence) = (Bytes::from(self.bytes), Sequence::of(id));
        self.rows.into_iter().map(move |(ordering, seq_nr, range)| {
            let expected = next;
            next = next.next();
            if seq_nr != expected {
                return Err(JournalError::corrupt(
                    id,
                    expected,
                    format!("the event is missing, {seq_nr:?} follows"),
                ));
            }
            stored_event(ordering, &mut sequence, id, seq_nr, bytes.slice(range))
        })
    }
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
const PAGE_EVENTS: i64 = 512;
const PAGE_BYTES: usize = 256 * 1024;
