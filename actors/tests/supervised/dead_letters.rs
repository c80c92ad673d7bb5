//! Commands that were told and reach nobody.

use std::time::Duration;

use annals_actors::plain::{DeadLetter, DeadLetterReason, Mailbox, Published, Subscription};
use annals_actors::{Failure, telemetry};

use crate::tank::*;
use crate::{count, counted};

async fn next(letters: &mut Subscription<DeadLetter>) -> DeadLetter {
    match letters.next().await {
        Published::Event(letter) => letter,
        Published::Missed(letters) => panic!("{letters} missed"),
    }
}

fn none(letters: &mut Subscription<DeadLetter>) {
    assert_eq!(letters.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_tell_that_is_refused_is_a_dead_letter_with_recipient_and_reason() {
    let (plant, journal) = plant(|kind| kind.mailbox(Mailbox::bounded(2)));
    let node = started(plant, &journal).await;
    let mut letters = node.system().dead_letters(10);
    let tank = node.entity::<Tank>("a/b");
    journal.silence();
    for _ in 0..2 {
        tank.tell(Fill(1)).await.unwrap();
    }
    none(&mut letters);
    assert!(matches!(tank.tell(Fill(1)).await, Err(Failure::MailboxFull { .. })));
    let letter = next(&mut letters).await;
    assert_eq!(letter.recipient.as_str(), "plant/tank|a/b");
    assert_eq!(letter.reason, DeadLetterReason::MailboxFull);
    assert!(letter.message_type.ends_with("tank::Fill"), "{letter:?}");
    // Who asks is told, and needs no letter.
    assert!(tank.ask(Fill(1)).await.is_err());
    none(&mut letters);
    journal.speak();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tank.ask(Litres).await, Ok(2));
    node.shutdown().await;
    assert!(matches!(tank.tell(Fill(1)).await, Err(Failure::Stopping { .. })));
    assert_eq!(next(&mut letters).await.reason, DeadLetterReason::Stopped);
    none(&mut letters);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_mailbox_of_an_entity_that_stops_is_a_dead_letter() {
    let (plant, journal) = plant(|kind| kind);
    let node = started(plant, &journal).await;
    let mut letters = node.system().dead_letters(10);
    journal.silence();
    node.entity::<Tank>("a").tell(Fill(1)).await.unwrap();
    let stopping = tokio::spawn({
        let node = node.clone();
        async move { node.shutdown().await }
    });
    assert_eq!(next(&mut letters).await.reason, DeadLetterReason::Stopped);
    journal.speak();
    stopping.await.unwrap();
    none(&mut letters);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_an_entity_that_cannot_recover_is_a_dead_letter() {
    let (plant, journal) = plant(|kind| kind.passivate_after(Duration::from_secs(1)));
    let node = started(plant, &journal).await;
    let mut letters = node.system().dead_letters(10);
    let tank = node.entity::<Tank>("a");
    tank.ask(Fill(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    journal.damage("tank|a");
    tank.tell(Fill(1)).await.unwrap();
    let letter = next(&mut letters).await;
    assert_eq!(letter.reason, DeadLetterReason::RecoveryFailed);
    assert_eq!(letter.recipient.as_str(), "plant/tank|a");
}

#[test]
fn dead_letters_of_entities_and_plain_actors_are_counted_together() {
    let counted = counted(|| async {
        let (plant, journal) = plant(|kind| kind);
        let node = started(plant, &journal).await;
        let gauge = node.system().spawn("gauge", crate::shutdown::listener()).unwrap();
        gauge.stop();
        gauge.terminated().await;
        gauge.try_tell(1).unwrap_err();
        node.shutdown().await;
        for _ in 0..3 {
            node.entity::<Tank>("a").tell(Fill(1)).await.unwrap_err();
        }
    });
    assert_eq!(count(&counted, telemetry::DEAD_LETTERS, Some("stopped")), 4);
}
