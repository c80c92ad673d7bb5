use std::sync::Arc;

use annals_actors::{Node, Stores};
use annals_journal::MemoryJournal;
use annals_journal::testing::FaultyJournal;
use annals_snapshot::MemorySnapshotStore;

use super::Probe;

pub(crate) fn stores() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

/// The same with a journal that fails on order.
pub(crate) fn faulty_stores() -> (Stores, FaultyJournal) {
    let stores = stores();
    let journal = FaultyJournal::around(stores.journal.clone());
    (Stores { journal: Arc::new(journal.clone()), ..stores }, journal)
}

pub(crate) async fn node(stores: Stores) -> Node {
    Node::builder("n").entity::<Probe>().start(stores).await.unwrap()
}
