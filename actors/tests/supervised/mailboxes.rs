//! What happens to a command that meets a full mailbox: it waits, is refused, or is dropped.

use std::future::IntoFuture;
use std::sync::Arc;

use annals_actors::plain::{DeadLetterReason, Mailbox, Overflow, Published};
use annals_actors::{AskError, EntityRef, Failure, Node};
use tokio::task::{JoinHandle, yield_now};

use crate::doctored::Doctored;
use crate::tank::*;
use crate::{MS, SEC};

/// A tank with two places in its mailbox, both taken by a litre each; its journal is silent.
async fn full(overflow: Overflow) -> (Node, EntityRef<Tank>, Arc<Doctored>) {
    let (plant, journal) = plant(|kind| kind.mailbox(Mailbox::bounded(2).on_overflow(overflow)));
    let node = started(plant, &journal).await;
    let tank = node.entity::<Tank>("a");
    journal.silence();
    for _ in 0..2 {
        tank.tell(Fill(1)).await.unwrap();
    }
    (node, tank, journal)
}

/// An ask that has come as far as it can.
async fn asked(
    tank: &EntityRef<Tank>,
    litres: u64,
) -> JoinHandle<Result<u64, AskError<annals_actors::NeverRejected>>> {
    let ask = tokio::spawn(tank.ask(Fill(litres)).into_future());
    yield_now().await;
    ask
}

#[tokio::test(start_paused = true)]
async fn senders_wait_for_room_and_are_served_in_their_order() {
    let (_node, tank, journal) = full(Overflow::Wait).await;
    let first = asked(&tank, 10).await;
    let told = tokio::spawn({
        let tank = tank.clone();
        async move { tank.tell(Fill(100)).await }
    });
    yield_now().await;
    let last = asked(&tank, 1_000).await;
    assert!(matches!(tank.try_tell(Fill(5)), Err(Failure::MailboxFull { capacity: 2, .. })));
    assert!(!first.is_finished() && !told.is_finished() && !last.is_finished());
    journal.speak();
    assert_eq!(told.await.unwrap(), Ok(()));
    assert_eq!((first.await.unwrap(), last.await.unwrap()), (Ok(12), Ok(1_112)));
    // Nobody waits any more.
    assert_eq!(tank.try_tell(Fill(1)), Ok(()));
    assert_eq!(tank.ask(Litres).await, Ok(1_113));
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_waits_for_room_waits_no_longer_than_it_may_and_is_not_carried_out() {
    let (node, tank, journal) = full(Overflow::Wait).await;
    let mut letters = node.system().dead_letters(10);
    let began = tokio::time::Instant::now();
    let late = tank.ask(Fill(10)).timeout(SEC).await;
    assert!(matches!(late, Err(AskError::Failed(Failure::TimedOut { .. }))), "{late:?}");
    assert!(began.elapsed() <= SEC + MS, "{:?}", began.elapsed());
    // The time that passes before there is room counts.
    let began = tokio::time::Instant::now();
    let next = tokio::spawn(tank.ask(Fill(100)).timeout(SEC).into_future());
    tokio::time::sleep(SEC / 2).await;
    journal.delay(SEC);
    journal.speak();
    let late = next.await.unwrap();
    assert!(matches!(late, Err(AskError::Failed(Failure::TimedOut { .. }))), "{late:?}");
    assert!(began.elapsed() <= SEC + MS, "{:?}", began.elapsed());
    assert_eq!(tank.ask(Litres).await, Ok(2));
    assert_eq!(letters.try_next(), None, "who asks is told");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gives_up_leaves_its_place_to_the_next() {
    let (_node, tank, journal) = full(Overflow::Wait).await;
    let (first, second) = (asked(&tank, 10).await, asked(&tank, 100).await);
    let told = tokio::spawn({
        let tank = tank.clone();
        async move { tank.tell(Fill(1_000)).await }
    });
    yield_now().await;
    first.abort();
    told.abort();
    assert!(first.await.is_err() && told.await.is_err());
    journal.speak();
    assert_eq!(second.await.unwrap(), Ok(102));
    assert_eq!(tank.ask(Litres).await, Ok(102));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_of_an_entity_that_passivates_wakes_it_again() {
    let (plant, journal) = plant(|kind| kind.mailbox(Mailbox::bounded(1).on_overflow(Overflow::Wait)));
    let node = started(plant, &journal).await;
    let tank = node.entity::<Tank>("a");
    journal.silence();
    tank.tell(Doze).await.unwrap();
    let waits = asked(&tank, 10).await;
    // It gets its place when `Doze` is taken, after which the entity leaves at once.
    journal.speak();
    assert_eq!(waits.await.unwrap(), Ok(10));
    assert_eq!(tank.ask(Litres).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_learns_why_the_entity_is_gone() {
    // Its node stops.
    let (node, tank, journal) = full(Overflow::Wait).await;
    let (asks, mut letters) = (asked(&tank, 10).await, node.system().dead_letters(10));
    let tells = tokio::spawn({
        let tank = tank.clone();
        async move { tank.tell(Fill(1_000)).await }
    });
    yield_now().await;
    let stopping = tokio::spawn(async move { node.shutdown().await });
    let refused = asks.await.unwrap();
    assert!(matches!(refused, Err(AskError::Failed(Failure::Stopping { .. }))), "{refused:?}");
    assert!(matches!(tells.await.unwrap(), Err(Failure::Stopping { .. })));
    journal.speak();
    stopping.await.unwrap();
    let Published::Event(letter) = letters.next().await else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::Stopped);

    // Its history cannot be read.
    let (plant, journal) = plant(|kind| kind.mailbox(Mailbox::bounded(1).on_overflow(Overflow::Wait)));
    let node = started(plant, &journal).await;
    let tank = node.entity::<Tank>("a");
    tank.ask(Fill(1)).await.unwrap();
    tank.ask(Doze).await.unwrap();
    journal.damage("tank|a");
    journal.silence();
    tank.tell(Fill(1)).await.unwrap();
    let asks = asked(&tank, 10).await;
    journal.speak();
    let refused = asks.await.unwrap();
    assert!(matches!(refused, Err(AskError::Failed(Failure::RecoveryFailed { .. }))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_dropped_and_who_asks_is_told() {
    let (node, tank, journal) = full(Overflow::Drop).await;
    let mut letters = node.system().dead_letters(10);
    assert_eq!(tank.tell(Fill(10)).await, Ok(()));
    assert_eq!(tank.try_tell(Fill(10)), Ok(()));
    for _ in 0..2 {
        let Published::Event(letter) = letters.next().await else { panic!() };
        assert_eq!(
            (letter.recipient.as_str(), letter.reason),
            ("plant/tank|a", DeadLetterReason::MailboxFull)
        );
    }
    let asked = tank.ask(Fill(10)).await;
    assert!(matches!(asked, Err(AskError::Failed(Failure::MailboxFull { capacity: 2, .. }))), "{asked:?}");
    assert_eq!(letters.try_next(), None);
    journal.speak();
    tokio::time::sleep(SEC).await;
    assert_eq!(tank.ask(Litres).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn an_unbounded_mailbox_takes_all() {
    let (plant, journal) = plant(|kind| kind.mailbox(Mailbox::unbounded()));
    let node = started(plant, &journal).await;
    let tank = node.entity::<Tank>("a");
    journal.silence();
    for _ in 0..5_000 {
        tank.try_tell(Fill(1)).unwrap();
    }
    journal.speak();
    assert_eq!(tank.ask(Litres).await, Ok(5_000));
}
