//! A node on the journal: what a user of the backend writes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use annals::actors::{Node, Stores};
use annals::prelude::*;
use annals::snapshot::MemorySnapshotStore;
use redb_journal::RedbJournal;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

#[derive(Serialize, Deserialize, Event)]
struct Counted {}

#[derive(Serialize, Deserialize, Command)]
struct Count {}

impl PersistentActor for Counter {
    const KIND: &'static str = "counter";
    type Event = Counted;
    type Commands = (Count,);

    fn apply(&mut self, _: &Counted) {
        self.count += 1;
    }
}

impl Handle<Count> for Counter {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Count, ctx: &mut Context<Self, Count>) -> Effect<Self, Count> {
        ctx.persist(Counted {}).reply(|counter| counter.count)
    }
}

#[tokio::test]
async fn an_entity_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("journal.redb");
    for round in 0..3 {
        let node = start(&file).await;
        let counter = node.entity::<Counter>("one");
        for n in 1..=5 {
            assert_eq!(counter.ask(Count {}).await.unwrap(), round * 5 + n);
        }
        node.shutdown().await;
    }
}

async fn start(file: &Path) -> Node {
    let journal = Arc::new(RedbJournal::open(file).await.unwrap());
    let stores = Stores {
        journal: journal.clone(),
        records: journal,
        snapshots: Arc::new(MemorySnapshotStore::new()),
    };
    Node::builder("counting").entity::<Counter>().start(stores).await.unwrap()
}
