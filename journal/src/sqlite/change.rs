//! Changes of what is stored: deletion and replacement, inside a transaction that holds the write lock.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::heads::Heads;
use super::stream::{Stream, stored_seq_nr};
use super::write::insert_tags;
use crate::{GatedCall, JournalError, PersistenceId, SeqNr, StoredEvent, Tag};

/// Deletes an id's events up to a number; the last of them becomes the id's tombstone, with the tags of all that were deleted.
pub(super) fn delete_to(
    conn: &Connection,
    heads: &mut Heads,
    id: &PersistenceId,
    to: SeqNr,
) -> rusqlite::Result<Result<(), JournalError>> {
    heads.refresh(conn)?;
    if let Err(closed) = heads.pass_gate(GatedCall::Store) {
        return Ok(Err(closed));
    }
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

/// An event as it was read, and what is to stand in its place.
pub(super) struct Replacement {
    pub(super) old: StoredEvent,
    pub(super) bytes: Bytes,
    pub(super) tags: Vec<Tag>,
}

/// Puts other bytes in the place of each event that is still as it was read.
pub(super) fn replace(
    conn: &Connection,
    heads: &mut Heads,
    replacements: &[Replacement],
) -> rusqlite::Result<Result<Vec<bool>, JournalError>> {
    heads.refresh(conn)?;
    if let Err(closed) = heads.pass_gate(GatedCall::Store) {
        return Ok(Err(closed));
    }
    // Most are still where they were read, and the bytes name id and number.
    let mut update =
        conn.prepare_cached("UPDATE events SET envelope = ?1 WHERE ordering = ?2 AND envelope = ?3")?;
    let mut done = Vec::with_capacity(replacements.len());
    for Replacement { old, bytes, tags } in replacements {
        // A tombstone has no bytes; whoever claims to have read none has not read an event.
        if old.bytes.is_empty() {
            done.push(false);
            continue;
        }
        let mut set = |ordering: i64| update.execute(params![bytes.as_ref(), ordering, old.bytes.as_ref()]);
        let mut at = i64::try_from(old.offset.minor).unwrap_or_default();
        let mut replaced = set(at)? == 1;
        if !replaced && let Some(elsewhere) = ordering_of(conn, old)? {
            at = elsewhere;
            replaced = set(at)? == 1;
        }
        if replaced && old.envelope.tags != *tags {
            conn.prepare_cached("DELETE FROM event_tags WHERE ordering = ?")?.execute([at])?;
            insert_tags(conn, at, tags)?;
        }
        done.push(replaced);
    }
    Ok(Ok(done))
}

/// Where the event with these bytes is, whatever its offset was said to be.
fn ordering_of(conn: &Connection, old: &StoredEvent) -> rusqlite::Result<Option<i64>> {
    let Some(stream) = Stream::find(conn, &old.envelope.persistence_id)? else { return Ok(None) };
    conn.prepare_cached("SELECT ordering FROM events WHERE stream = ? AND seq = ? AND envelope = ?")?
        .query_row(params![stream.id, stored_seq_nr(old.envelope.seq_nr), old.bytes.as_ref()], |row| {
            row.get(0)
        })
        .optional()
}
