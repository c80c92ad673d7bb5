use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    Envelope, Head, Journal, JournalError, Limits, MemoryJournal, Offset, Page, PersistenceId, Record,
    RecordChange, RecordKey, Records, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Timestamp,
    Verdict, Write,
};

/// A journal as a process sees it that is about to be killed: it takes so many changes, and none after that.
#[derive(Debug)]
pub(super) struct Crashing {
    inner: Arc<MemoryJournal>,
    left: AtomicUsize,
    died: AtomicBool,
}

impl Crashing {
    pub(super) fn after(changes: usize, inner: &Arc<MemoryJournal>) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), left: AtomicUsize::new(changes), died: AtomicBool::new(false) })
    }

    /// Takes so many more.
    pub(super) fn die_after(&self, changes: usize) {
        self.left.store(changes, Ordering::Relaxed);
        self.died.store(false, Ordering::Relaxed);
    }

    /// Whether it came to that.
    pub(super) fn has_crashed(&self) -> bool {
        self.died.load(Ordering::Relaxed)
    }

    fn takes(&self) -> bool {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        self.died.fetch_or(left.is_err(), Ordering::Relaxed);
        left.is_ok()
    }
}

fn crashed() -> JournalError {
    JournalError::Rejected { what: "everything".into(), reason: "crashed".into() }
}

#[async_trait]
impl Records for Crashing {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.inner.get(key).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        if self.takes() {
            self.inner.change(changes).await
        } else {
            changes.iter().map(|_| Err(crashed())).collect()
        }
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.inner.now().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.inner.list(prefix, after, limit).await
    }
}

#[async_trait]
impl Journal for Crashing {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        if self.takes() {
            self.inner.write(writes).await
        } else {
            writes.iter().map(|_| Err(crashed())).collect()
        }
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.inner.replay(range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.inner.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        if self.takes() { self.inner.delete_to(id, to).await } else { Err(crashed()) }
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        if self.takes() { self.inner.replace(old, new).await } else { Err(crashed()) }
    }

    /// Each by itself: a crash may leave the first of them.
    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        let mut answers = Vec::new();
        for (old, new) in replacements {
            answers.push(self.replace(&old, new).await);
        }
        answers
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
