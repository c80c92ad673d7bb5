//! Changes of what is stored: deletion and replacement, inside a transaction that holds the write lock.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::heads::Heads;
use super::stream::{Stream, stored_seq_nr};
use super::write::insert_tags;
use crate::{JournalError, PersistenceId, SeqNr, StoredEvent, Tag};

/// Deletes an id's events up to a number; the last of them becomes the id's tombstone, with the tags of all that were deleted.
pub(super) fn delete_to(
    conn: &Connection,
    heads: &mut Heads,
    id: &PersistenceId,
    to: SeqNr,
) -> rusqlite::Result<Result<(), JournalError>> {
    let stream = Stream::find(conn, id)?;
    let head = stream.map_or(SeqNr::ZERO, |stream| stream.head.seq_nr);
    if to > head {
        let reason = format!("cannot delete up to {to:?}, the head is {head:?}");
        return Ok(Err(JournalError::rejected(id, reason)));
    }
    let Some(mut stream) = stream.filter(|stream| to > stream.head.deleted_to) else { return Ok(Ok(())) };
    let before = params![stream.id, stored_seq_nr(to)];
    conn.prepare_cached(
        "INSERT OR IGNORE INTO event_tags (tag, ordering)
         SELECT t.tag, (SELECT ordering FROM events WHERE stream = ?1 AND seq = ?2)
         FROM events e CROSS JOIN event_tags t ON t.ordering = e.ordering
         WHERE e.stream = ?1 AND e.seq < ?2",
    )?
    .execute(before)?;
    conn.prepare_cached(
        "DELETE FROM event_tags
         WHERE ordering IN (SELECT ordering FROM events WHERE stream = ?1 AND seq < ?2)",
    )?
    .execute(before)?;
    conn.prepare_cached("DELETE FROM events WHERE stream = ?1 AND seq < ?2")?.execute(before)?;
    conn.prepare_cached("UPDATE events SET envelope = x'' WHERE stream = ?1 AND seq = ?2")?
        .execute(before)?;
    stream.head.deleted_to = to;
    stream.update(conn)?;
    heads.put(id, stream);
    Ok(Ok(()))
}

/// Puts other bytes in the place of an event that is still as it was read.
pub(super) fn replace(
    conn: &Connection,
    old: &StoredEvent,
    bytes: &Bytes,
    tags: &[Tag],
) -> rusqlite::Result<bool> {
    let event = &old.envelope;
    let Some(stream) = Stream::find(conn, &event.persistence_id)? else { return Ok(false) };
    let unchanged = conn
        .prepare_cached("SELECT ordering FROM events WHERE stream = ? AND seq = ? AND envelope = ?")?
        .query_row(params![stream.id, stored_seq_nr(event.seq_nr), old.bytes.as_ref()], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    // A tombstone has no bytes; whoever claims to have read none has not read an event.
    let Some(ordering) = unchanged.filter(|_| !old.bytes.is_empty()) else { return Ok(false) };
    conn.prepare_cached("UPDATE events SET envelope = ? WHERE ordering = ?")?
        .execute(params![bytes.as_ref(), ordering])?;
    if old.envelope.tags != tags {
        conn.prepare_cached("DELETE FROM event_tags WHERE ordering = ?")?.execute([ordering])?;
        insert_tags(conn, ordering, tags)?;
    }
    Ok(true)
}
