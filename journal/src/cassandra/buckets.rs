//! Reading and changing where an id stands.

use std::sync::Arc;

use bytes::Bytes;
use scylla::statement::prepared::PreparedStatement;

use super::keyspace::Inner;
use super::state::State;
use super::value::Value;
use crate::{Epoch, Head, JournalError, Mark, Offset, PersistenceId, SeqNr, Tag, Token};

type Columns = (
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Bytes>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Vec<String>>,
    Option<i64>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
    Option<bool>,
);

/// How a state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At a quorum: everything that was answered.
    Plain,
    /// Serial: what others have left in the middle is finished first, so that a quorum has all that belongs to the state.
    Settled,
}

/// A statement with its values.
pub(super) type Bound<'a> = (&'a PreparedStatement, Vec<Value>);

impl Inner {
    /// The key of a bucket.
    pub(super) fn bucket_key(&self, id: &PersistenceId, bucket: SeqNr) -> [Value; 3] {
        [self.journal(), Value::text(id.as_str()), Value::int(bucket.get())]
    }

    /// What stands in a bucket.
    pub(super) async fn state(
        &self,
        id: &PersistenceId,
        bucket: SeqNr,
        look: Look,
    ) -> Result<State, JournalError> {
        let statement = match look {
            Look::Plain => &self.statements.state,
            Look::Settled => &self.statements.settled_state,
        };
        let rows: Vec<Columns> = self.rows(statement, self.bucket_key(id, bucket).to_vec()).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(State::absent(bucket)) };
        let corrupt = |what: String| JournalError::corrupt(id, bucket, format!("bucket {bucket:?}: {what}"));
        let (
            head,
            epoch,
            activation,
            mark,
            deleted_to,
            major,
            minor,
            tags,
            floor,
            owned,
            stored,
            bytes,
            closed,
        ) = row;
        let number = |column: Option<i64>| column.unwrap_or(0).cast_unsigned();
        let seq_nr =
            |column| SeqNr::new(number(column)).ok_or_else(|| corrupt(format!("{column:?} is no number")));
        let mark = mark.map(|mark| {
            let bytes: [u8; Mark::BYTES] =
                mark[..].try_into().map_err(|_| corrupt("a mark of another size".into()))?;
            Ok::<_, JournalError>(Mark::from_bytes(bytes))
        });
        let tags = tags.unwrap_or_default();
        let tags = tags.iter().map(|tag| Tag::new(tag).map_err(|error| corrupt(error.to_string())));
        Ok(State {
            bucket,
            head: Head {
                seq_nr: seq_nr(head)?,
                token: Token::new(Epoch(number(epoch)), number(activation)),
                deleted_to: seq_nr(deleted_to)?,
                mark: mark.transpose()?,
                ..Head::EMPTY
            },
            deleted_at: Offset { generation: 0, major: number(major), minor: number(minor) },
            deleted_tags: tags.collect::<Result<_, _>>()?,
            floor: floor.map(i64::cast_unsigned),
            owned: owned.unwrap_or(false),
            events: number(stored),
            bytes: number(bytes),
            closed: closed.unwrap_or(false),
        })
    }

    /// The bucket that has a number, or would have it.
    pub(super) async fn bucket_of(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<SeqNr, JournalError> {
        let values = vec![self.journal(), Value::text(id.as_str()), Value::int(seq_nr.get())];
        let rows: Vec<(i64,)> = self.rows(&self.statements.bucket_before, values).await?;
        let found = rows.first().and_then(|(bucket,)| SeqNr::new(bucket.cast_unsigned()));
        Ok(found.unwrap_or(SeqNr::FIRST))
    }

    /// The last bucket that anybody has written, which may be closed. The one that is not there, when the id is not.
    pub(super) async fn last(&self, id: &PersistenceId, look: Look) -> Result<State, JournalError> {
        let mut bucket = self.bucket_of(id, SeqNr::MAX).await?;
        let mut state = self.state(id, bucket, look).await?;
        // Whoever wrote down the newest bucket may not have come to open it.
        while state.floor.is_none() && bucket > SeqNr::FIRST {
            let before = SeqNr::new(bucket.get() - 1).unwrap_or(SeqNr::FIRST);
            bucket = self.bucket_of(id, before).await?.min(before);
            state = self.state(id, bucket, look).await?;
        }
        while state.closed {
            let next = self.state(id, state.head.seq_nr.next(), look).await?;
            if next.floor.is_none() {
                break;
            }
            state = next;
        }
        Ok(state)
    }

    /// The bucket that takes writes; opens it when the last one is closed.
    pub(super) async fn open_bucket(&self, id: &PersistenceId, look: Look) -> Result<State, JournalError> {
        loop {
            let last = self.last(id, look).await?;
            if !last.closed {
                return Ok(last);
            }
            let next = last.next_bucket();
            self.execute(&self.statements.insert_bucket, self.bucket_key(id, next.bucket).to_vec()).await?;
            let opened = self.change(id, &State::absent(next.bucket), &next, Vec::new()).await;
            match opened {
                Ok(true) => return Ok(next),
                // Whoever was faster wrote the same.
                Ok(false) => {}
                Err(error) => return Err(harmless(error)),
            }
        }
    }

    /// Changes a bucket's state where it is still as it was read, with more in the same step; whether it was.
    pub(super) async fn change<'a>(
        &'a self,
        id: &PersistenceId,
        before: &State,
        after: &State,
        more: Vec<Bound<'a>>,
    ) -> Result<bool, JournalError> {
        let Head { seq_nr, token, mark, .. } = after.head;
        let mark = mark.map_or(Value::Unset, |mark| Value::Bytes(Bytes::copy_from_slice(mark.as_bytes())));
        let mut values = vec![
            Value::int(seq_nr.get()),
            Value::int(token.epoch.0),
            Value::int(token.activation),
            mark,
            after.floor.map_or(Value::Unset, Value::int),
            Value::Bool(after.owned),
            Value::int(after.events),
            Value::int(after.bytes),
            Value::Bool(after.closed),
        ];
        values.extend(self.bucket_key(id, after.bucket));
        let statement = match before.floor {
            None => &self.statements.create,
            Some(floor) => {
                values.push(Value::int(floor));
                &self.statements.change
            }
        };
        let mut statements = vec![(statement, values)];
        if after.head.deleted_to != before.head.deleted_to {
            let tags = after.deleted_tags.iter().map(|tag| tag.as_str().to_owned());
            let mut values = vec![
                Value::int(after.head.deleted_to.get()),
                Value::int(after.deleted_at.major),
                Value::int(after.deleted_at.minor),
                Value::Texts(tags.collect()),
            ];
            values.extend(self.bucket_key(id, after.bucket));
            statements.push((&self.statements.set_deleted, values));
        }
        statements.extend(more);
        self.conditional(statements).await
    }

    /// Raises a bucket's floor, with more in the same step, where it is still as it was read; whether it was.
    pub(super) async fn raise<'a>(
        &'a self,
        id: &PersistenceId,
        before: &State,
        floor: u64,
        more: Vec<Bound<'a>>,
    ) -> Result<bool, JournalError> {
        let mut values = vec![Value::int(floor)];
        values.extend(self.bucket_key(id, before.bucket));
        let statement = match before.floor {
            None => &self.statements.raise_absent,
            Some(floor) => {
                values.push(Value::int(floor));
                &self.statements.raise
            }
        };
        let mut statements = vec![(statement, values)];
        statements.extend(more);
        self.conditional(statements).await
    }

    /// Sees to it that nothing is made in a bucket any more under this ticket or an older one.
    pub(super) async fn forbid(
        &self,
        id: &PersistenceId,
        bucket: SeqNr,
        major: u64,
    ) -> Result<(), JournalError> {
        loop {
            let state = self.state(id, bucket, Look::Settled).await?;
            if state.floor.is_some_and(|floor| floor >= major) {
                return Ok(());
            }
            // Not to its number: that is what the write itself would make of it.
            if self.raise(id, &state, major + 1, Vec::new()).await.map_err(harmless)? {
                return Ok(());
            }
        }
    }

    /// What this process knows about an id.
    pub(super) fn remembered(&self, id: &PersistenceId) -> Option<Arc<State>> {
        self.states.get(id)
    }

    /// Keeps the newest that is known.
    pub(super) fn remember(&self, id: &PersistenceId, state: &State) {
        let newer = |known: &Arc<State>| (known.bucket, known.floor) > (state.bucket, state.floor);
        if !self.states.get(id).is_some_and(|known| newer(&known)) {
            self.states.insert(id.clone(), Arc::new(state.clone()));
        }
    }
}

/// A write that may be made at any time: whether it was is of no interest.
fn harmless(error: JournalError) -> JournalError {
    match error {
        JournalError::Unknown { reason, source } => JournalError::Unavailable { reason, source },
        other => other,
    }
}
