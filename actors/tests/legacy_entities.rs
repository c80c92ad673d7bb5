//! Entities whose first events are the rows of something else.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use annals_actors::{Context, Effect, Handle, NeverRejected, Node, PersistentActor, Stores};
use annals_derive::{Command, Event};
use annals_journal::{Journal, MemoryJournal, PersistenceId};
use annals_migrations::{LegacyJournal, LegacyMapping, LegacyRows};
use annals_snapshot::MemorySnapshotStore;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Default, Serialize, Deserialize)]
struct Account {
    cents: i64,
}

#[derive(Deserialize)]
struct OldMoved {
    amount: String,
}

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    #[event(from(("legacy.moved", 1) => Step::try_typed(of_old)))]
    Moved { cents: i64 },
}

fn of_old(old: OldMoved) -> Result<AccountEvent, std::num::ParseIntError> {
    Ok(AccountEvent::Moved { cents: old.amount.parse()? })
}

#[derive(Debug, Serialize, Deserialize, Command)]
struct Move(i64);

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Move,);

    fn apply(&mut self, event: &AccountEvent) {
        let AccountEvent::Moved { cents } = event;
        self.cents += cents;
    }
}

impl Handle<Move> for Account {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Move, ctx: &mut Context<Self, Move>) -> Effect<Self, Move> {
        ctx.persist(AccountEvent::Moved { cents: command.0 }).reply(|account| account.cents)
    }
}

#[tokio::test]
async fn an_entity_begins_with_the_rows_of_something_else() {
    let mapping: LegacyMapping = serde_json::from_value(json!({
        "kind": "account", "id": "stream", "event": "type", "events": {"Moved": "legacy.moved"},
    }))
    .unwrap();
    let rows = [
        json!({"stream": "alice", "type": "Moved", "amount": "10"}),
        json!({"stream": "alice", "type": "Moved", "amount": "-3"}),
        json!({"stream": "bob", "type": "Moved", "amount": "5"}),
    ];
    let rows = LegacyRows::new(&mapping, rows.iter().map(|row| row.as_object().unwrap())).unwrap();
    let (inner, snapshots) = (Arc::new(MemoryJournal::new()), Arc::new(MemorySnapshotStore::new()));
    let over_rows = Arc::new(LegacyJournal::new(inner.clone(), rows));
    let start = async |journal: Arc<dyn Journal>| {
        let stores = Stores { journal, records: inner.clone(), snapshots: snapshots.clone() };
        Node::builder("bank").entity::<Account>().start(stores).await.unwrap()
    };
    let node = start(over_rows.clone()).await;
    assert_eq!(node.entity::<Account>("alice").ask(Move(1)).await.unwrap(), 8);
    node.shutdown().await;
    let node = start(over_rows).await;
    assert_eq!(node.entity::<Account>("alice").ask(Move(1)).await.unwrap(), 9, "once");
    node.shutdown().await;
    let bob = PersistenceId::new("account", "bob").unwrap();
    assert_eq!(inner.head(&bob).await.unwrap().seq_nr.get(), 0, "nobody asked for it");

    // What was taken over needs the rows no more.
    let node = start(inner.clone()).await;
    assert_eq!(node.entity::<Account>("alice").ask(Move(1)).await.unwrap(), 10);
    node.shutdown().await;
}
