use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::marks;
use crate::{Epoch, Head, PersistenceId, SeqNr, Token};

/// The row of an id: where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// The row's number, which never changes.
    pub(super) id: i64,
    pub(super) head: Head,
}

impl Stream {
    pub(super) fn find(conn: &Connection, id: &PersistenceId) -> rusqlite::Result<Option<Self>> {
        let mut find = conn.prepare_cached(Self::FIND)?;
        Self::find_with(&mut find, id)
    }

    /// The head is the number of the newest event, which is never taken out. So an append writes no row but its
    /// events'; what the row knew of the head when it was last written tells whether events are missing.
    pub(super) const FIND: &'static str = "\
        SELECT id, max(known_head, coalesce((SELECT max(seq) FROM events WHERE stream = streams.id), 0)),
            epoch, activation, deleted_to,
            (SELECT substr(marks, 1 + 33 * ((streams.id - 1) % 120), 33) FROM mark_blocks
             WHERE block = (streams.id - 1) / 120)
        FROM streams WHERE persistence_id = ?";

    /// The same with the statement at hand, for many ids.
    pub(super) fn find_with(find: &mut Statement<'_>, id: &PersistenceId) -> rusqlite::Result<Option<Self>> {
        find.query_row([id.as_str()], |row| {
            let token = Token::new(Epoch(unsigned(row, 2)?), unsigned(row, 3)?);
            let head = Head {
                seq_nr: seq_nr(row, 1)?,
                token,
                deleted_to: seq_nr(row, 4)?,
                mark: marks::read(row, 5)?,
                ..Head::EMPTY
            };
            Ok(Self { id: row.get(0)?, head })
        })
        .optional()
    }

    pub(super) fn insert(conn: &Connection, id: &PersistenceId, head: Head) -> rusqlite::Result<Self> {
        conn.prepare_cached(
            "INSERT INTO streams (persistence_id, slice, known_head, epoch, activation, deleted_to) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .insert(params![
            id.as_str(),
            id.slice().number(),
            stored_seq_nr(head.seq_nr),
            stored(head.token.epoch.0),
            stored(head.token.activation),
            stored_seq_nr(head.deleted_to),
        ])
        .map(|id| Self { id, head })
    }

    pub(super) fn update(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "UPDATE streams SET known_head = ?, epoch = ?, activation = ?, deleted_to = ? WHERE id = ?",
        )?
        .execute(params![
            stored_seq_nr(self.head.seq_nr),
            stored(self.head.token.epoch.0),
            stored(self.head.token.activation),
            stored_seq_nr(self.head.deleted_to),
            self.id,
        ])
        .map(drop)
    }
}

/// SQLite has signed numbers only. Tokens are compared here and never in SQL, so the bits may be stored as they are.
fn stored(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn stored_seq_nr(seq_nr: SeqNr) -> i64 {
    stored(seq_nr.get())
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

pub(super) fn seq_nr(row: &Row<'_>, column: usize) -> rusqlite::Result<SeqNr> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .ok()
        .and_then(SeqNr::new)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A persistence id as it was stored; one that breaks the rules is a damaged file.
pub(super) fn persistence_id(row: &Row<'_>, column: usize) -> rusqlite::Result<PersistenceId> {
    let text = row.get_ref(column)?.as_str()?;
    PersistenceId::parse(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
