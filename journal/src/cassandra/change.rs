//! Deleting events, and putting others in their place.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::CassandraJournal;
use super::buckets::{Bound, Look};
use super::intents::{Intent, Kind, Lane};
use super::keyspace::Inner;
use super::value::Value;
use crate::{Envelope, GatedCall, JournalError, Offset, PersistenceId, SeqNr, StoredEvent, Tag};

/// Deletes an id's events up to a number.
pub(super) async fn delete_to(inner: &Inner, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
    inner.writable()?;
    loop {
        let state = inner.open_bucket(id, Look::Settled).await?;
        let major = pass(inner, id, state.bucket, state.head.seq_nr).await?;
        if to > state.head.seq_nr {
            let reason = format!("cannot delete up to {to:?}, the head is {:?}", state.head.seq_nr);
            return Err(JournalError::rejected(id, reason));
        }
        if to > state.head.deleted_to {
            if !state.admits(major) {
                inner.clock.observe(state.floor.unwrap_or(0));
                continue;
            }
            let (deleted_at, tags) = inner.labels(id, state.head.deleted_to.next(), to).await?;
            let mut next = state.clone();
            next.head.deleted_to = to;
            next.deleted_at = deleted_at;
            next.deleted_tags =
                state.deleted_tags.iter().cloned().chain(tags).collect::<BTreeSet<_>>().into_iter().collect();
            next.floor = Some(major);
            // Readers of a tag find there what becomes of the event.
            let label = |tag: &Tag| (Lane::Tag(tag.clone()), label(id, state.bucket, to, deleted_at));
            inner.store_intents(next.deleted_tags.iter().map(label).collect()).await?;
            if !inner.change(id, &state, &next, vec![delete(inner, id, state.bucket, to)]).await? {
                continue;
            }
            inner.remember(id, &next);
        }
        return sweep(inner, id, state.bucket, to).await;
    }
}

/// Removes what lies in older buckets. It is deleted already: the newest bucket says so.
async fn sweep(inner: &Inner, id: &PersistenceId, newest: SeqNr, to: SeqNr) -> Result<(), JournalError> {
    let values = vec![inner.journal(), Value::text(id.as_str()), Value::int(to.get())];
    let buckets: Vec<(i64,)> = inner.rows(&inner.statements.buckets, values).await?;
    let older = buckets.into_iter().filter_map(|(bucket,)| SeqNr::new(bucket.cast_unsigned()));
    for bucket in older.filter(|bucket| *bucket < newest) {
        let state = loop {
            let state = inner.state(id, bucket, Look::Settled).await?;
            let Some(floor) = state.floor else { break state };
            // Any number that is higher: what is replaced beside this begins anew.
            if inner.raise(id, &state, floor + 1, vec![delete(inner, id, bucket, to)]).await? {
                break state;
            }
        };
        if state.head.seq_nr <= to {
            inner.execute(&inner.statements.delete_bucket, inner.bucket_key(id, bucket).to_vec()).await?;
        }
    }
    Ok(())
}

/// Puts envelopes in the place of events, each decided by itself.
pub(super) async fn replace_all(
    inner: &Inner,
    replacements: Vec<(StoredEvent, Envelope)>,
) -> Vec<Result<bool, JournalError>> {
    let mut answers: Vec<Result<bool, JournalError>> = Vec::with_capacity(replacements.len());
    let mut by_id: BTreeMap<PersistenceId, Vec<usize>> = BTreeMap::new();
    for (place, (old, new)) in replacements.iter().enumerate() {
        let checked = inner.writable().and_then(|()| old.check_replacement(new, CassandraJournal::LIMITS));
        if checked.is_ok() {
            by_id.entry(old.envelope.persistence_id.clone()).or_default().push(place);
        }
        answers.push(checked.map(|()| false));
    }
    let made = stream::iter(by_id)
        .map(|(id, places)| {
            let replacements = &replacements;
            async move {
                let mut answers = Vec::with_capacity(places.len());
                // Two of one list may be about one event.
                for place in places {
                    let (old, new) = &replacements[place];
                    answers.push((place, replace(inner, &id, old, new).await));
                }
                answers
            }
        })
        .buffer_unordered(AT_ONCE);
    for (place, answer) in made.collect::<Vec<_>>().await.into_iter().flatten() {
        answers[place] = answer;
    }
    answers
}

