use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Statement, params};

use super::heads::Heads;
use super::marks;
use super::stream::{Stream, stored_seq_nr};
use crate::encoded_write::{EncodedEvent, EncodedKind, EncodedWrite};
use crate::{Head, JournalError, Mark, MarkChange, NotStored, PersistenceId, SeqNr, Slice, Tag};

/// Decides and stores a list, in order, inside a transaction that holds the write lock; `not_stored` has what became of earlier
/// lists that share the transaction and belong together.
pub(super) fn write(
    conn: &Connection,
    heads: &mut Heads,
    writes: &[EncodedWrite],
    not_stored: &mut NotStored,
) -> rusqlite::Result<Vec<Result<Head, JournalError>>> {
    heads.refresh(conn)?;
    let find = conn.prepare_cached(Stream::FIND)?;
    let mut list = List { conn, heads, find, rows: Vec::with_capacity(writes.len()), marks: Vec::new() };
    let mut answers = Vec::with_capacity(writes.len());
    for write in writes {
        let answer = match not_stored.earlier_of(&write.persistence_id, write.token) {
            Some(error) => Err(error.clone()),
            None => list.decide(write)?,
        };
        if let Err(error) = &answer {
            not_stored.remember(&write.persistence_id, write.token, error);
        }
        answers.push(answer);
    }
    if !list.rows.is_empty() {
        list.heads.append();
    }
    insert_events(conn, &list.rows)?;
    marks::put(conn, list.marks)?;
    Ok(answers)
}

/// What a list decided so far. No row of its events is in the file before its end, so `heads` has to keep every id of it.
struct List<'a> {
    conn: &'a Connection,
    heads: &'a mut Heads,
    find: CachedStatement<'a>,
    rows: Vec<EventRow<'a>>,
    /// Rows of `streams` with the marks that they get, oldest first.
    marks: Vec<(i64, Mark)>,
}

/// An event that is to be inserted.
struct EventRow<'a> {
    stream: i64,
    seq_nr: SeqNr,
    slice: Slice,
    event: &'a EncodedEvent,
}

impl<'a> List<'a> {
    fn decide(&mut self, write: &'a EncodedWrite) -> rusqlite::Result<Result<Head, JournalError>> {
        let (id, token) = (&write.persistence_id, write.token);
        if let EncodedKind::Append { events: Err(error), .. } = &write.kind {
            return Ok(Err(error.clone()));
        }
        if let Err(closed) = self.heads.pass_gate(write.kind.gated()) {
            return Ok(Err(closed));
        }
        let known = self.heads.find(&mut self.find, id)?;
        let head = known.map_or(Head::EMPTY, |stream| stream.head);
        if head.token > token {
            return Ok(Err(JournalError::outranked(id, token, head.token)));
        }
        match &write.kind {
            EncodedKind::Append { expected, .. } if *expected != head.seq_nr => {
                Ok(Err(JournalError::Conflict {
                    persistence_id: id.clone(),
                    expected: *expected,
                    head: head.seq_nr,
                }))
            }
            EncodedKind::Append { expected, events, mark } => {
                let change = mark.as_deref().copied();
                let mark = match changed(id, head, change) {
                    Ok(mark) => mark,
                    Err(conflict) => return Ok(Err(conflict)),
                };
                let events = events.as_deref().unwrap_or_default();
                let head = Head { seq_nr: expected.plus(events.len() as u64), token, mark, ..head };
                let stream = self.set(id, known, head)?;
                self.marks.extend(change.map(|change| (stream.id, change.to)));
                self.append(stream, id.slice(), *expected, events);
                Ok(Ok(head))
            }
            EncodedKind::Claim => {
                let head = Head { token, ..head };
                self.set(id, known, head)?;
                Ok(Ok(head))
            }
            EncodedKind::Verify if head.token == token => Ok(Ok(head)),
            EncodedKind::Mark(change) if head.token == token => match changed(id, head, Some(*change)) {
                Ok(mark) => {
                    let head = Head { mark, ..head };
                    let stream = self.set(id, known, head)?;
                    self.marks.push((stream.id, change.to));
                    Ok(Ok(head))
                }
                Err(conflict) => Ok(Err(conflict)),
            },
            EncodedKind::Verify | EncodedKind::Mark(_) => {
                Ok(Err(JournalError::outranked(id, token, head.token)))
            }
        }
    }

