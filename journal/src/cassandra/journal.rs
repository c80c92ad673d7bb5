use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::buckets::Look;
use super::keyspace::Inner;
use super::{Keyspace, OpenError, Options, change, pages, replay, write};
use crate::commit_path::{CommitPath, Path};
use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{
    Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange, Replayed, SeqNr,
    SliceRange, StoredEvent, Tag, Write,
};

/// Events and records on Apache Cassandra, for many nodes. They fence each other: each write is conditional on where the id stood when
/// it was decided, token included.
///
/// A clone is another handle. Its futures and streams have to be polled in a tokio runtime.
///
/// An answered write is at a quorum of replicas, and there as durable as their `commitlog_sync` says.
#[derive(Debug, Clone)]
pub struct CassandraJournal {
    keyspace: Keyspace,
}

impl CassandraJournal {
    /// What an event in Cassandra is limited to: 4 MiB a payload, 4,096 events and 8 MiB an append.
    pub const LIMITS: Limits = Limits { max_payload_bytes: 4 * 1024 * 1024, max_events: 4096, marks: true };
    /// The largest sum of payloads of one append, in bytes: it is one write, of which a server's default takes 16 MiB.
    pub const MAX_APPEND_BYTES: usize = 8 * 1024 * 1024;

    /// Connects and makes the tables when they are missing; the URL is that of [`Keyspace::open`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Ok(Self { keyspace: Keyspace::open(url, options).await? })
    }

    /// Opens a journal that is there for reading only, see [`Keyspace::open_read_only`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open_read_only(url: &str, options: Options) -> Result<Self, OpenError> {
        Ok(Self { keyspace: Keyspace::open_read_only(url, options).await? })
    }

    /// The keyspace, for whoever keeps something else in it.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        self.keyspace.inner()
    }
}

#[async_trait]
impl Journal for CassandraJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        if let Err(error) = self.inner().writable() {
            return vec![Err(error); writes.len()];
        }
        let encoded = writes.into_iter().map(|write| {
            let mut encoded = EncodedWrite::new(write, Self::LIMITS);
            let bytes = encoded.payload_bytes;
            if let EncodedKind::Append { events, .. } = &mut encoded.kind
                && events.is_ok()
                && bytes > Self::MAX_APPEND_BYTES
            {
                let limit = Self::MAX_APPEND_BYTES;
                let reason = format!("an append of {bytes} bytes, at most {limit} are allowed");
                *events = Err(JournalError::rejected(&encoded.persistence_id, reason));
            }
            encoded
        });
        Box::pin(write::write(self.inner(), encoded.collect())).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        replay::replay(Arc::clone(self.inner()), range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        Ok(self.inner().last(id, Look::Plain).await?.head)
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        Box::pin(change::delete_to(self.inner(), id, to)).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let mut answers = self.replace_all(vec![(old.clone(), new)]).await;
        answers.pop().unwrap_or(Ok(false))
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        Box::pin(change::replace_all(self.inner(), replacements)).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        Box::pin(pages::page(self.inner(), pages::Wanted::Tag(tag), after, limit)).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        Box::pin(pages::page(self.inner(), pages::Wanted::Slices(slices), after, limit)).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.inner().ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn commit_path(&self) -> Option<CommitPath> {
        Some(CommitPath(Path::Lanes(LANES)))
    }
}

/// Commits that are on their way at the same time.
const LANES: u32 = 8;