async fn replace(
    inner: &Inner,
    id: &PersistenceId,
    old: &StoredEvent,
    new: &Envelope,
) -> Result<bool, JournalError> {
    let seq_nr = old.envelope.seq_nr;
    loop {
        let bucket = inner.bucket_of(id, seq_nr).await?;
        let major = pass(inner, id, bucket, seq_nr).await?;
        let state = inner.state(id, bucket, Look::Settled).await?;
        let stored = inner.stored(id, bucket, seq_nr, seq_nr, 1).await?.into_iter().next();
        let Some(stored) = stored.filter(|row| state.floor.is_some() && row.bytes == old.bytes) else {
            return Ok(false);
        };
        if state.floor.is_some_and(|floor| floor >= major) {
            inner.clock.observe(state.floor.unwrap_or(0));
            continue;
        }
        let added = new.tags.iter().filter(|tag| !old.envelope.tags.contains(tag));
        let labels = added.map(|tag| (Lane::Tag(tag.clone()), label(id, bucket, seq_nr, stored.offset)));
        inner.store_intents(labels.collect()).await?;
        let encoded = new.encode();
        let mut values = vec![
            Value::Bytes(encoded.clone()),
            Value::Texts(new.tags.iter().map(|tag| tag.as_str().to_owned()).collect()),
        ];
        values.extend(inner.bucket_key(id, bucket));
        values.push(Value::int(seq_nr.get()));
        if inner.raise(id, &state, major, vec![(&inner.statements.replace_event, values)]).await? {
            return Ok(true);
        }
        // It was refused, and is there: somebody else finished it.
        let floor = inner.state(id, bucket, Look::Settled).await?.floor;
        let now = inner.stored(id, bucket, seq_nr, seq_nr, 1).await?;
        if floor == Some(major) && now.iter().any(|row| row.bytes == encoded) {
            let reason = "a replacement was refused, and seems to be made".into();
            return Err(JournalError::Unknown { reason, source: None });
        }
    }
}

/// A ticket's number for a change of a bucket, past the gate.
async fn pass(inner: &Inner, id: &PersistenceId, bucket: SeqNr, first: SeqNr) -> Result<u64, JournalError> {
    let intent = |major| Intent {
        major,
        minor: inner.minor(0),
        kind: Kind::Other,
        id: id.clone(),
        bucket,
        first,
        count: 0,
    };
    let ticket = inner.ticket(|major| vec![(Lane::of(id.slice()), intent(major))]).await?;
    ticket.gate.map_or(Ok(()), |gate| gate.check(GatedCall::Store))?;
    Ok(ticket.major)
}

fn label(id: &PersistenceId, bucket: SeqNr, seq_nr: SeqNr, offset: Offset) -> Intent {
    let Offset { major, minor, .. } = offset;
    Intent { major, minor, kind: Kind::Label, id: id.clone(), bucket, first: seq_nr, count: 1 }
}

fn delete<'a>(inner: &'a Inner, id: &PersistenceId, bucket: SeqNr, to: SeqNr) -> Bound<'a> {
    let mut values = inner.bucket_key(id, bucket).to_vec();
    values.push(Value::int(to.get()));
    (&inner.statements.delete_events, values)
}

impl Inner {
    /// The offset of the last of some events, and the tags of all.
    async fn labels(
        &self,
        id: &PersistenceId,
        from: SeqNr,
        to: SeqNr,
    ) -> Result<(Offset, BTreeSet<Tag>), JournalError> {
        type Columns = (i64, Option<i64>, Option<i64>, Option<Vec<String>>);
        let (mut next, mut offset, mut tags) = (from, Offset::BEGINNING, BTreeSet::new());
        while next <= to {
            let bucket = self.bucket_of(id, next).await?;
            let mut values = self.bucket_key(id, bucket).to_vec();
            values.extend([Value::int(next.get()), Value::int(to.get()), Value::Small(PAGE)]);
            let rows: Vec<Columns> = self.rows(&self.statements.labels, values).await?;
            if rows.first().is_none_or(|row| row.0.cast_unsigned() != next.get()) {
                return Err(JournalError::missing_event(
                    id,
                    next,
                    format!("it is to be deleted up to {to:?}"),
                ));
            }
            for (_, major, minor, labels) in rows {
                let number = |column: Option<i64>| column.unwrap_or(0).cast_unsigned();
                offset = Offset { generation: 0, major: number(major), minor: number(minor) };
                for label in labels.unwrap_or_default() {
                    tags.insert(Tag::new(&label).map_err(|error| JournalError::corrupt(id, next, error))?);
                }
                next = next.next();
            }
        }
        Ok((offset, tags))
    }

    /// What was intended in a bucket, forbidden.
    pub(super) async fn forbid_all(
        &self,
        intents: BTreeMap<(PersistenceId, SeqNr), u64>,
    ) -> Result<(), JournalError> {
        stream::iter(intents)
            .map(|((id, bucket), major)| async move { self.forbid(&id, bucket, major).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }
}

const AT_ONCE: usize = 32;
const PAGE: i64 = 1_000;
