//! The contract of snapshot stores, for the stores of this crate.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use annals_journal::{PersistenceId, SeqNr};
use annals_snapshot::conformance::Backend;
use annals_snapshot::{MemorySnapshotStore, SnapshotStore};
use async_trait::async_trait;

struct Memory(MemorySnapshotStore);

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }

    fn outlives_process(&self) -> bool {
        false
    }

    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
        assert!(self.0.tamper(id, seq_nr, |bytes| bytes[30] ^= 1), "{id} {seq_nr:?} is not there");
    }
}

annals_snapshot::snapshot_conformance!(memory, || Memory(MemorySnapshotStore::new()));
