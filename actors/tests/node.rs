//! A node with its entities, on stores in memory.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod probe;

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_actors::plain::Mailbox;
use annals_actors::{AskError, Failure, Kind, Node, StartError};
use annals_journal::{Offset, PageItem, PersistenceId, SeqNr, Tag};
use annals_snapshot::{Retention, SnapshotPolicy};
use probe::*;

#[tokio::test]
async fn a_kind_that_is_not_registered_says_how_to_register_it() {
    let node = Node::builder("n").start(stores()).await.unwrap();
    let answer = node.entity::<Probe>("a").ask(Note("x".into())).await;
    let Err(AskError::Failed(failure)) = answer else { panic!("{answer:?}") };
    assert_eq!(failure, Failure::NotRegistered { kind: "probe" });
    assert!(failure.to_string().contains(".entity::<…>()"));
}

#[tokio::test]
async fn a_bad_entity_id_is_a_failure_of_the_ask() {
    let node = node(stores()).await;
    let answer = node.entity::<Probe>("line\nbreak").ask(Note("x".into())).await;
    assert!(matches!(answer, Err(AskError::Failed(Failure::InvalidId(_)))));
}

#[tokio::test]
async fn what_is_wrong_with_registrations_is_said_at_start() {
    let twice = Node::builder("n").entity::<Probe>().entity::<Probe>().start(stores()).await;
    assert!(matches!(twice, Err(StartError::DuplicateKind { kind: "probe" })));
    let no_service = Node::builder("n").entity::<Priced>().start(stores()).await;
    let Err(StartError::MissingService { kind: "priced", service }) = no_service else { panic!() };
    assert!(service.ends_with("PriceList"));
    let same_manifest = Node::builder("n").entity::<Probe>().entity::<Impostor>().start(stores()).await;
    let Err(StartError::DuplicateManifest(duplicate)) = same_manifest else { panic!() };
    assert!(duplicate.to_string().contains("probe"), "{duplicate}");
    assert!(duplicate.to_string().contains("impostor"), "{duplicate}");
}

#[tokio::test]
async fn a_service_comes_from_the_registration() {
    let kind = Kind::<Priced>::new().service(PriceList(42));
    let node = Node::builder("n").kind(kind).start(stores()).await.unwrap();
    assert_eq!(node.entity::<Priced>("a").ask(Buy).await, Ok(42));
}

#[tokio::test]
async fn a_service_that_is_not_declared_fails_the_command_with_the_remedy() {
    let kind = Kind::<Priced>::new().service(PriceList(42)).service("a text");
    let node = Node::builder("n").kind(kind).start(stores()).await.unwrap();
    let answer = node.entity::<Priced>("a").ask(BuyBlindly).await;
    let Err(AskError::Failed(Failure::Panicked { message, .. })) = answer else { panic!("{answer:?}") };
    assert!(message.contains("needs.service::<"), "{message}");
}

#[tokio::test]
async fn events_carry_the_tags_of_their_state() {
    let stores = stores();
    let node = node(stores.clone()).await;
    node.entity::<Probe>("a").ask(Note("important".into())).await.unwrap();
    node.entity::<Probe>("b").ask(Note("dull".into())).await.unwrap();
    let tag = Tag::new("important").unwrap();
    let page = stores.journal.events_by_tag(&tag, Offset::BEGINNING, 10).await.unwrap();
    let [PageItem::Event(event)] = &page.items[..] else { panic!("{page:?}") };
    assert_eq!(event.envelope.persistence_id.as_str(), "probe|a");
    assert_eq!(event.envelope.manifest.as_str(), "probe.noted");
}

#[tokio::test(start_paused = true)]
async fn an_idle_entity_leaves_memory_and_comes_back() {
    let stores = stores();
    let kind =
        Kind::<Probe>::new().passivate_after(Duration::from_secs(5)).snapshots(SnapshotPolicy::on_stop());
    let node = Node::builder("n").kind(kind).start(stores.clone()).await.unwrap();
    let entity = node.entity::<Probe>("a");
    entity.ask(Note("x".into())).await.unwrap();
    let id = entity.persistence_id().unwrap().clone();
    let before = stores.journal.head(&id).await.unwrap().token;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(stores.snapshots.list(&id).await.unwrap(), [SeqNr::FIRST], "the policy wanted one");
    assert_eq!(entity.ask(Notes).await, Ok(vec!["x".to_owned()]));
    let after = stores.journal.head(&id).await.unwrap().token;
    assert!(after > before, "it was recovered under a new activation");
}

