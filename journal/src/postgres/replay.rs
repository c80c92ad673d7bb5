use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;

use super::replay_pages::Wanted;
use super::{Database, replay_pages};
use crate::envelope::Sequence;
use crate::{JournalError, Offset, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

type Item = Result<Replayed, JournalError>;

/// Streams a range page by page, each one statement. While the consumer works on one, the next is read.
pub(super) fn replay(database: Database, range: ReplayRange) -> BoxStream<'static, Item> {
    let rest = Rest {
        from: range.from.max(SeqNr::FIRST),
        to: range.to,
        limit: range.limit,
        stored: None,
        page: None,
    };
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
    /// How many events the next page may have; `None` where nobody knows how large they are.
    page: Option<u64>,
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
    let wanted = Wanted {
        id: id.clone(),
        from: rest.from,
        to: rest.to.min(rest.stored.unwrap_or(SeqNr::MAX)),
        most: rest.limit.min(rest.page.unwrap_or(u64::MAX)),
    };
    let found = match rest.page {
        None => replay_pages::first(database, wanted).await?,
        Some(_) => replay_pages::next(database, &wanted).await?,
    };
    let mut page = Page { rows: VecDeque::new(), ends_with: None, rest: None };
    let Some(piece) = found else { return Ok(page) };
    rest.page = (!piece.cut).then(|| replay_pages::next_most(&piece));
    page.rows.reserve(piece.events.len() + 1);
    rest.to = rest.to.min(*rest.stored.get_or_insert(piece.head));
    // Also what was deleted since the last page was read.
    let deleted_to = piece.deleted_to.min(rest.to);
    if rest.from <= deleted_to {
        page.rows.push_back(Row::Deleted { from: rest.from, to: deleted_to });
        rest.from = deleted_to.next();
    }
    if rest.from > rest.to || rest.limit == 0 {
        return Ok(page);
    }
    let before = rest.from;
    for (offset, seq_nr, bytes) in piece.events {
        if seq_nr > rest.to {
            break;
        }
        if seq_nr != rest.from {
            page.ends_with = Some(JournalError::missing_event(id, rest.from, format!("{seq_nr:?} follows")));
            return Ok(page);
        }
        page.rows.push_back(Row::Event(offset, seq_nr, bytes));
        rest.from = rest.from.next();
        rest.limit -= 1;
    }
    if rest.from == before {
        // The range goes up to the head at most, so every number of it has a row.
        let head = piece.head;
        page.ends_with = Some(JournalError::missing_event(id, rest.from, format!("the head is {head:?}")));
        return Ok(page);
    }
    page.rest = (rest.from <= rest.to && rest.limit > 0).then_some(rest);
    Ok(page)
}

pub(super) fn stopped() -> JournalError {
    let reason = "the runtime shut down while the journal was read".into();
    JournalError::Unavailable { reason, source: None }
}
