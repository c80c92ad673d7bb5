//! The aggregate of the README, on the memory journal.

use std::sync::Arc;

use annals_actors::{AskError, Context, Effect, Handle, NeverRejected, Node, PersistentActor, Stores};
use annals_journal::{Journal, MemoryJournal, SeqNr};
use annals_migrations::{Command, Event};
use annals_snapshot::MemorySnapshotStore;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Account {
    cents: i64,
}

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { cents: i64 },
    Withdrawn { cents: i64 },
}

#[derive(Serialize, Deserialize, Command)]
struct Deposit {
    cents: i64,
}

#[derive(Serialize, Deserialize, Command)]
struct Withdraw {
    cents: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Overdrawn {
    by: i64,
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit, Withdraw);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }
}

impl Handle<Deposit> for Account {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        ctx.persist(AccountEvent::Deposited { cents: command.cents }).reply(|account| account.cents)
    }
}

impl Handle<Withdraw> for Account {
    type Reply = i64;
    type Rejection = Overdrawn;

    fn handle(&self, command: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
        if command.cents > self.cents {
            return ctx.reject(Overdrawn { by: command.cents - self.cents });
        }
        ctx.persist(AccountEvent::Withdrawn { cents: command.cents }).reply(|account| account.cents)
    }
}

fn stores() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

#[tokio::test]
async fn an_account_survives_its_node() {
    let stores = stores();
    let node = Node::builder("bank").entity::<Account>().start(stores.clone()).await.unwrap();
    let alice = node.entity::<Account>("alice");
    assert_eq!(alice.ask(Deposit { cents: 100 }).await, Ok(100));
    assert_eq!(alice.ask(Withdraw { cents: 30 }).await, Ok(70));
    let refused = alice.ask(Withdraw { cents: 71 }).await.unwrap_err();
    assert_eq!(refused, AskError::Rejected(Overdrawn { by: 1 }));
    assert_eq!(refused.to_string(), "rejected by the domain: Overdrawn { by: 1 }");
    node.shutdown().await;

    let node = Node::builder("bank").entity::<Account>().start(stores.clone()).await.unwrap();
    let alice = node.entity::<Account>("alice");
    assert_eq!(alice.ask(Withdraw { cents: 70 }).confirmed().await, Ok(0));
    let id = alice.persistence_id().unwrap().clone();
    assert_eq!(stores.journal.head(&id).await.unwrap().seq_nr, SeqNr::new(3).unwrap());
    node.shutdown().await;
}
