//! An id's mark lies in the row of its newest event, which is written anyway; that of an id without events in a table of its own.

use rusqlite::{Connection, params};

use crate::Mark;

/// Changes the mark of a row of `streams` that gets no event.
pub(super) fn put(conn: &Connection, stream: i64, mark: Mark) -> rusqlite::Result<()> {
    let mark = mark.as_bytes().as_slice();
    let newest = conn
        .prepare_cached(
            "UPDATE events SET mark = ?2
             WHERE ordering = (SELECT ordering FROM events WHERE stream = ?1 ORDER BY seq DESC LIMIT 1)",
        )?
        .execute(params![stream, mark])?;
    if newest == 0 {
        conn.prepare_cached("INSERT OR REPLACE INTO marks (stream, mark) VALUES (?, ?)")?
            .execute(params![stream, mark])?;
    }
    Ok(())
}
