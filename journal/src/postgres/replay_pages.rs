//! Pieces of ids' events, each with the head and how far was deleted, of one snapshot.
//!
//! ```text
//! first pages   of several ids in one statement, the bytes bounded by the server: it says where a page ends before it sends the rest
//! next pages    the events as the index has them, without counting; how many, from the largest of the page before; who meets more bytes
//!               than expected takes what fits and leaves the connection to the server
//! ```

use futures::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::failure::{read_failure, was_ended};
use super::{Database, row, statements};
use crate::{JournalError, Offset, PersistenceId, SeqNr};

/// What somebody asks for: events from a number to another, so many at most.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: PersistenceId,
    pub(super) from: SeqNr,
    pub(super) to: SeqNr,
    pub(super) most: u64,
}

/// A piece of an id's events.
pub(super) struct Piece {
    pub(super) head: SeqNr,
    pub(super) deleted_to: SeqNr,
    pub(super) events: Vec<(Offset, SeqNr, bytes::Bytes)>,
    /// There were more bytes than a page takes.
    pub(super) cut: bool,
}

/// The answer to one: `None` for an id that was never written.
pub(super) type Found = Result<Option<Piece>, JournalError>;

/// The first page of a replay, with those of others that are asked for at the same time.
pub(super) async fn first(database: &Database, wanted: Wanted) -> Found {
    let of = database.clone();
    let read = move |wanted: Vec<Wanted>| {
        let database = of.clone();
        async move { read_first(&database, &wanted).await }
    };
    database.first_pages().ask(wanted, read).await.unwrap_or_else(|| Err(super::replay::stopped()))
}

async fn read_first(database: &Database, wanted: &[Wanted]) -> Vec<Found> {
    let ids: Vec<&str> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
    let number = |number: SeqNr| row::stored(number.get());
    let from: Vec<i64> = wanted.iter().map(|wanted| number(wanted.from)).collect();
    let to: Vec<i64> = wanted.iter().map(|wanted| number(wanted.to)).collect();
    let most: Vec<i64> = wanted.iter().map(|wanted| wanted.most.min(PAGE_EVENTS).cast_signed()).collect();
    let share =
        (STATEMENT_BYTES / i64::try_from(wanted.len()).unwrap_or(i64::MAX)).clamp(LEAST_BYTES, PAGE_BYTES);
    let query =
        || sqlx::query(statements::FIRST_PAGES).bind(&ids).bind(&from).bind(&to).bind(&most).bind(share);
    let rows = match database.rows(query).await {
        Ok(rows) => rows,
        Err(error) => return wanted.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut found: Vec<Found> = wanted.iter().map(|_| Ok(None)).collect();
    for row in rows {
        let place = row.try_get(0).map(|number: i64| usize::try_from(number - 1).ok());
        let Some(found) = place.ok().flatten().and_then(|place| found.get_mut(place)) else { continue };
        if let Ok(piece) = found
            && let Err(error) = take(piece, &row, usize::try_from(most[0]).unwrap_or_default())
        {
            *found = Err(read_failure(database.server(), error));
        }
    }
    found
}

fn take(piece: &mut Option<Piece>, row: &PgRow, expected: usize) -> sqlx::Result<()> {
    let piece = match piece {
        Some(piece) => piece,
        None => {
            let (head, deleted_to) = (row::seq_nr(row, 1)?, row::seq_nr(row, 2)?);
            let events = Vec::with_capacity(expected.min(128));
            piece.insert(Piece { head, deleted_to, events, cut: false })
        }
    };
    if row.try_get::<Option<i64>, _>(3)?.is_some() {
        piece.events.push(event(row, 3)?);
    }
    Ok(())
}

/// A page behind the first.
pub(super) async fn next(database: &Database, wanted: &Wanted) -> Found {
    let failed = |error| read_failure(database.server(), error);
    let mut again = true;
    loop {
        let mut connection = database.reader().await?;
        match read_next(&mut connection, wanted).await {
            Ok(found) => {
                match &found {
                    // The rest is on its way, and may be long.
                    Some(Piece { cut: true, .. }) => connection.abandon(),
                    _ => connection.done(),
                }
                return Ok(found);
            }
            Err(error) if again && was_ended(&error) => again = false,
            Err(error) => return Err(failed(error)),
        }
    }
}

async fn read_next(connection: &mut PgConnection, wanted: &Wanted) -> sqlx::Result<Option<Piece>> {
    let query = sqlx::query(statements::NEXT_PAGE)
        .bind(wanted.id.as_str())
        .bind(row::stored(wanted.from.get()))
        .bind(row::stored(wanted.to.get()))
        .bind(wanted.most.min(PAGE_EVENTS).cast_signed());
    let mut rows = query.fetch(connection);
    let Some(first) = rows.try_next().await? else { return Ok(None) };
    let (head, deleted_to) = (row::seq_nr(&first, 0)?, row::seq_nr(&first, 2)?);
    let events = Vec::with_capacity(usize::try_from(wanted.most.min(PAGE_EVENTS)).unwrap_or_default());
    let mut piece = Piece { head, deleted_to, events, cut: false };
    let mut room = PAGE_BYTES.unsigned_abs();
    while let Some(row) = rows.try_next().await? {
        let event = event(&row, 0)?;
        let bytes = event.2.len() as u64;
        piece.events.push(event);
        if room < bytes {
            piece.cut = true;
            break;
        }
        room -= bytes;
    }
    Ok(Some(piece))
}

/// An event from its number, its offset's three columns, and its envelope.
fn event(row: &PgRow, first: usize) -> sqlx::Result<(Offset, SeqNr, bytes::Bytes)> {
    Ok((row::offset(row, first + 1)?, row::seq_nr(row, first)?, row::bytes(row, first + 4)?))
}

/// How many events the next page may have, so that those as large as the largest of this one are half a page.
pub(super) fn next_most(piece: &Piece) -> u64 {
    let largest = piece.events.iter().map(|(.., bytes)| bytes.len() as u64).max().unwrap_or_default();
    (PAGE_BYTES.unsigned_abs() / 2 / largest.max(1)).clamp(1, PAGE_EVENTS)
}

/// A page is in memory as a whole, and one more while it is worked on.
const PAGE_EVENTS: u64 = 1_024;
const PAGE_BYTES: i64 = 1024 * 1024;
/// Of all first pages of a statement together.
const STATEMENT_BYTES: i64 = 4 * PAGE_BYTES;
const LEAST_BYTES: i64 = 64 * 1024;
/// First pages of a statement.
pub(super) const FIRST_PAGES: usize = 32;
