//! Deletes the events that a snapshot covers, as far as the registered readers have passed them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_journal::{
    Journal, JournalError, Offset, PersistenceId, Reader, ReaderName, Readers, ReplayRange, Replayed, SeqNr,
    StoredEvent, Timestamp,
};
use futures::StreamExt;

use crate::{EventPrune, PruneFailure, SnapshotError, SnapshotStore};

pub(super) struct EventPruner {
    journal: Arc<dyn Journal>,
    readers: Readers,
    /// When a reader was last written about: once in a while is enough, however many entities prune.
    mentioned: Mutex<HashMap<ReaderName, Timestamp>>,
}

/// What was deleted of one id.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) to: Option<SeqNr>,
    pub(super) count: u64,
    pub(super) held_for: Option<ReaderName>,
}

impl EventPruner {
    pub(super) fn new(journal: Arc<dyn Journal>, readers: Readers) -> Self {
        Self { journal, readers, mentioned: Mutex::default() }
    }

    pub(super) async fn prune(
        &self,
        store: &dyn SnapshotStore,
        id: &PersistenceId,
        prune: EventPrune,
        reader_limit: Duration,
        now: Timestamp,
    ) -> Result<Deleted, PruneFailure> {
        let deleted_to = self.journal.head(id).await.map_err(PruneFailure::Events)?.deleted_to;
        if prune.to <= deleted_to {
            return Ok(Deleted::default());
        }
        self.check_cover(store, id, prune.covered_by).await?;
        let waiting = self.readers.list().await.map_err(PruneFailure::Events)?;
        let (late, waited_for): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|reader| now.since(reader.advanced) > reader_limit);
        let slowest = waited_for.into_iter().min_by_key(|reader| reader.offset);
        let floor = slowest.as_ref().map(|reader| reader.offset);
        let to = self.passed(id, deleted_to, prune.to, floor).await.map_err(PruneFailure::Events)?;
        let held_for = slowest.filter(|_| to < prune.to);
        if let Some(reader) = &held_for
            && self.may_mention(&reader.name, now)
        {
            tracing::info!(
                reader = reader.name.as_str(), offset = %reader.offset, advanced = %reader.advanced,
                persistence_id = id.as_str(), seq_nr = to.next().get(), limit_seconds = reader_limit.as_secs(),
                "events that snapshots cover are kept until a registered reader has passed them"
            );
        }
        let held_for = held_for.map(|reader| reader.name);
        if to <= deleted_to {
            return Ok(Deleted { held_for, ..Deleted::default() });
        }
        self.warn_of_late_readers(id, to, &late, reader_limit, now).await.map_err(PruneFailure::Events)?;
        self.journal.delete_to(id, to).await.map_err(PruneFailure::Events)?;
        Ok(Deleted { to: Some(to), count: to.get() - deleted_to.get(), held_for })
    }

    /// Deleting is for ever, so the snapshot that will stand for the events is read back and compared first.
    async fn check_cover(
        &self,
        store: &dyn SnapshotStore,
        id: &PersistenceId,
        covered_by: SeqNr,
    ) -> Result<(), PruneFailure> {
        let not_covered = |reason: &str| PruneFailure::NotCovered { covered_by, reason: reason.to_owned() };
        let snapshot = match store.load(id, covered_by).await {
            Ok(Some(snapshot)) if snapshot.seq_nr == covered_by => snapshot,
            Ok(_) => return Err(not_covered("it is gone")),
            Err(error @ SnapshotError::Corrupt { .. }) => return Err(not_covered(&error.to_string())),
            Err(error) => return Err(PruneFailure::Snapshots(error)),
        };
        match self.event(id, covered_by).await.map_err(PruneFailure::Events)? {
            Some(event) if snapshot.belongs_to(&event.envelope) => Ok(()),
            Some(_) => Err(not_covered("it was taken in another history than the journal's")),
            None => Err(not_covered("the journal does not have its last event")),
        }
    }

    /// The highest number up to `wanted` that lies at or below the floor; offsets grow with the numbers of an id.
    async fn passed(
        &self,
        id: &PersistenceId,
        deleted_to: SeqNr,
        wanted: SeqNr,
        floor: Option<Offset>,
    ) -> Result<SeqNr, JournalError> {
        let Some(floor) = floor else { return Ok(wanted) };
        // An event that is gone needs nobody's protection.
        let is_passed = async |number: SeqNr| -> Result<bool, JournalError> {
            Ok(self.event(id, number).await?.is_none_or(|event| event.offset <= floor))
        };
        // Nearly always readers are close behind.
        if is_passed(wanted).await? {
            return Ok(wanted);
        }
        let (mut passed, mut beyond) = (deleted_to.get(), wanted.get());
        while beyond - passed > 1 {
            let middle = passed + (beyond - passed) / 2;
            if is_passed(SeqNr::ZERO.plus(middle)).await? {
                passed = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(SeqNr::ZERO.plus(passed))
    }

    async fn event(&self, id: &PersistenceId, number: SeqNr) -> Result<Option<StoredEvent>, JournalError> {
        let mut found = self.journal.replay(ReplayRange::all(id).from(number).to(number).limit(1));
        while let Some(item) = found.next().await {
            if let Replayed::Event(event) = item? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    async fn warn_of_late_readers(
        &self,
        id: &PersistenceId,
        to: SeqNr,
        late: &[Reader],
        limit: Duration,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        if late.is_empty() {
            return Ok(());
        }
        let Some(last) = self.event(id, to).await? else { return Ok(()) };
        for reader in late.iter().filter(|reader| reader.offset < last.offset) {
            if self.may_mention(&reader.name, now) {
                tracing::warn!(
                    reader = reader.name.as_str(), offset = %reader.offset, advanced = %reader.advanced,
                    persistence_id = id.as_str(), seq_nr = to.get(), limit_seconds = limit.as_secs(),
                    "deleting events that a registered reader has not passed, because it has not advanced for longer \
                     than the limit: let it run, or unregister it"
                );
            }
        }
        Ok(())
    }

    fn may_mention(&self, reader: &ReaderName, now: Timestamp) -> bool {
        let mut mentioned = self.mentioned.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded by the readers of the last minutes, also when they come and go under new names.
        mentioned.retain(|_, last| now.since(*last) < MENTIONED_AGAIN_AFTER);
        if mentioned.contains_key(reader) {
            return false;
        }
        mentioned.insert(reader.clone(), now);
        true
    }
}

const MENTIONED_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);
