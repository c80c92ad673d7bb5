use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, Statement, params};

use super::stream::{Stream, stored_seq_nr};
use crate::{Head, JournalError, Limits, NotStored, PersistenceId, SeqNr, Tag, Write};

/// An entry of a list, made ready before it comes to the thread that writes.
pub(super) struct EncodedWrite {
    write: Write,
    /// An append's events as bytes, or why the entry is refused as it is.
    events: Result<Vec<(Bytes, Vec<Tag>)>, JournalError>,
}

impl EncodedWrite {
    pub(super) fn new(mut write: Write, limits: Limits) -> Self {
        let events = match &mut write {
            Write::Append(append) => append.check(limits).map(|()| {
                std::mem::take(&mut append.events)
                    .into_iter()
                    .map(|event| (event.encode(), event.tags))
                    .collect()
            }),
            Write::Claim { .. } | Write::Verify { .. } => Ok(Vec::new()),
        };
        Self { write, events }
    }
}

/// Decides and stores a list, in order, inside a transaction that holds the write lock.
pub(super) fn write(
    conn: &Connection,
    writes: Vec<EncodedWrite>,
) -> rusqlite::Result<Vec<Result<Head, JournalError>>> {
    let mut list = List {
        conn,
        find: conn.prepare_cached(Stream::FIND)?,
        insert: conn
            .prepare_cached("INSERT INTO events (stream, seq, slice, envelope) VALUES (?, ?, ?, ?)")?,
        streams: HashMap::with_capacity(writes.len()),
    };
    let mut not_stored = NotStored::new();
    let mut answers = Vec::with_capacity(writes.len());
    for EncodedWrite { write, events } in writes {
        let answer = match (not_stored.earlier(&write), events) {
            (Some(error), _) => Err(error.clone()),
            (None, Err(error)) => Err(error),
            (None, Ok(events)) => list.decide(&write, &events)?,
        };
        if let Err(error) = &answer {
            not_stored.remember(write.persistence_id(), write.token(), error);
        }
        answers.push(answer);
    }
    list.finish()?;
    Ok(answers)
}

/// The ids of a list. What the first entry of an id reads stays true until the transaction ends, because nobody else can write; so
/// the row is read once and updated once, however many entries the list has for it.
struct List<'a> {
    conn: &'a Connection,
    find: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    streams: HashMap<PersistenceId, Known>,
}

struct Known {
    /// `None`: the id has no row.
    stream: Option<Stream>,
    changed: bool,
}

impl List<'_> {
    fn decide(
        &mut self,
        write: &Write,
        events: &[(Bytes, Vec<Tag>)],
    ) -> rusqlite::Result<Result<Head, JournalError>> {
        let (id, token) = (write.persistence_id(), write.token());
        let known = match self.streams.entry(id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Known { stream: Stream::find_with(&mut self.find, id)?, changed: false })
            }
        };
        let head = known.stream.map_or(Head::EMPTY, |stream| stream.head);
        if head.token > token {
            return Ok(Err(JournalError::outranked(id, token, head.token)));
        }
        match write {
            Write::Append(append) if append.expected != head.seq_nr => Ok(Err(JournalError::Conflict {
                persistence_id: id.clone(),
                expected: append.expected,
                head: head.seq_nr,
            })),
            Write::Append(append) => {
                let head = Head { seq_nr: append.expected.plus(events.len() as u64), token, ..head };
                let stream = known.set(self.conn, id, head)?;
                insert_events(self.conn, &mut self.insert, stream, id, append.expected, events)?;
                Ok(Ok(head))
            }
            Write::Claim { .. } => {
                let head = Head { token, ..head };
                known.set(self.conn, id, head)?;
                Ok(Ok(head))
            }
            Write::Verify { .. } if head.token == token => Ok(Ok(head)),
            Write::Verify { .. } => Ok(Err(JournalError::outranked(id, token, head.token))),
        }
    }

    fn finish(self) -> rusqlite::Result<()> {
        let mut update = self.conn.prepare_cached(Stream::UPDATE)?;
        for Known { stream, changed } in self.streams.into_values() {
            if let (Some(stream), true) = (stream, changed) {
                stream.update_with(&mut update)?;
            }
        }
        Ok(())
    }
}

impl Known {
    /// Moves the head: a new id gets its row at once, a known one when the list is done.
    fn set(&mut self, conn: &Connection, id: &PersistenceId, head: Head) -> rusqlite::Result<Stream> {
        let stream = match self.stream {
            Some(stream) => {
                self.changed |= stream.head != head;
                Stream { head, ..stream }
            }
            None => Stream::insert(conn, id, head)?,
        };
        self.stream = Some(stream);
        Ok(stream)
    }
}

fn insert_events(
    conn: &Connection,
    insert: &mut Statement<'_>,
    stream: Stream,
    id: &PersistenceId,
    before: SeqNr,
    events: &[(Bytes, Vec<Tag>)],
) -> rusqlite::Result<()> {
    let slice = id.slice().number();
    let mut seq_nr = before;
    for (envelope, tags) in events {
        seq_nr = seq_nr.next();
        let ordering = insert.insert(params![stream.id, stored_seq_nr(seq_nr), slice, envelope.as_ref()])?;
        insert_tags(conn, ordering, tags)?;
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
