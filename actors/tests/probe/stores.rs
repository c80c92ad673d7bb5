use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_actors::{Node, Stores};
use annals_journal::{
    Envelope, Head, Journal, JournalError, Limits, MemoryJournal, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use annals_snapshot::MemorySnapshotStore;
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

use super::Probe;

pub(crate) fn stores() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

pub(crate) async fn node(stores: Stores) -> Node {
    Node::builder("n").entity::<Probe>().start(stores).await.unwrap()
}

/// Holds writes back while it is closed, as it is at first.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn close(&self) {
        self.0.send_replace(false);
    }
}

/// Counts how many claims are on their way at once.
#[derive(Debug, Default)]
pub(crate) struct ClaimMeter {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl ClaimMeter {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

pub(crate) fn gated(gate: &Gate) -> Stores {
    watched(Some(gate.clone()), None)
}

pub(crate) fn metered(meter: &Arc<ClaimMeter>) -> Stores {
    watched(None, Some(Arc::clone(meter)))
}

fn watched(gate: Option<Gate>, meter: Option<Arc<ClaimMeter>>) -> Stores {
    let Stores { journal, records, snapshots } = stores();
    Stores { journal: Arc::new(Watched { inner: journal, gate, meter }), records, snapshots }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Journal>,
    gate: Option<Gate>,
    meter: Option<Arc<ClaimMeter>>,
}

#[async_trait]
impl Journal for Watched {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        if let Some(Gate(gate)) = &self.gate {
            gate.subscribe().wait_for(|open| *open).await.unwrap();
        }
        let claims = writes.iter().filter(|write| matches!(write, Write::Claim { .. })).count();
        if let Some(meter) = &self.meter {
            let now = meter.now.fetch_add(claims, Ordering::SeqCst) + claims;
            meter.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
        let answers = self.inner.write(writes).await;
        if let Some(meter) = &self.meter {
            meter.now.fetch_sub(claims, Ordering::SeqCst);
        }
        answers
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.inner.replay(range)
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
