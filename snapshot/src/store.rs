use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_journal::{PersistenceId, SeqNr};
use async_trait::async_trait;

use crate::{Snapshot, SnapshotError};

/// Keeps snapshots. Object safe, over bytes: encryption is a store around a store.
///
/// An id has at most one snapshot a number. The conformance suite has a test for each sentence below. What holds for every
/// method: bytes from the store never panic, and a future that is dropped leaves what it was doing done or not done, never
/// half done. Time plays no role in what is selected.
#[async_trait]
pub trait SnapshotStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a snapshot; one with the same id and number is replaced.
    ///
    /// `Ok`: as durable as the store's setting promises, and loads that begin afterwards give every field as it was saved.
    /// Of concurrent saves of one id and number one wins whole. Other ids and numbers are as they were.
    ///
    /// # Errors
    /// [`SnapshotError::Rejected`] when the payload is larger than [`SnapshotStore::max_payload_bytes`] or the number is
    /// [`SeqNr::ZERO`] (see [`Snapshot::check`]): what was stored stays. After [`SnapshotError::Unavailable`] it may be
    /// stored; save it again.
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError>;

    /// The snapshot with the highest number at or below `at_most`, or `None`.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`] names the snapshot that cannot be read; ask again below its number for an older one.
    /// It is never skipped in silence: a reader that goes on with an older state knows that it does.
    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError>;

    /// Deletes the snapshots with a number in the range, readable or not; there being none is `Ok`.
    ///
    /// `Ok`: loads and lists that begin afterwards do not see them. Both bounds belong to the range; one that ends before it
    /// starts is empty.
    ///
    /// # Errors
    /// After [`SnapshotError::Unavailable`] some of them may be deleted; do it again.
    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError>;

    /// Numbers of the id's snapshots, lowest first, readable or not.
    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError>;

    /// The largest payload that can be saved, in bytes; at least 1 MiB.
    fn max_payload_bytes(&self) -> usize;
}

#[async_trait]
impl<S: SnapshotStore + ?Sized> SnapshotStore for Arc<S> {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        (**self).save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        (**self).load(id, at_most).await
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        (**self).delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        (**self).list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        (**self).max_payload_bytes()
    }
}
