//! Changes of what is stored: deletion and replacement, each a transaction that locks what it changes first.

use std::collections::HashSet;

use sqlx::{Connection as _, PgConnection, Row as _};

use super::failure::{gave_way, write_failure};
use super::write::joined;
use super::{Database, PostgresJournal, row};
use crate::{Envelope, Gate, GatedCall, JournalError, PersistenceId, SeqNr, StoredEvent, Tag};

/// Deletes an id's events up to a number; the last of them becomes the id's tombstone, with the tags of all that were deleted.
pub(super) async fn delete_to(
    database: &Database,
    id: &PersistenceId,
    to: SeqNr,
) -> Result<(), JournalError> {
    let mut tries = 0;
    loop {
        let mut connection = database.writer().await?;
        match try_to_delete(&mut connection, id, to).await {
            Ok(answer) => {
                connection.done();
                return answer;
            }
            Err(error) if gave_way(&error) && tries < TRIES => {
                connection.done();
                tries += 1;
            }
            Err(error) => return Err(write_failure(database.server(), error)),
        }
    }
}

async fn try_to_delete(
    connection: &mut PgConnection,
    id: &PersistenceId,
    to: SeqNr,
) -> sqlx::Result<Result<(), JournalError>> {
    let mut transaction = connection.begin().await?;
    if let Err(closed) = pass_gate(&mut transaction).await? {
        transaction.rollback().await?;
        return Ok(Err(closed));
    }
    let locked =
        sqlx::query("SELECT head, deleted_to FROM streams WHERE persistence_id = $1 FOR NO KEY UPDATE")
            .bind(id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
    let (head, deleted_to) = match &locked {
        Some(locked) => (row::seq_nr(locked, 0)?, row::seq_nr(locked, 1)?),
        None => (SeqNr::ZERO, SeqNr::ZERO),
    };
    if to <= deleted_to || to > head {
        transaction.rollback().await?;
        let reason = || format!("cannot delete up to {to:?}, the head is {head:?}");
        return Ok(if to > head { Err(JournalError::rejected(id, reason())) } else { Ok(()) });
    }
    // From here on each statement sees all events up to the head that is locked.
    for statement in [DELETE_EVENTS, MAKE_TOMBSTONE, LABEL_TOMBSTONE, MOVE_DELETED_TO] {
        sqlx::query(statement)
            .bind(id.as_str())
            .bind(row::stored(to.get()))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

/// The last one becomes the tombstone; before it gets the tags of all, which their rows still have.
const DELETE_EVENTS: &str = "\
WITH gone AS (
    SELECT seq, generation, transaction_id, position, tags FROM events WHERE persistence_id = $1 AND seq <= $2
), tombstone AS (
    UPDATE events SET tags = (SELECT array_agg(DISTINCT t.tag) FROM gone, unnest(gone.tags) AS t(tag))
    WHERE persistence_id = $1 AND seq = $2 AND EXISTS (SELECT FROM gone WHERE tags IS NOT NULL AND seq < $2)
), untagged AS (
    DELETE FROM event_tags e USING gone, unnest(gone.tags) AS t(tag)
    WHERE gone.seq < $2 AND e.tag = t.tag AND e.generation = gone.generation AND e.transaction_id = gone.transaction_id
        AND e.position = gone.position
)
DELETE FROM events WHERE persistence_id = $1 AND seq < $2";
const MAKE_TOMBSTONE: &str = "UPDATE events SET envelope = '' WHERE persistence_id = $1 AND seq = $2";
const LABEL_TOMBSTONE: &str = "\
INSERT INTO event_tags (tag, generation, transaction_id, position)
SELECT t.tag, e.generation, e.transaction_id, e.position FROM events e, unnest(e.tags) AS t(tag)
WHERE e.persistence_id = $1 AND e.seq = $2 ON CONFLICT DO NOTHING";
const MOVE_DELETED_TO: &str = "UPDATE streams SET deleted_to = $2 WHERE persistence_id = $1";

/// Puts other envelopes in the place of events that are still as they were read, all in one transaction.
pub(super) async fn replace_all(
    database: &Database,
    replacements: Vec<(StoredEvent, Envelope)>,
) -> Vec<Result<bool, JournalError>> {
    let mut answers: Vec<Result<bool, JournalError>> = Vec::with_capacity(replacements.len());
    let mut wanted = Vec::with_capacity(replacements.len());
    for (index, (old, new)) in replacements.iter().enumerate() {
        let checked = old.check_replacement(new, PostgresJournal::LIMITS);
        // A tombstone has no bytes; whoever claims to have read none has not read an event.
        if checked.is_ok() && !old.bytes.is_empty() {
            wanted.push(Replacement { index, old, bytes: new.encode(), tags: &new.tags });
        }
        answers.push(checked.map(|()| false));
    }
    if wanted.is_empty() {
        return answers;
    }
    match replace_in_turns(database, &wanted).await {
        Ok(done) => {
            for index in done {
                answers[index] = Ok(true);
            }
        }
        Err(error) => wanted.iter().for_each(|wanted| answers[wanted.index] = Err(error.clone())),
    }
    answers
}

/// An event as it was read, and what is to stand in its place.
struct Replacement<'a> {
    index: usize,
    old: &'a StoredEvent,
    bytes: bytes::Bytes,
    tags: &'a [Tag],
}

async fn replace_in_turns(
    database: &Database,
    wanted: &[Replacement<'_>],
) -> Result<Vec<usize>, JournalError> {
    let mut tries = 0;
    loop {
        let mut connection = database.writer().await?;
        match try_to_replace(&mut connection, wanted).await {
            Ok(answer) => {
                connection.done();
                return answer;
            }
            Err(error) if gave_way(&error) && tries < TRIES => {
                connection.done();
                tries += 1;
            }
            Err(error) => return Err(write_failure(database.server(), error)),
        }
    }
}

async fn try_to_replace(
    connection: &mut PgConnection,
    wanted: &[Replacement<'_>],
) -> sqlx::Result<Result<Vec<usize>, JournalError>> {
    let mut transaction = connection.begin().await?;
    if let Err(closed) = pass_gate(&mut transaction).await? {
        transaction.rollback().await?;
        return Ok(Err(closed));
    }
    let mut done = Vec::with_capacity(wanted.len());
    let mut left: Vec<&Replacement<'_>> = wanted.iter().collect();
    while !left.is_empty() {
        // An event that is in the list twice is replaced in the order of the list.
        let mut met = HashSet::new();
        let (turn, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|replacement| {
            let event = &replacement.old.envelope;
            met.insert((&event.persistence_id, event.seq_nr))
        });
        replace(&mut transaction, &turn, &mut done).await?;
        left = later;
    }
    transaction.commit().await?;
    Ok(Ok(done))
}

async fn replace(
    transaction: &mut PgConnection,
    turn: &[&Replacement<'_>],
    done: &mut Vec<usize>,
) -> sqlx::Result<()> {
    // In the order of ids and numbers, so that two lists do not wait for each other.
    let mut turn = turn.to_vec();
    turn.sort_by_key(|replacement| {
        (&replacement.old.envelope.persistence_id, replacement.old.envelope.seq_nr)
    });
    let ids: Vec<&str> = turn.iter().map(|wanted| wanted.old.envelope.persistence_id.as_str()).collect();
    let numbers: Vec<i64> = turn.iter().map(|wanted| row::stored(wanted.old.envelope.seq_nr.get())).collect();
    let old: Vec<&[u8]> = turn.iter().map(|wanted| wanted.old.bytes.as_ref()).collect();
    let new: Vec<&[u8]> = turn.iter().map(|wanted| wanted.bytes.as_ref()).collect();
    let tags: Vec<Option<String>> =
        turn.iter().map(|wanted| joined(wanted.tags.iter().map(Tag::as_str))).collect();
    let rows =
        sqlx::query(REPLACE).bind(ids).bind(numbers).bind(old).bind(new).fetch_all(&mut *transaction).await?;
    let mut retagged = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let place: i64 = row.try_get(0)?;
        let place = usize::try_from(place - 1).ok().filter(|place| *place < turn.len());
        let place =
            place.ok_or_else(|| row::none_of_ours("answer", "a replacement that nobody asked for"))?;
        let replacement = turn[place];
        done.push(replacement.index);
        if replacement.old.envelope.tags != replacement.tags {
            retagged.0.push(replacement.old.envelope.persistence_id.as_str());
            retagged.1.push(row::stored(replacement.old.envelope.seq_nr.get()));
            retagged.2.push(tags[place].clone());
        }
    }
    if !retagged.0.is_empty() {
        for statement in [UNTAG, TAG] {
            sqlx::query(statement)
                .bind(&retagged.0)
                .bind(&retagged.1)
                .bind(&retagged.2)
                .execute(&mut *transaction)
                .await?;
        }
    }
    Ok(())
}

const REPLACE: &str = "\
WITH wanted AS MATERIALIZED (
    SELECT w.place, e.persistence_id, e.seq, w.old, w.new
    FROM unnest($1::text[], $2::int8[], $3::bytea[], $4::bytea[]) WITH ORDINALITY AS w(id, seq, old, new, place)
    JOIN events e ON e.persistence_id = w.id AND e.seq = w.seq
    ORDER BY w.place FOR NO KEY UPDATE OF e)
UPDATE events e SET envelope = w.new FROM wanted w
WHERE e.persistence_id = w.persistence_id AND e.seq = w.seq AND e.envelope = w.old RETURNING w.place";
/// The labels of the events as they are stored, while `tags` still has them.
const UNTAG: &str = "\
DELETE FROM event_tags t
USING unnest($1::text[], $2::int8[], $3::text[]) AS w(id, seq, joined) JOIN events e ON e.persistence_id = w.id AND e.seq = w.seq,
    unnest(e.tags) AS l(tag)
WHERE t.tag = l.tag AND t.generation = e.generation AND t.transaction_id = e.transaction_id AND t.position = e.position";
const TAG: &str = "\
WITH retagged AS (
    UPDATE events e SET tags = string_to_array(w.joined, E'\\x1f')
    FROM unnest($1::text[], $2::int8[], $3::text[]) AS w(id, seq, joined)
    WHERE e.persistence_id = w.id AND e.seq = w.seq
    RETURNING e.generation, e.transaction_id, e.position, e.tags)
INSERT INTO event_tags (tag, generation, transaction_id, position)
SELECT DISTINCT l.tag, r.generation, r.transaction_id, r.position FROM retagged r, unnest(r.tags) AS l(tag)";

/// Whether the journal takes changes, judged until the transaction ends.
async fn pass_gate(transaction: &mut PgConnection) -> sqlx::Result<Result<(), JournalError>> {
    let gate: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT gate FROM ledger_now()").fetch_one(&mut *transaction).await?;
    Ok(match gate.as_deref().map(Gate::decode).transpose() {
        Ok(gate) => gate.map_or(Ok(()), |gate| gate.check(GatedCall::Store)),
        Err(_) => Gate::unreadable().check(GatedCall::Store),
    })
}

const TRIES: u32 = 10;
