//! Actors whose state is stored, not their events.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use annals_actors::testing::TestNode;
use annals_actors::{
    AskError, Context, DurableState, Effect, Failure, Handle, Kind, NeverRejected, Node, StateChange, Stores,
};
use annals_journal::testing::Outcome;
use annals_journal::{
    Journal, MemoryJournal, Offset, PageItem, PersistenceId, ReplayRange, Replayed, SeqNr, Tag,
};
use annals_migrations::{Command, Migrations, Step};
use annals_snapshot::MemorySnapshotStore;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

#[derive(Serialize, Deserialize, Command)]
struct Put(String);

#[derive(Serialize, Deserialize, Command)]
struct Empty;

#[derive(Serialize, Deserialize, Command)]
struct Items;

/// Refuses when the cart was changed since.
#[derive(Serialize, Deserialize, Command)]
struct PutIf(u64, String);

impl DurableState for Cart {
    const KIND: &'static str = "cart";
    type Commands = (Put, Empty, Items, PutIf);

    fn tags(&self) -> Vec<Tag> {
        if self.items.is_empty() { Vec::new() } else { vec![Tag::new("full").unwrap()] }
    }
}

impl Cart {
    fn with(&self, item: &str) -> Self {
        let mut items = self.items.clone();
        items.push(item.to_owned());
        Self { items }
    }
}

impl Handle<Put> for Cart {
    type Reply = (u64, usize);
    type Rejection = NeverRejected;

    fn handle(&self, put: &Put, ctx: &mut Context<Self, Put>) -> Effect<Self, Put> {
        let revision = ctx.revision().next().get();
        ctx.update(self.with(&put.0)).reply(move |cart| (revision, cart.items.len()))
    }
}

impl Handle<Empty> for Cart {
    type Reply = usize;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Empty, ctx: &mut Context<Self, Empty>) -> Effect<Self, Empty> {
        ctx.delete().reply(|cart| cart.items.len())
    }
}

impl Handle<Items> for Cart {
    type Reply = (u64, Vec<String>);
    type Rejection = NeverRejected;

    fn handle(&self, _: &Items, ctx: &mut Context<Self, Items>) -> Effect<Self, Items> {
        ctx.reply((ctx.revision().get(), self.items.clone()))
    }
}

impl Handle<PutIf> for Cart {
    type Reply = u64;
    type Rejection = u64;

    fn handle(&self, put: &PutIf, ctx: &mut Context<Self, PutIf>) -> Effect<Self, PutIf> {
        let revision = ctx.revision().get();
        if revision != put.0 {
            return ctx.reject(revision);
        }
        ctx.update(self.with(&put.1)).reply_with(revision + 1)
    }
}

fn cart() -> PersistenceId {
    PersistenceId::new("cart", "a").unwrap()
}

fn stores() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

async fn node(stores: &Stores, kind: Kind<Cart>) -> Node {
    Node::builder("n").kind(kind).start(stores.clone()).await.unwrap()
}

/// The numbers that are stored of the cart.
async fn numbers(journal: &dyn Journal) -> Vec<u64> {
    let items: Vec<_> = journal.replay(ReplayRange::all(&cart())).try_collect().await.unwrap();
    let numbers = items.iter().filter_map(|item| match item {
        Replayed::Event(event) => Some(event.envelope.seq_nr.get()),
        _ => None,
    });
    numbers.collect()
}

#[tokio::test]
async fn the_newest_state_is_what_is_stored_and_recovered() {
    let stores = stores();
    let first = node(&stores, Kind::new().keep_revisions(2)).await;
    let entity = first.entity::<Cart>("a");
    assert_eq!(entity.ask(Items).await, Ok((0, vec![])));
    for (number, item) in (1..).zip(["tea", "milk", "honey", "bread"]) {
        assert_eq!(entity.ask(Put(item.into())).await, Ok((number, usize::try_from(number).unwrap())));
    }
    assert_eq!(entity.ask(PutIf(3, "salt".into())).await, Err(AskError::Rejected(4)));
    assert_eq!(entity.ask(PutIf(4, "salt".into())).await, Ok(5));
    first.shutdown().await;
    assert_eq!(numbers(&*stores.journal).await, [5], "what lies behind is deleted when it leaves");
    assert_eq!(stores.snapshots.list(&cart()).await.unwrap(), []);

    let second = node(&stores, Kind::new()).await;
    let (revision, items) = second.entity::<Cart>("a").ask(Items).await.unwrap();
    assert_eq!((revision, items.join(" ").as_str()), (5, "tea milk honey bread salt"));
    second.shutdown().await;
}

