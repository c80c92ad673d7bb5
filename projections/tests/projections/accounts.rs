//! A node with accounts, and what their events come to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use annals_actors::{Context, Effect, Handle, NeverRejected, Node, PersistentActor, Stores};
use annals_journal::encryption::{
    DataKeyOptions, DataKeys, Eraser, ErasureLog, Ring, RingKeys, SealedJournal, SealedOptions,
};
use annals_journal::{PersistenceId, SeqNr};
use annals_migrations::{Command, Event};
use annals_projections::Source;
use annals_snapshot::MemorySnapshotStore;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::view::Place;

/// What no view likes.
pub(crate) const POISON: u64 = 66_666_666;
const ACCOUNTS: u64 = 20;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    events: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Deposited { cents: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Deposit {
    cents: u64,
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit,);

    fn apply(&mut self, _: &AccountEvent) {
        self.events += 1;
    }
}

impl Handle<Deposit> for Account {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, deposit: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        ctx.persist(AccountEvent::Deposited { cents: deposit.cents }).reply(|account| account.events)
    }
}

/// Cents and events of each account.
pub(crate) type Rows = BTreeMap<String, (u64, u64)>;

pub(crate) struct Bank {
    pub(crate) node: Node,
    /// What was deposited, in order.
    sent: Mutex<BTreeMap<String, Vec<u64>>>,
    count: Mutex<u64>,
}

impl Bank {
    pub(crate) async fn open(place: &Place) -> Self {
        let (journal, records) = place.journal();
        let stores = Stores { journal, records, snapshots: Arc::new(MemorySnapshotStore::new()) };
        let node = Node::builder("bank").entity::<Account>().start(stores).await.unwrap();
        Self { node, sent: Mutex::default(), count: Mutex::default() }
    }

    /// Behind keys, with the accounts that another has left.
    pub(crate) async fn open_sealed(place: &Place, before: Option<Self>) -> Self {
        let (journal, records) = place.journal();
        let ring = format!(r#"{{"active":1,"keys":{{"1":"{}="}}}}"#, "B".repeat(42) + "A");
        let ring = Arc::new(RingKeys::from(Ring::parse(&ring).unwrap()));
        let keys = DataKeys::open(records.clone(), ring, DataKeyOptions::default()).await.unwrap();
        let journal = Arc::new(SealedJournal::open(journal, keys, SealedOptions::default()).await.unwrap());
        let stores = Stores { journal, records, snapshots: Arc::new(MemorySnapshotStore::new()) };
        let node = Node::builder("bank").entity::<Account>().start(stores).await.unwrap();
        match before {
            Some(Self { node: ended, sent, count }) => {
                ended.shutdown().await;
                Self { node, sent, count }
            }
            None => Self { node, sent: Mutex::default(), count: Mutex::default() },
        }
    }

    /// Erases an account: its key is destroyed.
    pub(crate) async fn erase(&self, place: &Place, account: &str) {
        let (journal, records) = place.journal();
        let folder = tempfile::tempdir().unwrap();
        let mut log = ErasureLog::open(folder.path().join("erased.jsonl")).unwrap();
        let id = PersistenceId::new("account", account).unwrap();
        Eraser::new(journal, records).erase(&id, &mut log).await.unwrap();
        self.sent.lock().unwrap().remove(account);
    }

    pub(crate) fn source(&self) -> Source<AccountEvent> {
        Source::of::<Account>(&self.node).unwrap()
    }

    /// So many deposits, at the same time.
    pub(crate) async fn deposit(&self, deposits: u64) {
        let first = {
            let mut count = self.count.lock().unwrap();
            *count += deposits;
            *count - deposits
        };
        join_all((first..first + deposits).map(|n| self.put(format!("a-{}", n % ACCOUNTS), n + 1))).await;
    }

    /// Something that views do not like; its number.
    pub(crate) async fn poison(&self, account: &str) -> SeqNr {
        SeqNr::ZERO.plus(self.put(account.into(), POISON).await)
    }

    async fn put(&self, account: String, cents: u64) -> u64 {
        let number = self.node.entity::<Account>(&account).ask(Deposit { cents }).await.unwrap();
        self.sent.lock().unwrap().entry(account).or_default().push(cents);
        number
    }

    /// Deletes the first event of an account, as if it had never been.
    pub(crate) async fn delete(&self, account: &str, to: SeqNr) {
        let id = PersistenceId::new("account", account).unwrap();
        // In the journal's order, which the answers' may not be.
        let mut events = annals_journal::Query::id(self.node.journal().clone(), id.clone()).current();
        let first = futures::StreamExt::next(&mut events).await.unwrap().unwrap();
        let annals_journal::Replayed::Event(first) = first else { panic!("{first:?}") };
        let text = String::from_utf8(first.envelope.payload.to_vec()).unwrap();
        let cents: u64 = text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
        drop(events);
        self.node.journal().delete_to(&id, to).await.unwrap();
        let mut sent = self.sent.lock().unwrap();
        let events = sent.get_mut(account).unwrap();
        let at = events.iter().position(|sent| *sent == cents).unwrap();
        events.remove(at);
    }

    /// What a view has that took everything but poison.
    pub(crate) fn rows(&self) -> Rows {
        self.rows_of(|cents| cents != POISON)
    }

    pub(crate) fn rows_with_poison(&self) -> Rows {
        self.rows_of(|_| true)
    }

    fn rows_of(&self, wanted: impl Fn(u64) -> bool) -> Rows {
        let sent = self.sent.lock().unwrap();
        let rows = sent.iter().map(|(account, cents)| {
            let cents: Vec<_> = cents.iter().copied().filter(|cents| wanted(*cents)).collect();
            (account.clone(), (cents.iter().sum(), cents.len() as u64))
        });
        rows.filter(|(_, (_, events))| *events > 0).collect()
    }

    pub(crate) async fn close(self) {
        self.node.shutdown().await;
    }
}
