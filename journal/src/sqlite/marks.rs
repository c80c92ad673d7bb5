//! The marks of ids: each once in the file, many beside one another, so that a commit of many ids writes few pages.
//!
//! ```text
//!  block n, a row:  ┌──────────────┬──────────────┬───┐     stream n * 120 + 1, + 2, … + 120
//!                   │ 1 │ mark, 32 │ 0 │ zeros    │ … │     0: the id has none
//!                   └──────────────┴──────────────┴───┘
//! ```
//!
//! They are not in the rows of the events that they are about: whoever takes the newest events out leaves the mark, and is found.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::Mark;

/// Stores the marks of rows of `streams`; of several for one row the last.
pub(super) fn put(conn: &Connection, mut marks: Vec<(i64, Mark)>) -> rusqlite::Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    // Stable, so that the last one of a row is the newest.
    marks.sort_by_key(|(stream, _)| *stream);
    let mut find = conn.prepare_cached("SELECT marks FROM mark_blocks WHERE block = ?")?;
    for of_block in marks.chunk_by(|(one, _), (next, _)| block(*one) == block(*next)) {
        let block = block(of_block[0].0);
        let known = find.query_row([block], |row| Ok(row.get_ref(0)?.as_blob()?.to_vec())).optional()?;
        let sql = match known {
            Some(_) => "UPDATE mark_blocks SET marks = ?2 WHERE block = ?1",
            None => "INSERT INTO mark_blocks (block, marks) VALUES (?1, ?2)",
        };
        let mut bytes = known.unwrap_or_default();
        bytes.resize(SLOT * SLOTS, 0);
        for (stream, mark) in of_block {
            let at = slot(*stream) * SLOT;
            bytes[at] = IS_SET;
            bytes[at + 1..at + SLOT].copy_from_slice(mark.as_bytes());
        }
        conn.prepare_cached(sql)?.execute(params![block, bytes])?;
    }
    Ok(())
}

/// A mark, from the slot that [`Stream::FIND`](super::stream::Stream::FIND) reads.
pub(super) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Mark>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    match bytes.split_first() {
        None | Some((0, _)) => Ok(None),
        Some((_, mark)) => mark.try_into().map(|mark| Some(Mark::from_bytes(mark))).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
        }),
    }
}

fn block(stream: i64) -> i64 {
    (stream - 1).div_euclid(SLOTS as i64)
}

fn slot(stream: i64) -> usize {
    // Below the number of slots.
    usize::try_from((stream - 1).rem_euclid(SLOTS as i64)).unwrap_or_default()
}

/// A block is a page of 4 KiB. `FIND` has the same numbers.
const SLOTS: usize = 120;
const SLOT: usize = 1 + Mark::BYTES;
const IS_SET: u8 = 1;
