use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use annals_journal::{Journal, PersistenceId, Readers, SeqNr, Timestamp};
use tracing::Instrument;

use crate::telemetry::{self, SnapshotMetrics};
use crate::{PruneFailure, Pruned, Retention, SaveReport, Snapshot, SnapshotError, SnapshotStore};

mod event_pruner;
use event_pruner::EventPruner;

/// Saves and loads the snapshots of a node's entities, and deletes what their retention no longer keeps.
///
/// What goes wrong is logged and counted here; a caller needs the report only to know whether to try again. The
/// names are in [`telemetry`](crate::telemetry).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// use std::sync::Arc;
/// use annals_journal::{MemoryJournal, PersistenceId, Readers, SeqNr};
/// use annals_snapshot::{MemorySnapshotStore, SnapshotKeeper};
///
/// let journal = Arc::new(MemoryJournal::new());
/// let store = Arc::new(MemorySnapshotStore::new());
/// let keeper = SnapshotKeeper::new(store, journal.clone(), Readers::new(journal));
///
/// let alice = PersistenceId::new("account", "alice").expect("a valid id");
/// assert!(keeper.load(&alice, SeqNr::MAX).await.expect("memory is there").is_none());
/// # });
/// ```
pub struct SnapshotKeeper {
    store: Arc<dyn SnapshotStore>,
    events: EventPruner,
    metrics: SnapshotMetrics,
}

impl SnapshotKeeper {
    /// A keeper of snapshots of this journal's entities, which keeps events for these readers.
    pub fn new(store: Arc<dyn SnapshotStore>, journal: Arc<dyn Journal>, readers: Readers) -> Self {
        Self { store, events: EventPruner::new(journal, readers), metrics: SnapshotMetrics::new() }
    }

    /// Saves a snapshot whose last event is durable, then prunes. One at a time an entity.
    ///
    /// Nothing here fails a command: the report says what was not done, and the next save does it. A pruning that fails leaves the
    /// save as it is. The age of readers is judged by the snapshot's time stamp.
    ///
    /// # Cancel safety
    /// When it is dropped, the snapshot is stored or not, and each deletion is done or not; what is left recovers.
    pub async fn save(&self, snapshot: Snapshot, retention: &Retention) -> SaveReport {
        let span = tracing::info_span!(
            telemetry::SAVE_SPAN,
            persistence_id = snapshot.persistence_id.as_str(),
            seq_nr = snapshot.seq_nr.get(),
            bytes = snapshot.payload.len()
        );
        async {
            let (id, seq_nr, now) = (snapshot.persistence_id.clone(), snapshot.seq_nr, snapshot.timestamp);
            let saved = self.store_one(snapshot).await;
            let pruned = match saved {
                Ok(()) => self.prune(&id, seq_nr, retention, now).await,
                Err(_) => Pruned::default(),
            };
            SaveReport { saved, pruned }
        }
        .instrument(span)
        .await
    }

    /// The newest snapshot at or below `at_most` that can be read, or `None`; unreadable ones are passed over, logged and counted.
    ///
    /// Whether it belongs to the journal's history is for recovery to see, which reads the event of its number anyway
    /// ([`Snapshot::belongs_to`]). One that does not: [`SnapshotKeeper::pass_over`], then load below it.
    ///
    /// # Errors
    /// [`SnapshotError::Unavailable`]: whether there is one is not known.
    pub async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let span =
            tracing::info_span!(telemetry::LOAD_SPAN, persistence_id = id.as_str(), at_most = at_most.get());
        async {
            let start = Instant::now();
            let mut bound = at_most;
            let found = loop {
                match self.store.load(id, bound).await {
                    // The bound falls with each turn; a store that names one above it would have us ask for ever.
                    Err(SnapshotError::Corrupt { seq_nr, reason, .. }) if seq_nr <= bound => {
                        self.pass_over(id, seq_nr, &reason);
                        bound = seq_nr.previous();
                    }
                    other => break other,
                }
            };
            self.metrics.load_seconds.record(start.elapsed());
            found
        }
        .instrument(span)
        .await
    }

    /// Says that a snapshot is of no use, in the log and in the metrics: it is damaged, ahead of the journal, or of another history.
    pub fn pass_over(&self, id: &PersistenceId, seq_nr: SeqNr, reason: &str) {
        self.metrics.unreadable.increment(1);
        tracing::warn!(
            persistence_id = id.as_str(),
            seq_nr = seq_nr.get(),
            reason,
            "a snapshot is unreadable: recovering from an older one, or from the events"
        );
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn SnapshotStore> {
        &self.store
    }

    async fn store_one(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let (start, bytes) = (Instant::now(), snapshot.payload.len());
        let answer = self.store.save(snapshot).await;
        self.metrics.save_seconds.record(start.elapsed());
        match &answer {
            Ok(()) => {
                self.metrics.saved.increment(1);
                #[allow(clippy::cast_precision_loss, reason = "a histogram takes no other type")]
                self.metrics.bytes.record(bytes as f64);
            }
            Err(error) => {
                self.metrics.save_failures.increment(1);
                // The span names persistence id and number.
                tracing::warn!(%error, "a snapshot was not saved: the entity goes on, the next opportunity tries again");
            }
        }
        answer
    }

    async fn prune(&self, id: &PersistenceId, saved: SeqNr, retention: &Retention, now: Timestamp) -> Pruned {
        let mut pruned = Pruned::default();
        if let Err(failure) = self.prune_in_order(id, saved, retention, now, &mut pruned).await {
            self.metrics.prune_failures.increment(1);
            tracing::warn!(
                error = %failure,
                "a snapshot is saved, but older data was not deleted: the next save tries again"
            );
            pruned.failure = Some(failure);
        }
        pruned
    }

    /// Events before snapshots: when the events' cover turns out to be unsound, the older snapshots are what is left.
    async fn prune_in_order(
        &self,
        id: &PersistenceId,
        saved: SeqNr,
        retention: &Retention,
        now: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), PruneFailure> {
        let listed = self.store.list(id).await.map_err(PruneFailure::Snapshots)?;
        let plan = retention.plan(&listed, saved);
        if let Some(events) = plan.events {
            let deleted = self.events.prune(&*self.store, id, events, retention.reader_limit(), now).await?;
            self.metrics.pruned_events.increment(deleted.count);
            if deleted.held_for.is_some() {
                self.metrics.prunes_held.increment(1);
            }
            (pruned.events_to, pruned.held_for) = (deleted.to, deleted.held_for);
        }
        if let Some(range) = plan.snapshots {
            self.store.delete(id, range.clone()).await.map_err(PruneFailure::Snapshots)?;
            let count = listed.iter().filter(|number| range.contains(number)).count();
            self.metrics.pruned.increment(count as u64);
            pruned.snapshots_to = Some(*range.end());
        }
        Ok(())
    }
}

impl fmt::Debug for SnapshotKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotKeeper").field("store", &self.store).finish_non_exhaustive()
    }
}
