//! The limits: what one thread with rusqlite makes of the same rows in the same tables, with the same pragmas and as many rows a commit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rusqlite::{Connection, params};

use super::stored::ROWS_A_COMMIT;

/// Reads all events of a file and writes others in their place.
///
/// What is written was read from a file where it was written before, so nothing is decoded or encoded.
pub(super) fn rewrite(file: &Path, rewritten: &Path) -> Result<Duration> {
    let new = envelopes(&opened(rewritten)?)?;
    let mut conn = opened(file)?;
    let began = Instant::now();
    let (mut after, mut done) = (0_i64, 0_usize);
    loop {
        let page = page(&conn, after, REWRITTEN_A_COMMIT)?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        let transaction = conn.transaction()?;
        {
            let mut update =
                transaction.prepare_cached("UPDATE events SET envelope = ?1 WHERE ordering = ?2")?;
            for (ordering, ..) in &page {
                update.execute(params![new[done], ordering])?;
                done += 1;
            }
        }
        transaction.commit()?;
    }
    let took = began.elapsed();
    ensure!(done == new.len(), "{done} of {} events were rewritten", new.len());
    Ok(took)
}

/// Reads all events of a file, inserts them into another one that has the tables, and then the rows of their ids.
pub(super) fn copy(from: &Path, to: &Path) -> Result<Duration> {
    let (source, mut target) = (opened(from)?, opened(to)?);
    let began = Instant::now();
    let mut after = 0_i64;
    loop {
        let page = page(&source, after, ROWS_A_COMMIT)?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        let transaction = target.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (ordering, stream, seq, slice, envelope) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (ordering, stream, seq, slice, envelope) in &page {
                insert.execute(params![ordering, stream, seq, slice, envelope])?;
            }
        }
        transaction.commit()?;
    }
    target.execute("ATTACH ?1 AS source", [from.to_str()])?;
    target.execute("INSERT INTO streams SELECT * FROM source.streams", ())?;
    let took = began.elapsed();
    ensure!(envelopes(&source)? == envelopes(&target)?, "the copy is another one");
    Ok(took)
}

type Row = (i64, i64, i64, i64, Vec<u8>);

fn page(conn: &Connection, after: i64, rows: u32) -> Result<Vec<Row>> {
    let mut select = conn.prepare_cached(
        "SELECT ordering, stream, seq, slice, envelope FROM events WHERE ordering > ?1 ORDER BY ordering LIMIT ?2",
    )?;
    let rows = select.query_map((after, rows), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn envelopes(conn: &Connection) -> Result<Vec<Vec<u8>>> {
    let mut select = conn.prepare("SELECT envelope FROM events ORDER BY ordering")?;
    let rows = select.query_map((), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn opened(file: &Path) -> Result<Connection> {
    let conn = Connection::open(file)?;
    crate::raw::as_annals(&conn)?;
    Ok(conn)
}

/// As a sweep has it.
const REWRITTEN_A_COMMIT: u32 = 2_048;
