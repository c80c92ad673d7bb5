use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt};
use sqlx::Row as _;
use tokio::task::JoinHandle;

use super::failure::read_failure;
use super::{Database, row, statements};
use crate::envelope::Sequence;
use crate::{JournalError, Offset, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

type Item = Result<Replayed, JournalError>;

/// Streams a range page by page, each one statement. While the consumer works on one, the next is read.
pub(super) fn replay(database: Database, range: ReplayRange) -> BoxStream<'static, Item> {
    let rest = Rest { from: range.from.max(SeqNr::FIRST), to: range.to, limit: range.limit, stored: None };
    let id = range.persistence_id;
    let sequence = Sequence::sharing(id.clone());
    let replay =
        Replay { database, id, sequence, next: Next::Rest(rest), rows: VecDeque::new(), ends_with: None };
    stream::unfold(replay, |mut replay| async move { replay.next().await.map(|item| (item, replay)) }).boxed()
}

struct Replay {
    database: Database,
    id: PersistenceId,
    sequence: Sequence,
    next: Next,
    rows: VecDeque<Row>,
    /// Why nothing follows the rows.
    ends_with: Option<JournalError>,
}

enum Next {
    /// To be read when somebody asks.
    Rest(Rest),
    /// On its way, also when nobody polls.
    Reading(Reading),
    /// The page in hand is the last.
    Nothing,
}

/// A task that is not wanted any more when it is dropped.
struct Reading(JoinHandle<Result<Page, JournalError>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
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

/// A row of a page; whoever works on the events decodes them.
enum Row {
    Deleted { from: SeqNr, to: SeqNr },
    Event(Offset, SeqNr, bytes::Bytes),
}

struct Page {
    rows: VecDeque<Row>,
    ends_with: Option<JournalError>,
    /// `None`: this was the last page.
    rest: Option<Rest>,
}

impl Replay {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                let item = self.item(row);
                if item.is_err() {
                    (self.next, self.ends_with) = (Next::Nothing, None);
                    self.rows.clear();
                }
                return Some(item);
            }
            if let Some(error) = self.ends_with.take() {
                self.next = Next::Nothing;
                return Some(Err(error));
            }
            let page = match &mut self.next {
                Next::Nothing => return None,
                &mut Next::Rest(rest) => read(&self.database, &self.id, rest).await,
                Next::Reading(reading) => (&mut reading.0).await.unwrap_or_else(|_| Err(stopped())),
            };
            match page {
                Ok(page) => {
                    (self.rows, self.ends_with) = (page.rows, page.ends_with);
                    self.next = page.rest.map_or(Next::Nothing, |rest| {
                        let (database, id) = (self.database.clone(), self.id.clone());
                        Next::Reading(Reading(tokio::spawn(async move { read(&database, &id, rest).await })))
                    });
                }
                Err(error) => {
                    self.next = Next::Nothing;
                    return Some(Err(error));
                }
            }
        }
    }

    fn item(&mut self, row: Row) -> Item {
        match row {
            Row::Deleted { from, to } => Ok(Replayed::Deleted { from, to }),
            Row::Event(offset, seq_nr, bytes) => {
                let envelope = self.sequence.decode(&bytes, seq_nr);
                let envelope = envelope.map_err(|error| JournalError::corrupt(&self.id, seq_nr, error))?;
                Ok(Replayed::Event(StoredEvent { offset, envelope, bytes }))
            }
        }
    }
}

async fn read(database: &Database, id: &PersistenceId, mut rest: Rest) -> Result<Page, JournalError> {
    let failed = |error| read_failure(database.server(), error);
    let query = || {
        sqlx::query(statements::REPLAY)
            .bind(id.as_str())
            .bind(row::stored(rest.from.get()))
            .bind(row::stored(rest.to.get().min(rest.stored.unwrap_or(SeqNr::MAX).get())))
            .bind(rest.limit.min(PAGE_EVENTS).cast_signed())
            .bind(PAGE_BYTES)
    };
    let found = database.rows(query).await?;
    let mut page = Page { rows: VecDeque::with_capacity(found.len() + 1), ends_with: None, rest: None };
    let Some(first) = found.first() else { return Ok(page) };
    let head = row::seq_nr(first, 0).map_err(failed)?;
    rest.to = rest.to.min(*rest.stored.get_or_insert(head));
    // Also what was deleted since the last page was read.
    let deleted_to = row::seq_nr(first, 1).map_err(failed)?.min(rest.to);
    if rest.from <= deleted_to {
        page.rows.push_back(Row::Deleted { from: rest.from, to: deleted_to });
        rest.from = deleted_to.next();
    }
    if rest.from > rest.to || rest.limit == 0 {
        return Ok(page);
    }
    let before = rest.from;
    for row in found.iter().filter(|row| !matches!(row.try_get::<Option<i64>, _>(5), Ok(None))) {
        let seq_nr = row::seq_nr(row, 5).map_err(failed)?;
        if seq_nr > rest.to {
            break;
        }
        if seq_nr != rest.from {
            page.ends_with = Some(JournalError::missing_event(id, rest.from, format!("{seq_nr:?} follows")));
            return Ok(page);
        }
        page.rows.push_back(Row::Event(
            row::offset(row, 2).map_err(failed)?,
            seq_nr,
            row::bytes(row, 6).map_err(failed)?,
        ));
        rest.from = rest.from.next();
        rest.limit -= 1;
    }
    if rest.from == before {
        // The range goes up to the head at most, so every number of it has a row.
        page.ends_with = Some(JournalError::missing_event(id, rest.from, format!("the head is {head:?}")));
        return Ok(page);
    }
    page.rest = (rest.from <= rest.to && rest.limit > 0).then_some(rest);
    Ok(page)
}

fn stopped() -> JournalError {
    let reason = "the runtime shut down while the journal was read".into();
    JournalError::Unavailable { reason, source: None }
}

/// A page is in memory as a whole, and one more while it is worked on.
const PAGE_EVENTS: u64 = 1_024;
const PAGE_BYTES: i64 = 1024 * 1024;
