//! Reading the events of one id.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::buckets::Look;
use super::keyspace::Inner;
use super::value::Value;
use crate::envelope::Sequence;
use crate::{JournalError, Offset, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

type Item = Result<Replayed, JournalError>;

/// An event as it is stored.
#[derive(Debug)]
pub(super) struct StoredRow {
    pub(super) seq_nr: SeqNr,
    pub(super) offset: Offset,
    pub(super) bytes: Bytes,
}

struct Replay {
    inner: Arc<Inner>,
    id: PersistenceId,
    sequence: Sequence,
    from: SeqNr,
    to: SeqNr,
    limit: u64,
    /// The bucket of the next number; `None`: nothing was read yet.
    bucket: Option<SeqNr>,
    rows: VecDeque<StoredRow>,
    ended: bool,
}

/// Streams a range page by page.
pub(super) fn replay(inner: Arc<Inner>, range: ReplayRange) -> BoxStream<'static, Item> {
    let ReplayRange { persistence_id: id, from, to, limit } = range;
    let sequence = Sequence::sharing(id.clone());
    let from = from.max(SeqNr::FIRST);
    let replay =
        Replay { inner, id, sequence, from, to, limit, bucket: None, rows: VecDeque::new(), ended: false };
    stream::unfold(replay, |mut replay| async move { replay.next().await.map(|item| (item, replay)) }).boxed()
}

impl Replay {
    async fn next(&mut self) -> Option<Item> {
        if self.ended {
            return None;
        }
        let item = self.advance().await;
        match item {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Replayed>, JournalError> {
        if self.bucket.is_none() {
            // What comes later is not part of it.
            let head = self.inner.last(&self.id, Look::Plain).await?.head;
            self.to = self.to.min(head.seq_nr);
            self.bucket = Some(self.inner.bucket_of(&self.id, self.from.max(head.deleted_to.next())).await?);
            if let Some(deleted) = self.deleted(head.deleted_to) {
                return Ok(Some(deleted));
            }
        }
        if self.rows.is_empty() {
            if self.from > self.to || self.limit == 0 {
                return Ok(None);
            }
            if let Some(deleted) = self.read().await? {
                return Ok(Some(deleted));
            }
        }
        let Some(row) = self.rows.pop_front() else { return Ok(None) };
        self.from = row.seq_nr.next();
        self.limit -= 1;
        let envelope = self.sequence.decode(&row.bytes, row.seq_nr);
        let envelope = envelope.map_err(|error| JournalError::corrupt(&self.id, row.seq_nr, error))?;
        Ok(Some(Replayed::Event(StoredEvent { offset: row.offset, envelope, bytes: row.bytes })))
    }

    /// Reads more rows; or gives what was deleted in their place since the replay began.
    async fn read(&mut self) -> Result<Option<Replayed>, JournalError> {
        let limit = self.limit.min(PAGE);
        let mut look = Look::Plain;
        loop {
            let bucket = self.bucket.unwrap_or(SeqNr::FIRST);
            // The next bucket is named by its first number.
            for bucket in [bucket, self.from] {
                let rows = self.inner.stored(&self.id, bucket, self.from, self.to, limit).await?;
                if rows.first().is_some_and(|row| row.seq_nr == self.from) {
                    let expected = (0..).map(|place| self.from.plus(place));
                    let gapless =
                        rows.iter().zip(expected).take_while(|(row, seq_nr)| row.seq_nr == *seq_nr).count();
                    self.bucket = Some(bucket);
                    self.rows = rows.into_iter().take(gapless).collect();
                    return Ok(None);
                }
            }
            let head = self.inner.last(&self.id, Look::Settled).await?.head;
            if let Some(deleted) = self.deleted(head.deleted_to) {
                if self.from <= self.to {
                    self.bucket = Some(self.inner.bucket_of(&self.id, self.from).await?);
                }
                return Ok(Some(deleted));
            }
            if look == Look::Settled {
                return Err(JournalError::missing_event(
                    &self.id,
                    self.from,
                    format!("the head is {:?}", head.seq_nr),
                ));
            }
            // Everything that belongs to the head is at a quorum now.
            look = Look::Settled;
            self.inner.state(&self.id, bucket, look).await?;
            self.bucket = Some(self.inner.bucket_of(&self.id, self.from).await?);
        }
    }

    /// What of the rest of the range was deleted, passed over.
    fn deleted(&mut self, deleted_to: SeqNr) -> Option<Replayed> {
        let to = deleted_to.min(self.to);
        if self.from > to {
            return None;
        }
        let from = std::mem::replace(&mut self.from, to.next());
        Some(Replayed::Deleted { from, to })
    }
}

impl Inner {
    /// Events of a bucket, at most so many.
    pub(super) async fn stored(
        &self,
        id: &PersistenceId,
        bucket: SeqNr,
        from: SeqNr,
        to: SeqNr,
        limit: u64,
    ) -> Result<Vec<StoredRow>, JournalError> {
        type Columns = (i64, Option<i64>, Option<i64>, Option<Bytes>);
        let mut values = self.bucket_key(id, bucket).to_vec();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        values.extend([Value::int(from.get()), Value::int(to.get()), Value::Small(limit)]);
        let rows: Vec<Columns> = self.rows(&self.statements.events, values).await?;
        let row = |(seq, major, minor, bytes): Columns| {
            let seq_nr = SeqNr::new(seq.cast_unsigned());
            let (Some(seq_nr), Some(major), Some(minor), Some(bytes)) = (seq_nr, major, minor, bytes) else {
                return Err(JournalError::corrupt(id, from, "a row of the bucket lacks a column"));
            };
            let offset = Offset { generation: 0, major: major.cast_unsigned(), minor: minor.cast_unsigned() };
            Ok(StoredRow { seq_nr, offset, bytes })
        };
        rows.into_iter().map(row).collect()
    }
}

/// A bucket's bytes are bounded, and so is a page.
const PAGE: u64 = 250;
