use std::sync::Arc;

use annals_journal::{Journal, JournalError, PersistenceId, Records};
use annals_snapshot::SnapshotStore;

/// A journal with what lies beside it. To copy into another ring of keys, both sides are journals that open and seal.
#[derive(Debug, Clone)]
pub struct Side {
    /// How operators call it, such as its URL: what the other one's gate says.
    pub name: String,
    /// The events.
    pub journal: Arc<dyn Journal>,
    /// The named records.
    pub records: Arc<dyn Records>,
    /// The snapshots.
    pub snapshots: Arc<dyn SnapshotStore>,
}

impl Side {
    pub(super) async fn ids(
        &self,
        after: Option<&PersistenceId>,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.journal.persistence_ids(after, IDS).await
    }
}

/// How many ids are asked for at a time.
pub(super) const IDS: usize = 256;
