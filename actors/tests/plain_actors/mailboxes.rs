//! Overflow and dead letters.

use std::sync::Arc;

use annals_actors::plain::{
    ActorRef, ActorSystem, DeadLetterReason, Mailbox, Overflow, Published, Undeliverable,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::probe::*;

/// A probe that is busy until the gate opens, with one message in a mailbox for one.
async fn full(overflow: Overflow) -> (ActorSystem, ActorRef<Message>, Arc<Semaphore>) {
    let system = ActorSystem::new("test");
    let mailbox = Mailbox::bounded(1).on_overflow(overflow);
    let probe = system.spawn("probe", props(&Log::default()).mailbox(mailbox)).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    sleep(SEC).await;
    probe.tell(Message::Note("first")).await.unwrap();
    (system, probe, gate)
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_and_gives_the_message_back() {
    let (_system, probe, gate) = full(Overflow::Refuse).await;
    let refused = probe.tell(Message::Note("second")).await.unwrap_err();
    assert!(matches!(refused.message, Message::Note("second")));
    let Undeliverable::MailboxFull { capacity: 1, recipient } = refused.reason else { panic!() };
    assert_eq!(recipient.as_str(), "test/probe");
    gate.add_permits(1);
    sleep(SEC).await;
    assert_eq!(notes(&probe).await, ["first"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_lets_senders_wait_in_their_order() {
    let (_system, probe, gate) = full(Overflow::Wait).await;
    assert!(probe.try_tell(Message::Note("never waits")).is_err());
    let mut senders = Vec::new();
    for note in ["second", "third"] {
        let probe = probe.clone();
        senders.push(tokio::spawn(async move { probe.tell(Message::Note(note)).await.is_ok() }));
        sleep(SEC).await;
    }
    assert!(senders.iter().all(|sender| !sender.is_finished()));
    gate.add_permits(1);
    for sender in senders {
        assert!(sender.await.unwrap());
    }
    sleep(SEC).await;
    assert_eq!(notes(&probe).await, ["first", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn senders_that_meet_a_small_mailbox_from_many_threads_all_get_in() {
    for capacity in [1, 2, 7] {
        let system = ActorSystem::new("test");
        let mailbox = Mailbox::bounded(capacity).on_overflow(Overflow::Wait);
        let probe = system.spawn("probe", props(&Log::default()).mailbox(mailbox)).unwrap();
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..32 {
            let probe = probe.clone();
            senders.spawn(async move {
                for n in 0..200 {
                    match (sender + n) % 7 {
                        // Gives up where it would have to wait.
                        0 => {
                            let told = futures::FutureExt::now_or_never(probe.tell(Message::Note("perhaps")));
                            assert!(told.is_none_or(|told| told.is_ok()));
                        }
                        1 => drop(notes(&probe).await),
                        _ => probe.tell(Message::Note("certainly")).await.unwrap(),
                    }
                }
            });
        }
        senders.join_all().await;
        let certainly =
            (0..32).flat_map(|sender| (0..200).map(move |n| (sender + n) % 7)).filter(|n| *n > 1).count();
        let noted = notes(&probe).await;
        assert_eq!(noted.iter().filter(|note| **note == "certainly").count(), certainly);
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_learn_that_the_actor_stopped() {
    let (_system, probe, _gate) = full(Overflow::Wait).await;
    let sender = tokio::spawn({
        let probe = probe.clone();
        async move { probe.tell(Message::Note("second")).await.unwrap_err().reason }
    });
    sleep(SEC).await;
    probe.stop();
    assert!(matches!(sender.await.unwrap(), Undeliverable::Stopped { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_drops_and_reports() {
    let (system, probe, gate) = full(Overflow::Drop).await;
    let mut letters = system.dead_letters(8);
    probe.tell(Message::Note("second")).await.unwrap();
    let Some(Published::Event(letter)) = letters.try_next() else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::MailboxFull);
    assert_eq!(letter.recipient.as_str(), "test/probe");
    assert!(letter.message_type.ends_with("Message"), "{letter:?}");
    gate.add_permits(1);
    sleep(SEC).await;
    assert_eq!(notes(&probe).await, ["first"]);
}

#[tokio::test(start_paused = true)]
async fn an_unbounded_mailbox_takes_all() {
    let system = ActorSystem::new("test");
    let probe = system.spawn("probe", props(&Log::default()).mailbox(Mailbox::unbounded())).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    for _ in 0..50_000 {
        probe.tell(Message::Note("x")).await.unwrap();
    }
    gate.add_permits(1);
    assert_eq!(notes(&probe).await.len(), 50_000);
}

#[tokio::test]
async fn a_message_to_one_that_stopped_is_a_dead_letter() {
    let (system, probe) = one(&Log::default());
    let mut letters = system.dead_letters(8);
    probe.stop();
    probe.terminated().await;
    let back = probe.tell(Message::Note("late")).await.unwrap_err();
    assert!(matches!(back.reason, Undeliverable::Stopped { .. }));
    let Some(Published::Event(letter)) = letters.try_next() else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_a_dead_letter() {
    let (system, probe) = one(&Log::default());
    let mut letters = system.dead_letters(8);
    let gate = Arc::new(Semaphore::new(0));
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    probe.ask(|reply_to| Message::Notes { reply_to }, SEC).await.unwrap_err();
    gate.add_permits(1);
    let Published::Event(letter) = letters.next().await else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::AskerGone);
}

#[tokio::test]
async fn a_dead_letter_about_a_dead_letter_ends_there() {
    let system = ActorSystem::new("test");
    let mut letters = system.dead_letters(64);
    let probe = system.spawn("probe", props(&Log::default()).mailbox(Mailbox::bounded(1))).unwrap();
    within(&probe, |_, ctx| {
        ctx.subscribe::<annals_actors::plain::DeadLetter>(|_| Message::Note("letter"));
    })
    .await;
    let gone = system.spawn("gone", props(&Log::default())).unwrap();
    gone.stop();
    gone.terminated().await;
    for _ in 0..10 {
        gone.tell(Message::Note("x")).await.unwrap_err();
    }
    assert_eq!(std::iter::from_fn(|| letters.try_next()).count(), 10);
}
