use bytes::Bytes;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::{Epoch, Head, Mark, Offset, PersistenceId, SeqNr, Token};

/// A head from its five columns.
pub(super) fn head(row: &PgRow, first: usize) -> sqlx::Result<Head> {
    let token = Token::new(Epoch(unsigned(row, first + 1)?), unsigned(row, first + 2)?);
    let (seq_nr, deleted_to) = (seq_nr(row, first)?, seq_nr(row, first + 3)?);
    let mark: Option<&[u8]> = row.try_get(first + 4)?;
    let mark = mark.map(|bytes| bytes.try_into().map(Mark::from_bytes)).transpose();
    let mark = mark.map_err(|error| none_of_ours("mark", error))?;
    Ok(Head { seq_nr, token, deleted_to, mark, ..Head::EMPTY })
}

/// An offset from its three columns.
pub(super) fn offset(row: &PgRow, first: usize) -> sqlx::Result<Offset> {
    let (generation, major, minor): (i32, i64, i32) =
        (row.try_get(first)?, row.try_get(first + 1)?, row.try_get(first + 2)?);
    let ours = |number: i64| u64::try_from(number).map_err(|error| none_of_ours("offset", error));
    Ok(Offset { generation: ours(generation.into())?, major: ours(major)?, minor: ours(minor.into())? })
}

/// An offset as statements take it; one that is larger than any stored number is the largest.
pub(super) fn columns(offset: Offset) -> (i32, i64, i32) {
    let Offset { generation, major, minor } = offset;
    (
        generation.try_into().unwrap_or(i32::MAX),
        major.try_into().unwrap_or(i64::MAX),
        minor.try_into().unwrap_or(i32::MAX),
    )
}

pub(super) fn seq_nr(row: &PgRow, column: usize) -> sqlx::Result<SeqNr> {
    let number: i64 = row.try_get(column)?;
    let seq_nr = u64::try_from(number).ok().and_then(SeqNr::new);
    seq_nr.ok_or_else(|| none_of_ours("number", format!("{number} is no sequence number")))
}

pub(super) fn persistence_id(row: &PgRow, column: usize) -> sqlx::Result<PersistenceId> {
    let text: &str = row.try_get(column)?;
    PersistenceId::parse(text).map_err(|error| none_of_ours("persistence id", error))
}

pub(super) fn bytes(row: &PgRow, column: usize) -> sqlx::Result<Bytes> {
    let bytes: &[u8] = row.try_get(column)?;
    Ok(Bytes::copy_from_slice(bytes))
}

/// The bits as they are: PostgreSQL has signed numbers only.
pub(super) fn stored(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    row.try_get(column).map(i64::cast_unsigned)
}

pub(super) fn none_of_ours(what: &str, error: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(format!("a stored {what}: {error}").into())
}
