use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use bytes::BytesMut;
use rusqlite::{CachedStatement, Connection, Rows, params};

use super::offset;
use super::stream::{persistence_id, seq_nr};
use crate::envelope::Manifests;
use crate::{JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent, Tag};

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
    let mut reading = Reading::of(conn, limit)?;
    while let Some(row) = rows.next()? {
        let (ordering, stream, seq_nr) = (row.get(0)?, row.get(1)?, seq_nr(row, 2)?);
        if let Err(error) = reading.take(ordering, stream, seq_nr, row.get_ref(3)?.as_blob()?)? {
            return Ok(Err(error));
        }
    }
    if let Err(error) = reading.decode() {
        return Ok(Err(error));
    }
    let items = reading.items;
    let complete_to = match items.last() {
        Some(last) if items.len() == limit => last.offset(),
        None if limit == 0 => after,
        _ => after.max(end(conn)?),
    };
    Ok(Ok(Page { items, complete_to }))
}

/// Rows on their way into a page.
struct Reading<'a> {
    items: Vec<PageItem>,
    rows: Vec<Row>,
    /// The bytes of these rows, one behind the other: one allocation.
    bytes: BytesMut,
    ids: HashMap<i64, PersistenceId>,
    id_of: CachedStatement<'a>,
    manifests: Manifests,
}

struct Row {
    ordering: i64,
    id: PersistenceId,
    seq_nr: SeqNr,
    bytes: Range<usize>,
}

impl<'a> Reading<'a> {
    fn of(conn: &'a Connection, limit: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            items: Vec::with_capacity(limit.min(ROWS_EXPECTED)),
            rows: Vec::new(),
            bytes: BytesMut::new(),
            ids: HashMap::new(),
            id_of: conn.prepare_cached("SELECT persistence_id FROM streams WHERE id = ?")?,
            manifests: Manifests::default(),
        })
    }

    fn take(
        &mut self,
        ordering: i64,
        stream: i64,
        seq_nr: SeqNr,
        bytes: &[u8],
    ) -> rusqlite::Result<Result<(), JournalError>> {
        let id = match self.ids.entry(stream) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let id = self.id_of.query_row([stream], |row| persistence_id(row, 0))?;
                place.insert(id).clone()
            }
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.rows.push(Row { ordering, id, seq_nr, bytes: start..self.bytes.len() });
        Ok(if self.bytes.len() < BYTES_TOGETHER { Ok(()) } else { self.decode() })
    }

    /// Makes items of the rows that were taken.
    fn decode(&mut self) -> Result<(), JournalError> {
        let more = BytesMut::with_capacity(self.bytes.len().min(2 * BYTES_TOGETHER));
        let all = std::mem::replace(&mut self.bytes, more).freeze();
        for Row { ordering, id, seq_nr, bytes } in self.rows.drain(..) {
            let offset = offset(ordering);
            if bytes.is_empty() {
                let (from, to) = (SeqNr::FIRST, seq_nr);
                self.items.push(PageItem::Deleted { offset, persistence_id: id, from, to });
                continue;
            }
            let bytes = all.slice(bytes);
            let envelope = self
                .manifests
                .decode(&bytes, &id, seq_nr)
                .map_err(|error| JournalError::corrupt(&id, seq_nr, error))?;
            self.items.push(PageItem::Event(StoredEvent { offset, envelope, bytes }));
        }
        Ok(())
    }
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

/// They are kept as long as any of their events is.
const BYTES_TOGETHER: usize = 32 * 1024;
const ROWS_EXPECTED: usize = 1_024;
