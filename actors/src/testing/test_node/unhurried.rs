use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};

use annals_journal::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, Record,
    RecordChange, RecordKey, Records, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Timestamp,
    Verdict, Write,
};
use annals_snapshot::{Snapshot, SnapshotError, SnapshotStore};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};

use crate::Stores;

/// A store whose work takes real time, on threads that tokio does not know: virtual time stands still meanwhile.
///
/// Without it a paused clock would see nothing that can be done, and jump to the next time-out.
#[derive(Debug)]
pub(super) struct Unhurried<T>(T);

impl Unhurried<()> {
    pub(super) fn stores(stores: Stores) -> Stores {
        Stores {
            journal: Arc::new(Unhurried(stores.journal)),
            records: Arc::new(Unhurried(stores.records)),
            snapshots: Arc::new(Unhurried(stores.snapshots)),
        }
    }
}

/// Time stands still while this lives.
struct Standstill {
    _ends: mpsc::Sender<()>,
}

impl Standstill {
    fn begin() -> Self {
        let (ends, ended) = mpsc::channel::<()>();
        // Tokio's paused clock does not move while a blocking task runs; this one ends with the sender.
        drop(tokio::task::spawn_blocking(move || ended.recv()));
        Self { _ends: ends }
    }
}

#[async_trait]
impl Journal for Unhurried<Arc<dyn Journal>> {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let _still = Standstill::begin();
        self.0.write(writes).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let next = |mut items: BoxStream<'static, _>| async move {
            let _still = Standstill::begin();
            items.next().await.map(|item| (item, items))
        };
        stream::unfold(self.0.replay(range), next).boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let _still = Standstill::begin();
        self.0.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        let _still = Standstill::begin();
        self.0.delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let _still = Standstill::begin();
        self.0.replace(old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        let _still = Standstill::begin();
        self.0.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let _still = Standstill::begin();
        self.0.events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let _still = Standstill::begin();
        self.0.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn commits(&self) -> Option<CommitListener> {
        self.0.commits()
    }
}

#[async_trait]
impl Records for Unhurried<Arc<dyn Records>> {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        let _still = Standstill::begin();
        self.0.get(key).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let _still = Standstill::begin();
        self.0.get_all(keys).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let _still = Standstill::begin();
        self.0.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        let _still = Standstill::begin();
        self.0.now().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let _still = Standstill::begin();
        self.0.list(prefix, after, limit).await
    }
}

#[async_trait]
impl SnapshotStore for Unhurried<Arc<dyn SnapshotStore>> {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let _still = Standstill::begin();
        self.0.save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let _still = Standstill::begin();
        self.0.load(id, at_most).await
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        let _still = Standstill::begin();
        self.0.delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let _still = Standstill::begin();
        self.0.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.0.max_payload_bytes()
    }
}
