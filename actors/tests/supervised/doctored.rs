//! A journal that is slow, silent, or damaged where the test says so, and counts what is under way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_journal::{
    Envelope, Head, Journal, JournalError, Limits, MemoryJournal, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Doctored {
    inner: MemoryJournal,
    pub(crate) records: Arc<MemoryJournal>,
    /// `false`: nothing is answered.
    answers: watch::Sender<bool>,
    /// How long a commit and each replay take.
    delay: Mutex<Duration>,
    damaged: Mutex<HashSet<String>>,
    replays: AtomicUsize,
    /// Entities that have been claimed and not replayed to the end.
    claiming: Meter,
    replaying: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Meter {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Meter {
    fn enter(&self, more: usize) {
        let now = self.now.fetch_add(more, Ordering::SeqCst) + more;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self, fewer: usize) {
        self.now.fetch_sub(fewer, Ordering::SeqCst);
    }
}

impl Doctored {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryJournal::new(),
            records: Arc::default(),
            answers: watch::channel(true).0,
            delay: Mutex::default(),
            damaged: Mutex::default(),
            replays: AtomicUsize::new(0),
            claiming: Meter::default(),
            replaying: Arc::default(),
        }
    }

    pub(crate) fn silence(&self) {
        self.answers.send_replace(false);
    }

    pub(crate) fn speak(&self) {
        self.answers.send_replace(true);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// Its events cannot be read from now on.
    pub(crate) fn damage(&self, id: &str) {
        self.damaged.lock().unwrap().insert(id.to_owned());
    }

    pub(crate) fn repair(&self, id: &str) {
        self.damaged.lock().unwrap().remove(id);
    }

    /// Replays that were begun.
    pub(crate) fn replays(&self) -> usize {
        self.replays.load(Ordering::SeqCst)
    }

    /// The most claims that it saw under way at the same time.
    pub(crate) fn most_claims_at_once(&self) -> usize {
        self.claiming.most.load(Ordering::SeqCst)
    }

    /// The most replays that it saw under way at the same time.
    pub(crate) fn most_replays_at_once(&self) -> usize {
        self.replaying.most.load(Ordering::SeqCst)
    }

    pub(crate) fn forget_the_most(&self) {
        self.claiming.most.store(0, Ordering::SeqCst);
        self.replaying.most.store(0, Ordering::SeqCst);
        self.replays.store(0, Ordering::SeqCst);
    }

    async fn ready(&self) {
        self.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

/// A replay that is counted until it is dropped.
struct UnderWay(Arc<Meter>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.leave(1);
    }
}

#[async_trait]
impl Journal for Doctored {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let claims = writes.iter().filter(|write| matches!(write, Write::Claim { .. })).count();
        self.claiming.enter(claims);
        self.ready().await;
        let answers = self.inner.write(writes).await;
        self.claiming.leave(claims);
        answers
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.replays.fetch_add(1, Ordering::SeqCst);
        self.replaying.enter(1);
        let under_way = UnderWay(self.replaying.clone());
        if self.damaged.lock().unwrap().contains(range.persistence_id.as_str()) {
            let error = JournalError::corrupt(&range.persistence_id, SeqNr::FIRST, "the test damaged it");
            return futures::stream::iter([Err(error)]).inspect(move |_| _ = &under_way).boxed();
        }
        let (delay, mut answers) = (*self.delay.lock().unwrap(), self.answers.subscribe());
        let wait = async move {
            answers.wait_for(|answers| *answers).await.unwrap();
            tokio::time::sleep(delay).await;
        };
        let events = self.inner.replay(range);
        futures::stream::once(wait)
            .map(|()| None)
            .chain(events.map(Some))
            .inspect(move |_| _ = &under_way)
            .filter_map(|item| async { item })
            .boxed()
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
