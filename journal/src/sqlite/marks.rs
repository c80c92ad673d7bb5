//! Marks lie beside `streams`, in small rows of their own: those of many ids share a page, and a commit that moves many of them writes
//! few pages. Only who keeps marks has any.

use std::sync::LazyLock;

use rusqlite::Connection;

use crate::Mark;

/// Stores the marks of rows of `streams`; of several for one row the last.
pub(super) fn put(conn: &Connection, mut marks: Vec<(i64, Mark)>) -> rusqlite::Result<()> {
    // In the order of the table, and stable, so that the last one of a row is the newest.
    marks.sort_by_key(|(stream, _)| *stream);
    let newest: Vec<_> = marks.chunk_by(|(one, _), (next, _)| one == next).filter_map(<[_]>::last).collect();
    let (many, rest) = newest.as_chunks::<ROWS_A_STATEMENT>();
    for rows in many {
        put_with(conn, &PUT_MANY, rows)?;
    }
    rest.chunks(1).try_for_each(|row| put_with(conn, PUT_ONE, row))
}

fn put_with(conn: &Connection, sql: &str, rows: &[&(i64, Mark)]) -> rusqlite::Result<()> {
    let mut put = conn.prepare_cached(sql)?;
    let mut parameters = 1..;
    let mut next = || parameters.next().unwrap_or_default();
    for (stream, mark) in rows {
        put.raw_bind_parameter(next(), stream)?;
        put.raw_bind_parameter(next(), mark.as_bytes().as_slice())?;
    }
    put.raw_execute().map(drop)
}

const PUT_ONE: &str = "INSERT OR REPLACE INTO marks (stream, mark) VALUES (?, ?)";
static PUT_MANY: LazyLock<String> =
    LazyLock::new(|| format!("{PUT_ONE}{}", ", (?, ?)".repeat(ROWS_A_STATEMENT - 1)));
const ROWS_A_STATEMENT: usize = 16;
