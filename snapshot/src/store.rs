use std::fmt;
use std::ops::RangeInclusive;

use annals_journal::{PersistenceId, SeqNr};
use async_trait::async_trait;

use crate::{Snapshot, SnapshotError};

/// Keeps snapshots. Object safe, over bytes.
#[async_trait]
pub trait SnapshotStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a snapshot; one with the same id and number is replaced.
    ///
    /// `Ok`: as durable as the store's setting promises, and loads that begin afterwards see it. Of concurrent saves of one
    /// id and number one wins whole.
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError>;

    /// The snapshot with the highest number at or below `at_most`, or `None`.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`] names the snapshot that cannot be read; ask again below its number for an older one.
    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError>;

    /// Deletes the snapshots with a number in the range; there being none is `Ok`.
    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError>;

    /// Numbers of the id's snapshots, lowest first, readable or not.
    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError>;

    /// The largest payload that can be saved, in bytes.
    fn max_payload_bytes(&self) -> usize;
}
