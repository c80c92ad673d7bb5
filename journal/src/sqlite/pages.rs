use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use rusqlite::{Connection, Rows, params};

use super::offset;
use super::replay::stored_event;
use super::stream::{persistence_id, seq_nr};
use crate::envelope::Sequence;
use crate::{JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, Tag};

type Found = rusqlite::Result<Result<Page, JournalError>>;

pub(super) fn by_tag(conn: &Connection, tag: &Tag, after: Offset, limit: usize) -> Found {
    let mut statement = conn.prepare_cached(
        "SELECT e.ordering, e.stream, e.seq, e.envelope
         FROM event_tags t CROSS JOIN events e ON e.ordering = t.ordering
         WHERE t.tag = ? AND t.ordering > ? ORDER BY t.ordering LIMIT ?",
    )?;
    let rows = statement.query(params![tag.as_str(), position(after), rows_at_most(limit)])?;
    page(conn, rows, after, limit)
}

pub(super) fn by_slice(conn: &Connection, slices: SliceRange, after: Offset, limit: usize) -> Found {
    // Without an index by slice, which every event would pay for: the rows of other slices are passed over.
    let mut statement = conn.prepare_cached(
        "SELECT ordering, stream, seq, envelope FROM events
         WHERE ordering > ? AND slice BETWEEN ? AND ? ORDER BY ordering LIMIT ?",
    )?;
    let (first, last) = (slices.first().number(), slices.last().number());
    let rows = statement.query(params![position(after), first, last, rows_at_most(limit)])?;
    page(conn, rows, after, limit)
}

pub(super) fn persistence_ids(
    conn: &Connection,
    after: Option<&PersistenceId>,
    limit: usize,
) -> rusqlite::Result<Vec<PersistenceId>> {
    conn.prepare_cached(
        "SELECT persistence_id FROM streams WHERE persistence_id > ? ORDER BY persistence_id LIMIT ?",
    )?
    .query_map(params![after.map_or("", PersistenceId::as_str), rows_at_most(limit)], |row| {
        persistence_id(row, 0)
    })?
    .collect()
}

/// Rows of `ordering, stream, seq, envelope` as a page. SQLite has one writer at a time and commits in the order
/// of `ordering`, so a reader's transaction sees all that will ever be at or below the highest row that it sees.
fn page(conn: &Connection, mut rows: Rows<'_>, after: Offset, limit: usize) -> Found {
    let mut items = Vec::new();
    let mut ids: HashMap<i64, (PersistenceId, Sequence)> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (ordering, seq_nr) = (row.get(0)?, seq_nr(row, 2)?);
        let (id, sequence) = match ids.entry(row.get(1)?) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let id = id_of(conn, *place.key())?;
                let sequence = Sequence::of(&id);
                place.insert((id, sequence))
            }
        };
        let bytes = row.get_ref(3)?.as_blob()?;
        if bytes.is_empty() {
            items.push(PageItem::Deleted {
                offset: offset(ordering),
                persistence_id: id.clone(),
                from: SeqNr::FIRST,
                to: seq_nr,
            });
        } else {
            match stored_event(ordering, sequence, id, seq_nr, Bytes::copy_from_slice(bytes)) {
                Ok(event) => items.push(PageItem::Event(event)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    let complete_to = match items.last() {
        Some(last) if items.len() == limit => last.offset(),
        None if limit == 0 => after,
        _ => after.max(end(conn)?),
    };
    Ok(Ok(Page { items, complete_to }))
}

fn id_of(conn: &Connection, stream: i64) -> rusqlite::Result<PersistenceId> {
    conn.prepare_cached("SELECT persistence_id FROM streams WHERE id = ?")?
        .query_row([stream], |row| persistence_id(row, 0))
}

/// The offset of the newest row.
fn end(conn: &Connection) -> rusqlite::Result<Offset> {
    conn.prepare_cached("SELECT coalesce(max(ordering), 0) FROM events")?
        .query_row((), |row| row.get(0))
        .map(offset)
}

fn position(after: Offset) -> i64 {
    i64::try_from(after.minor).unwrap_or(i64::MAX)
}

fn rows_at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
