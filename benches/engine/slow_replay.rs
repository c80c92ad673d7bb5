use std::fmt;
use std::sync::Arc;

use annals::journal::{
    Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange, Replayed, SeqNr,
    SliceRange, StoredEvent, Tag, Write,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::Notify;

/// A journal whose replay of one entity does not begin before it is told to.
pub(crate) struct SlowReplay {
    inner: Arc<dyn Journal>,
    slow: PersistenceId,
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl SlowReplay {
    /// Also gives what says that such a replay is asked for.
    pub(crate) fn new(
        inner: Arc<dyn Journal>,
        slow: PersistenceId,
        go_on: Arc<Notify>,
    ) -> (Self, Arc<Notify>) {
        let begun = Arc::new(Notify::new());
        (Self { inner, slow, begun: Arc::clone(&begun), go_on }, begun)
    }
}

impl fmt::Debug for SlowReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SlowReplay").field(&self.inner).finish()
    }
}

#[async_trait]
impl Journal for SlowReplay {
    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        if range.persistence_id != self.slow {
            return self.inner.replay(range);
        }
        let (begun, go_on) = (Arc::clone(&self.begun), Arc::clone(&self.go_on));
        let events = self.inner.replay(range);
        let waiting = async move {
            begun.notify_one();
            go_on.notified().await;
            events
        };
        stream::once(waiting).flatten().boxed()
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        self.inner.write(writes).await
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.inner.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.inner.delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.inner.replace(old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.inner.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.inner.events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.inner.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}