#[tokio::test(start_paused = true)]
async fn a_busy_entity_stays_in_memory() {
    let stores = stores();
    let kind = Kind::<Probe>::new().passivate_after(Duration::from_secs(5));
    let node = Node::builder("n").kind(kind).start(stores.clone()).await.unwrap();
    let entity = node.entity::<Probe>("a");
    entity.ask(Note("x".into())).await.unwrap();
    let id = entity.persistence_id().unwrap().clone();
    let before = stores.journal.head(&id).await.unwrap().token;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        entity.ask(Notes).await.unwrap();
    }
    assert_eq!(stores.journal.head(&id).await.unwrap().token, before);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_at_once() {
    let (stores, journal) = faulty_stores();
    let gate = journal.next_claim().waits();
    let node = Node::builder("n")
        .kind(Kind::<Probe>::new().mailbox(Mailbox::bounded(2)))
        .start(stores)
        .await
        .unwrap();
    let entity = node.entity::<Probe>("a");
    for _ in 0..2 {
        entity.tell(Note("x".into())).await.unwrap();
    }
    let full = entity.tell(Note("x".into())).await;
    assert!(matches!(full, Err(Failure::MailboxFull { capacity: 2, .. })), "{full:?}");
    gate.open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(entity.ask(Notes).await.map(|notes| notes.len()), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_before_the_decision_means_not_carried_out() {
    let (stores, journal) = faulty_stores();
    let gate = journal.next_claim().waits();
    let node = node(stores).await;
    let entity = node.entity::<Probe>("a");
    let answer = entity.ask(Note("late".into())).timeout(Duration::from_secs(1)).await;
    assert!(matches!(answer, Err(AskError::Failed(Failure::TimedOut { .. }))), "{answer:?}");
    gate.open();
    assert_eq!(entity.ask(Notes).await, Ok(vec![]), "it was not carried out later either");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_after_the_decision_means_unknown() {
    let (stores, journal) = faulty_stores();
    let node = node(stores).await;
    let entity = node.entity::<Probe>("a");
    let gate = journal.next_append().waits();
    let answer = entity.ask(Note("maybe".into())).timeout(Duration::from_secs(1)).await;
    assert!(matches!(answer, Err(AskError::Unknown(_))), "{answer:?}");
    gate.open();
    assert_eq!(entity.ask(Notes).await, Ok(vec!["maybe".to_owned()]));
}

#[tokio::test]
async fn a_second_node_on_the_journal_takes_over_and_the_first_says_so() {
    let stores = stores();
    let (old, new) = (node(stores.clone()).await, node(stores.clone()).await);
    let entity_of = |node: &Node| node.entity::<Probe>("a");
    entity_of(&old).ask(Note("one".into())).await.unwrap();
    entity_of(&new).ask(Note("two".into())).await.unwrap();
    for answer in [
        entity_of(&old).ask(Note("three".into())).await.map(|_| ()),
        entity_of(&old).ask(Notes).confirmed().await.map(|_| ()),
    ] {
        assert!(matches!(answer, Err(AskError::Failed(Failure::Fenced { .. }))), "{answer:?}");
    }
    assert_eq!(entity_of(&new).ask(Notes).confirmed().await.unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn a_confirmed_read_notices_a_takeover_that_a_plain_one_does_not() {
    let stores = stores();
    let (old, new) = (node(stores.clone()).await, node(stores.clone()).await);
    old.entity::<Probe>("a").ask(Note("one".into())).await.unwrap();
    new.entity::<Probe>("a").ask(Note("two".into())).await.unwrap();
    assert_eq!(old.entity::<Probe>("a").ask(Notes).await.unwrap(), ["one"], "stale, and documented so");
    let confirmed = old.entity::<Probe>("a").ask(Notes).confirmed().await;
    assert!(matches!(confirmed, Err(AskError::Failed(Failure::Fenced { .. }))), "{confirmed:?}");
}

#[tokio::test]
async fn side_effects_run_in_order_once_durable() {
    let world = World::default();
    let kind = Kind::<Notifier>::new().service(world.clone());
    let node = Node::builder("n").kind(kind).start(stores()).await.unwrap();
    let entity = node.entity::<Notifier>("a");
    for n in 20..40 {
        entity.tell(Notify(n)).await.unwrap();
    }
    entity.ask(Notify(40)).await.unwrap();
    node.shutdown().await;
    assert_eq!(world.heard(), (20..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_side_effect_that_panics_hurts_nobody() {
    let world = World::default();
    let kind = Kind::<Notifier>::new().service(world.clone());
    let node = Node::builder("n").kind(kind).start(stores()).await.unwrap();
    let entity = node.entity::<Notifier>("a");
    entity.ask(Notify(13)).await.unwrap();
    entity.ask(Notify(14)).await.unwrap();
    node.shutdown().await;
    assert_eq!(world.heard(), [14]);
}

#[tokio::test]
async fn shutdown_finishes_what_was_decided_and_refuses_what_comes() {
    let stores = stores();
    let node = node(stores.clone()).await;
    let entities: Vec<_> = (0..50).map(|n| node.entity::<Probe>(&format!("e{n}"))).collect();
    let asks: Vec<_> =
        entities.iter().map(|entity| tokio::spawn(entity.ask(Note("x".into())).into_future())).collect();
    tokio::task::yield_now().await;
    node.shutdown().await;
    for (ask, entity) in asks.into_iter().zip(&entities) {
        let id = entity.persistence_id().unwrap();
        let stored = stores.journal.head(id).await.unwrap().seq_nr == SeqNr::FIRST;
        match ask.await.unwrap() {
            Ok(_) => assert!(stored),
            Err(AskError::Failed(Failure::Stopping { .. })) => assert!(!stored),
            other => panic!("{other:?}"),
        }
    }
    let late = entities[0].ask(Note("late".into())).await;
    assert!(matches!(late, Err(AskError::Failed(Failure::Stopping { .. }))));
}

#[tokio::test(start_paused = true)]
async fn claims_are_limited() {
    let (stores, journal) = faulty_stores();
    // While one commit is on its way, all that may claim come together for the next one.
    journal.next_claim().always().takes(Duration::from_millis(5));
    let node = Node::builder("n").entity::<Probe>().max_claims(3).start(stores).await.unwrap();
    let asks = (0..60).map(|n| node.entity::<Probe>(&format!("e{n}")).ask(Notes).into_future());
    for answer in futures::future::join_all(asks).await {
        answer.unwrap();
    }
    let most = journal.commits().into_iter().max().unwrap();
    assert!((2..=3).contains(&most), "{most} at once");
}

#[tokio::test]
async fn retention_deletes_what_a_snapshot_covers_and_recovery_still_works() {
    let stores = stores();
    let kind = || {
        Kind::<Probe>::new()
            .snapshots(SnapshotPolicy::every_events(5))
            .retention(Retention::keep(1).delete_events())
    };
    let first = Node::builder("n").kind(kind()).start(stores.clone()).await.unwrap();
    let entity = first.entity::<Probe>("a");
    for n in 0..23 {
        entity.ask(Note(n.to_string())).await.unwrap();
    }
    first.shutdown().await;
    let id = PersistenceId::new("probe", "a").unwrap();
    let head = stores.journal.head(&id).await.unwrap();
    assert!(head.deleted_to >= SeqNr::new(14).unwrap(), "{head:?}");
    let second = Node::builder("n").kind(kind()).start(stores).await.unwrap();
    let notes = second.entity::<Probe>("a").ask(Notes).await.unwrap();
    assert_eq!(notes, (0..23).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_done_after_a_stop_is_done_last_and_for_a_bounded_time() {
    let closed = Arc::new(AtomicBool::new(false));
    let builder = || Node::builder("n").entity::<Probe>();
    let closes = Arc::clone(&closed);
    let node = builder()
        .after_stop(async move { closes.store(true, Ordering::SeqCst) })
        .start(stores())
        .await
        .unwrap();
    node.entity::<Probe>("a").ask(Note("x".into())).await.unwrap();
    assert!(!closed.load(Ordering::SeqCst), "not before the node has stopped");
    node.shutdown().await;
    assert!(closed.load(Ordering::SeqCst));

    let hangs = builder().after_stop(std::future::pending()).start(stores()).await.unwrap();
    let began = tokio::time::Instant::now();
    hangs.shutdown().await;
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(12));
}
