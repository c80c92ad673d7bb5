use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_journal::{PersistenceId, SeqNr};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// Snapshots in memory, gone with the process: for tests, and the reference for authors of backends.
///
/// It keeps the stored form, so that all that a file could give back wrong can be tried here ([`MemorySnapshotStore::tamper`]).
/// Clones share the snapshots.
#[derive(Clone, Default)]
pub struct MemorySnapshotStore {
    ids: Arc<Mutex<HashMap<PersistenceId, BTreeMap<SeqNr, Bytes>>>>,
}

impl MemorySnapshotStore {
    /// The largest payload, in bytes.
    pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024 * 1024;

    /// A store without snapshots.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes stored bytes behind the store's back, as a failing disk would; `false` when there is no such snapshot.
    pub fn tamper(&self, id: &PersistenceId, seq_nr: SeqNr, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut ids = self.lock();
        let Some(stored) = ids.get_mut(id).and_then(|snapshots| snapshots.get_mut(&seq_nr)) else {
            return false;
        };
        let mut bytes = stored.to_vec();
        change(&mut bytes);
        *stored = bytes.into();
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PersistenceId, BTreeMap<SeqNr, Bytes>>> {
        // Each change is one call on the maps, so a panic elsewhere leaves nothing half done.
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SnapshotStore for MemorySnapshotStore {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        snapshot.check(Self::MAX_PAYLOAD_BYTES)?;
        let stored = snapshot.encode();
        self.lock().entry(snapshot.persistence_id).or_default().insert(snapshot.seq_nr, stored);
        Ok(())
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let newest = self.lock().get(id).and_then(|snapshots| {
            let (seq_nr, stored) = snapshots.range(..=at_most).next_back()?;
            Some((*seq_nr, stored.clone()))
        });
        let Some((seq_nr, stored)) = newest else { return Ok(None) };
        let snapshot = Snapshot::decode_as(&stored, id, seq_nr)
            .map_err(|error| SnapshotError::corrupt(id, seq_nr, error))?;
        Ok(Some(snapshot))
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        let mut ids = self.lock();
        if let Some(snapshots) = ids.get_mut(id) {
            snapshots.retain(|seq_nr, _| !range.contains(seq_nr));
            if snapshots.is_empty() {
                ids.remove(id);
            }
        }
        Ok(())
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        Ok(self.lock().get(id).map(|snapshots| snapshots.keys().copied().collect()).unwrap_or_default())
    }

    fn max_payload_bytes(&self) -> usize {
        Self::MAX_PAYLOAD_BYTES
    }
}

impl std::fmt::Debug for MemorySnapshotStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySnapshotStore").field("ids", &self.lock().len()).finish()
    }
}