    /// Moves the head. The row is written for a new id and for a new token; the events say the rest.
    fn set(&mut self, id: &PersistenceId, known: Option<Stream>, head: Head) -> rusqlite::Result<Stream> {
        let stream = match known {
            None => Stream::insert(self.conn, id, head)?,
            Some(Stream { id, head: before }) => {
                let stream = Stream { id, head };
                if before.token != head.token {
                    stream.update(self.conn)?;
                }
                stream
            }
        };
        self.heads.put(id, stream);
        Ok(stream)
    }

    fn append(&mut self, stream: Stream, slice: Slice, before: SeqNr, events: &'a [EncodedEvent]) {
        let mut seq_nr = before;
        self.rows.extend(events.iter().map(|event| {
            seq_nr = seq_nr.next();
            EventRow { stream: stream.id, seq_nr, slice, event }
        }));
    }
}

/// The mark that a change makes of an id's; a conflict where it builds on another.
fn changed(id: &PersistenceId, head: Head, change: Option<MarkChange>) -> Result<Option<Mark>, JournalError> {
    match change {
        None => Ok(head.mark),
        Some(change) if change.from == head.mark => Ok(Some(change.to)),
        Some(_) => Err(JournalError::Conflict {
            persistence_id: id.clone(),
            expected: head.seq_nr,
            head: head.seq_nr,
        }),
    }
}

/// Inserts events in their order, many with one statement where there are many.
fn insert_events(conn: &Connection, rows: &[EventRow<'_>]) -> rusqlite::Result<()> {
    let (many, rest) = rows.as_chunks::<ROWS_A_STATEMENT>();
    if !many.is_empty() {
        let mut insert = conn.prepare_cached(&INSERT_MANY)?;
        for rows in many {
            insert_with(conn, &mut insert, rows)?;
        }
    }
    let mut insert = conn.prepare_cached(INSERT_ONE)?;
    rest.chunks(1).try_for_each(|row| insert_with(conn, &mut insert, row))
}

fn insert_with(conn: &Connection, insert: &mut Statement<'_>, rows: &[EventRow<'_>]) -> rusqlite::Result<()> {
    let mut parameters = 1..;
    let mut next = || parameters.next().unwrap_or_default();
    for row in rows {
        insert.raw_bind_parameter(next(), row.stream)?;
        insert.raw_bind_parameter(next(), stored_seq_nr(row.seq_nr))?;
        insert.raw_bind_parameter(next(), row.slice.number())?;
        insert.raw_bind_parameter(next(), row.event.bytes.as_ref())?;
    }
    insert.raw_execute()?;
    // Rows of one statement are numbered one after the other: nobody else inserts.
    let last = conn.last_insert_rowid();
    for (row, ordering) in rows.iter().rev().zip((0..=last).rev()) {
        insert_tags(conn, ordering, &row.event.tags)?;
    }
    Ok(())
}

/// Labels the event at an offset; a label given twice counts once.
pub(super) fn insert_tags(conn: &Connection, ordering: i64, tags: &[Tag]) -> rusqlite::Result<()> {
    for tag in tags {
        conn.prepare_cached("INSERT OR IGNORE INTO event_tags (tag, ordering) VALUES (?, ?)")?
            .execute(params![tag.as_str(), ordering])?;
    }
    Ok(())
}

const INSERT_ONE: &str = "INSERT OR FAIL INTO events (stream, seq, slice, envelope) VALUES (?, ?, ?, ?)";
static INSERT_MANY: LazyLock<String> =
    LazyLock::new(|| format!("{INSERT_ONE}{}", ", (?, ?, ?, ?)".repeat(ROWS_A_STATEMENT - 1)));
/// From here on a longer statement gains nothing; most commits under load are as long.
const ROWS_A_STATEMENT: usize = 16;
