//! Entities that stop gracefully carry out what waits.

use annals_actors::plain::{Mailbox, TerminationReason};
use annals_actors::testing::TestNode;
use annals_actors::{AskError, Failure};

use crate::kettle::*;
use crate::{MS, SEC, kitchen, notes};

fn is_stopping<T: std::fmt::Debug>(answer: &Result<T, AskError<annals_actors::NeverRejected>>) -> bool {
    matches!(answer, Err(AskError::Failed(Failure::Stopping { .. })))
}

/// Has commands wait in the mailbox: the entity is in recovery for so long.
async fn with_five_waiting(
    kit: &TestNode,
    recovers: std::time::Duration,
) -> annals_actors::EntityRef<Kettle> {
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("before".into())).await.unwrap();
    kettle.stop();
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::Stopped));
    kit.journal().next_replay().takes(recovers);
    for n in 0..5 {
        kettle.try_tell(Note(format!("waiting {n}"))).unwrap();
    }
    kettle
}

const ALL: [&str; 6] = ["before", "waiting 0", "waiting 1", "waiting 2", "waiting 3", "waiting 4"];

async fn stored(kit: &TestNode) -> Vec<String> {
    let events = kit.stored::<Kettle>("a").events().await;
    events.into_iter().map(|KettleEvent::Noted { note }| note).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_carries_out_what_waits_for_its_entities() {
    let kit = kitchen().await;
    with_five_waiting(&kit, 2 * SEC).await;
    kit.shutdown().await;
    assert_eq!(stored(&kit).await, ALL);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_is_stopped_takes_no_more_and_carries_out_what_waits() {
    let kit = kitchen().await;
    let kettle = with_five_waiting(&kit, 2 * SEC).await;
    kettle.stop();
    assert!(is_stopping(&kettle.ask(Note("too late".into())).await));
    assert!(kettle.try_tell(Note("too late".into())).is_err());
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::Stopped));
    assert!(!kit.is_active::<Kettle>("a"));
    assert_eq!(notes(&kettle).await, ALL, "the next command starts it again");
}

#[tokio::test(start_paused = true)]
async fn stop_now_refuses_what_waits() {
    let kit = kitchen().await;
    let kettle = with_five_waiting(&kit, 2 * SEC).await;
    let asked = tokio::spawn(kettle.ask(Notes).into_future());
    kit.advance(MS).await;
    kettle.stop_now();
    assert!(is_stopping(&asked.await.unwrap()));
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::NotInMemory));
    assert_eq!(notes(&kettle).await, ["before"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_carried_out_in_time_is_refused() {
    let kit = TestNode::builder().kind(kettles).node(|node| node.entities_stop_within(2 * SEC)).start().await;
    let kettle = with_five_waiting(&kit, 600 * SEC).await;
    let mut letters = kit.system().dead_letters(10);
    let began = kit.now();
    kettle.stop();
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::Stopped));
    let took = kit.now().since(began);
    assert!(took >= 1_900 * MS && took < 4 * SEC, "{took:?}");
    for _ in 0..5 {
        let annals_actors::plain::Published::Event(letter) = letters.next().await else {
            panic!("a dead letter was expected")
        };
        assert_eq!(letter.reason.label(), "stopped");
    }
    assert_eq!(stored(&kit).await, ["before"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_hears_that_the_entity_stops() {
    let kind = || kettles().mailbox(Mailbox::bounded(5).on_overflow(annals_actors::plain::Overflow::Wait));
    let kit = TestNode::builder().kind(kind).start().await;
    let kettle = with_five_waiting(&kit, 2 * SEC).await;
    let waits = tokio::spawn(kettle.ask(Notes).into_future());
    kit.advance(MS).await;
    kettle.stop();
    assert!(is_stopping(&waits.await.unwrap()));
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::Stopped));
    assert_eq!(notes(&kettle).await, ALL);
}

#[tokio::test(start_paused = true)]
async fn timers_do_not_come_to_an_entity_that_finishes() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    let timer = What::Timer { key: "tea".into(), after: SEC, note: "tea".into() };
    kettle.ask(want(timer)).await.unwrap();
    kit.journal().next_append().takes(3 * SEC);
    let noted = tokio::spawn(kettle.ask(Note("finished".into())).into_future());
    kit.advance(MS).await;
    kettle.stop();
    noted.await.unwrap().unwrap();
    kettle.terminated().await.unwrap();
    assert_eq!(notes(&kettle).await, ["finished"]);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_is_not_in_memory_is_not_woken_to_be_stopped() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.stop();
    kettle.stop_now();
    kit.advance(SEC).await;
    assert!(!kit.is_active::<Kettle>("a"));
    assert_eq!(kit.stored::<Kettle>("a").head().await.token, annals_journal::Token::NONE);
}
