//! Stores around stores that are slow, refuse, and lose answers.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_journal::{
    Envelope, Head, Journal, JournalError, Limits, MemoryJournal, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use annals_snapshot::{MemorySnapshotStore, Snapshot, SnapshotError, SnapshotStore};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::task::TaskTracker;

/// The randomness that a run's parts share, and whether faults still happen.
#[derive(Clone)]
pub(crate) struct Chance {
    random: Arc<Mutex<StdRng>>,
    calm: Arc<AtomicBool>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), calm: Arc::default() }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().random_range(0..bound)
    }

    /// True in so many of 1,000 cases, until it is calm.
    pub(crate) fn fault(&self, of_thousand: u64) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.below(1_000) < of_thousand
    }

    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    async fn dawdle(&self) {
        let millis = if self.fault(20) { self.below(3_000) } else { self.below(4) };
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

pub(crate) struct FaultyJournal {
    inner: Arc<MemoryJournal>,
    chance: Chance,
    /// Of 1,000 commits.
    unknown: u64,
    unavailable: u64,
    /// Says of an unknown outcome that it is certainly not stored.
    lies: bool,
    /// Commits that are still on their way though their outcome was called unknown.
    pub(crate) late: TaskTracker,
}

impl FaultyJournal {
    pub(crate) fn new(inner: Arc<MemoryJournal>, chance: Chance, lies: bool) -> Self {
        let (unknown, unavailable) = (chance.below(150), chance.below(150));
        Self { inner, chance, unknown, unavailable, lies, late: TaskTracker::new() }
    }
}

impl fmt::Debug for FaultyJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyJournal")
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        self.chance.dawdle().await;
        let all = |error: JournalError| vec![Err(error); writes.len()];
        if self.chance.fault(self.unavailable) {
            return all(unavailable());
        }
        if self.chance.fault(self.unknown) {
            let unknown = JournalError::Unknown { reason: "the line went dead".into(), source: None };
            let answers = all(if self.lies { unavailable() } else { unknown });
            match self.chance.below(3) {
                0 => {}
                1 => {
                    self.inner.write(writes).await;
                }
                _ => {
                    let (inner, time) = (self.inner.clone(), self.chance.below(2_000));
                    self.late.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(time)).await;
                        inner.write(writes).await;
                    });
                }
            }
            return answers;
        }
        self.inner.write(writes).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let chance = self.chance.clone();
        let items = self.inner.replay(range);
        items
            .then(move |item| {
                let chance = chance.clone();
                async move {
                    if chance.fault(20) {
                        return Err(JournalError::Unavailable {
                            reason: "the disk is away".into(),
                            source: None,
                        });
                    }
                    if chance.fault(20) {
                        chance.dawdle().await;
                    }
                    item
                }
            })
            .scan(false, |failed, item| {
                let item = (!std::mem::replace(failed, item.is_err())).then_some(item);
                async { item }
            })
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

fn unavailable() -> JournalError {
    JournalError::Unavailable { reason: "the disk is full".into(), source: None }
}

pub(crate) struct FaultySnapshots {
    inner: MemorySnapshotStore,
    chance: Chance,
    unavailable: u64,
}

impl FaultySnapshots {
    pub(crate) fn new(inner: MemorySnapshotStore, chance: Chance) -> Self {
        let unavailable = chance.below(400);
        Self { inner, chance, unavailable }
    }

    async fn trouble(&self) -> Result<(), SnapshotError> {
        self.chance.dawdle().await;
        if self.chance.fault(self.unavailable) {
            return Err(SnapshotError::Unavailable { reason: "the disk is away".into(), source: None });
        }
        Ok(())
    }
}

impl fmt::Debug for FaultySnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultySnapshots")
    }
}

#[async_trait]
impl SnapshotStore for FaultySnapshots {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.trouble().await?;
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        self.inner.save(snapshot).await?;
        if self.chance.fault(100) {
            self.inner.tamper(&id, seq_nr, |bytes| bytes.truncate(bytes.len() / 2));
        }
        Ok(())
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        self.trouble().await?;
        self.inner.load(id, at_most).await
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        self.trouble().await?;
        self.inner.delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        self.trouble().await?;
        self.inner.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.inner.max_payload_bytes()
    }
}
