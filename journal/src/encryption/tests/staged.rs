use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{JournalError, MemoryJournal, Record, RecordChange, RecordKey, Records, Timestamp, Verdict};

/// Records in which something happens just before the next change, and which count.
pub(super) struct Staged {
    inner: Arc<MemoryJournal>,
    before_change: Mutex<Option<(usize, BoxFuture<'static, ()>)>>,
    pub(super) changes: AtomicUsize,
    pub(super) looks: AtomicUsize,
}

impl Staged {
    pub(super) fn around(inner: &Arc<MemoryJournal>) -> Arc<Self> {
        Arc::new(Self {
            inner: inner.clone(),
            before_change: Mutex::new(None),
            changes: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    pub(super) fn before_change(&self, happens: impl Future<Output = ()> + Send + 'static) {
        self.before_nth_change(1, happens);
    }

    /// Before the second, the third, ... change from now on.
    pub(super) fn before_nth_change(&self, n: usize, happens: impl Future<Output = ()> + Send + 'static) {
        *self.before_change.lock().unwrap() = Some((n - 1, Box::pin(happens)));
    }

    fn due(&self) -> Option<BoxFuture<'static, ()>> {
        let mut waiting = self.before_change.lock().unwrap();
        match waiting.take() {
            Some((0, happens)) => Some(happens),
            Some((n, happens)) => {
                *waiting = Some((n - 1, happens));
                None
            }
            None => None,
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Staged")
    }
}

#[async_trait]
impl Records for Staged {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.inner.get(key).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.inner.get_all(keys).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        if let Some(happens) = self.due() {
            happens.await;
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.inner.change(changes).await
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