#[tokio::test]
async fn a_deleted_state_is_the_default_and_its_revision_goes_on() {
    let stores = stores();
    let first = node(&stores, Kind::new()).await;
    let entity = first.entity::<Cart>("a");
    entity.ask(Put("tea".into())).await.unwrap();
    assert_eq!(entity.ask(Empty).await, Ok(0));
    assert_eq!(entity.ask(Items).await, Ok((2, vec![])));
    first.shutdown().await;
    let second = node(&stores, Kind::new()).await;
    let entity = second.entity::<Cart>("a");
    assert_eq!(entity.ask(Items).await, Ok((2, vec![])));
    assert_eq!(entity.ask(Put("milk".into())).await, Ok((3, 1)));
    let page = stores.journal.events_by_tag(&Tag::new("full").unwrap(), Offset::BEGINNING, 10).await.unwrap();
    assert!(matches!(page.items.last(), Some(PageItem::Event(event)) if event.envelope.seq_nr.get() == 3));
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_failed_is_made_up_for() {
    let kit = TestNode::builder().kind(|| Kind::<Cart>::new().keep_revisions(0)).start().await;
    let entity = kit.entity::<Cart>("a");
    kit.journal().next_delete().fails_unavailable();
    for _ in 0..3 {
        entity.ask(Put("tea".into())).await.unwrap();
    }
    // The second was to delete the first; the next try comes a while later, or with the end.
    assert_eq!(numbers(kit.journal()).await, [1, 2, 3]);
    kit.advance(Duration::from_secs(10)).await;
    entity.ask(Put("tea".into())).await.unwrap();
    kit.shutdown().await;
    assert_eq!(numbers(kit.journal()).await, [4]);
}

#[tokio::test]
async fn an_older_owner_stores_and_deletes_nothing_of_the_newer_one() {
    let stores = stores();
    let older = node(&stores, Kind::new().keep_revisions(0)).await;
    let entity = older.entity::<Cart>("a");
    for item in ["tea", "milk"] {
        entity.ask(Put(item.into())).await.unwrap();
    }
    let newer = node(&stores, Kind::new()).await;
    let taken_over = newer.entity::<Cart>("a");
    assert_eq!(taken_over.ask(Put("honey".into())).await, Ok((3, 3)));
    let refused = entity.ask(Put("bread".into())).await;
    assert!(matches!(refused, Err(AskError::Failed(Failure::Fenced { .. }))), "{refused:?}");
    older.shutdown().await;
    assert!(numbers(&*stores.journal).await.ends_with(&[3]));
    assert_eq!(taken_over.ask(Items).await.unwrap().0, 3);
    newer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_an_answer_each_update_counts_once() {
    let kit = TestNode::builder().kind(|| Kind::<Cart>::new().keep_revisions(1)).start().await;
    let entity = kit.entity::<Cart>("a");
    let mut expected = 0;
    for outcome in [Outcome::Stored, Outcome::NotStored, Outcome::Stored] {
        for lost in [false, true] {
            if lost {
                kit.journal().next_append().outcome_unknown(outcome);
            }
            expected += 1;
            assert_eq!(
                entity.ask(Put("tea".into())).await,
                Ok((expected, usize::try_from(expected).unwrap()))
            );
        }
        assert!(kit.crash::<Cart>("a").await);
        assert_eq!(entity.ask(Items).await.unwrap().0, expected);
    }
    kit.crash_node().await;
    let (revision, items) = kit.entity::<Cart>("a").ask(Items).await.unwrap();
    assert_eq!((revision, items.len() as u64), (expected, expected));
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_leaves_memory_and_comes_back() {
    let stores = stores();
    let node = node(&stores, Kind::new().passivate_after(Duration::from_secs(5))).await;
    let entity = node.entity::<Cart>("a");
    for item in ["tea", "milk"] {
        entity.ask(Put(item.into())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(numbers(&*stores.journal).await, [2]);
    assert_eq!(entity.ask(Items).await.unwrap().0, 2);
    node.shutdown().await;
}

/// What was deleted by hand with the newest is no empty cart: nobody knows what it was.
#[tokio::test]
async fn a_state_that_was_deleted_under_it_is_an_error() {
    let stores = stores();
    let first = node(&stores, Kind::new()).await;
    first.entity::<Cart>("a").ask(Put("tea".into())).await.unwrap();
    first.shutdown().await;
    stores.journal.delete_to(&cart(), SeqNr::FIRST).await.unwrap();
    let second = node(&stores, Kind::new()).await;
    let answer = second.entity::<Cart>("a").ask(Items).await;
    assert!(matches!(answer, Err(AskError::Failed(Failure::RecoveryFailed { .. }))), "{answer:?}");
    second.shutdown().await;
}

/// The cart of a later build, under the same kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct PricedCart {
    items: Vec<String>,
    currency: String,
}

#[derive(Serialize, Deserialize, Command)]
struct Currency;

impl DurableState for PricedCart {
    const KIND: &'static str = "cart";
    const STATE_VERSION: u32 = 2;
    type Commands = (Put, Currency);

    fn migrations() -> Migrations<Self> {
        Migrations::new().up("state", 1, Step::default_value("currency", "EUR")).down(
            "state",
            1,
            Step::remove_field("currency"),
        )
    }
}

impl Handle<Put> for PricedCart {
    type Reply = usize;
    type Rejection = NeverRejected;

    fn handle(&self, put: &Put, ctx: &mut Context<Self, Put>) -> Effect<Self, Put> {
        let mut cart = self.clone();
        cart.items.push(put.0.clone());
        ctx.update(cart).reply(|cart| cart.items.len())
    }
}

impl Handle<Currency> for PricedCart {
    type Reply = String;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Currency, ctx: &mut Context<Self, Currency>) -> Effect<Self, Currency> {
        ctx.reply(self.currency.clone())
    }
}

#[tokio::test]
async fn a_later_build_reads_it_and_writes_the_older_form_as_long_as_it_is_held() {
    let stores = stores();
    let first = node(&stores, Kind::new()).await;
    first.entity::<Cart>("a").ask(Put("tea".into())).await.unwrap();
    first.shutdown().await;

    let later = Node::builder("n").entity::<PricedCart>().hold("cart.state", 1);
    let later = later.start(stores.clone()).await.unwrap();
    let entity = later.entity::<PricedCart>("a");
    assert_eq!(entity.ask(Currency).await.as_deref(), Ok("EUR"));
    assert_eq!(entity.ask(Put("milk".into())).await, Ok(2));
    later.shutdown().await;
    let back = node(&stores, Kind::new()).await;
    assert_eq!(
        back.entity::<Cart>("a").ask(Items).await.unwrap().0,
        2,
        "going back is free while it is held"
    );
    back.shutdown().await;

    let later = Node::builder("n").entity::<PricedCart>().start(stores.clone()).await.unwrap();
    assert_eq!(later.entity::<PricedCart>("a").ask(Put("honey".into())).await, Ok(3));
    later.shutdown().await;
    let refused = Node::builder("n").entity::<Cart>().start(stores).await.unwrap_err().to_string();
    assert!(refused.contains("cart.state") && refused.contains("annals migrate rewrite"), "{refused}");
}

#[test]
fn what_is_stored_is_the_state_and_nothing_around_it() {
    use annals_migrations::{EventAdapter, KindAdapter};
    let adapter = KindAdapter::<StateChange<Cart>>::new("cart").unwrap();
    let stored = |change: &StateChange<Cart>| {
        let encoded = adapter.to_journal(change).unwrap();
        (encoded.manifest.to_string(), String::from_utf8(encoded.payload.to_vec()).unwrap())
    };
    let cart = Cart::default().with("tea");
    assert_eq!(stored(&StateChange::Updated(cart)), ("cart.state".into(), r#"{"items":["tea"]}"#.into()));
    assert_eq!(stored(&StateChange::Deleted), ("cart.state-deleted".into(), "null".into()));
}
