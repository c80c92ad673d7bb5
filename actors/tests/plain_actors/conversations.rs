//! Tell, ask, the event stream.

use annals_actors::plain::{ActorSystem, Mailbox, NoAnswer, Overflow, Published, SpawnError, Undeliverable};

use crate::probe::*;

#[tokio::test]
async fn messages_of_one_sender_arrive_in_order() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    for note in ["a", "b", "c"] {
        probe.tell(Message::Note(note)).await.unwrap();
    }
    assert_eq!(notes(&probe).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_ask_ends_at_its_time_limit() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    let answer = probe.ask(|reply_to| Message::Notes { reply_to }, SEC).await;
    assert!(matches!(answer, Err(NoAnswer::TimedOut { limit: SEC, .. })), "{answer:?}");
    gate.add_permits(1);
    assert_eq!(notes(&probe).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_ask_counts_the_wait_for_the_mailbox() {
    let log = Log::default();
    let system = ActorSystem::new("test");
    let mailbox = Mailbox::bounded(1).on_overflow(Overflow::Wait);
    let probe = system.spawn("probe", props(&log).mailbox(mailbox)).unwrap();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    probe.tell(Message::Wait(gate)).await.unwrap();
    tokio::task::yield_now().await;
    probe.tell(Message::Note("waits")).await.unwrap();
    let answer = probe.ask(|reply_to| Message::Notes { reply_to }, SEC).await;
    assert!(matches!(answer, Err(NoAnswer::TimedOut { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_of_an_actor_that_fails_ends_at_once() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    let began = tokio::time::Instant::now();
    let question = |reply_to| {
        act(move |_, _| {
            let _lost: annals_actors::plain::ReplyTo<()> = reply_to;
            panic!("in the middle");
        })
    };
    let answer = probe.ask(question, 100 * SEC).await;
    assert!(matches!(answer, Err(NoAnswer::NoReply { .. })), "{answer:?}");
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn an_ask_of_a_stopped_actor_says_so() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    probe.stop();
    probe.terminated().await;
    let answer = probe.ask(|reply_to| Message::Notes { reply_to }, SEC).await;
    let Err(NoAnswer::NotDelivered(Undeliverable::Stopped { recipient })) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(recipient.as_str(), "test/probe");
}

#[tokio::test]
async fn what_is_wrong_with_a_spawn_is_said() {
    let log = Log::default();
    let (system, probe) = one(&log);
    assert!(matches!(system.spawn("probe", props(&log)), Err(SpawnError::NameTaken { .. })));
    assert!(matches!(system.spawn("a/b", props(&log)), Err(SpawnError::InvalidName { .. })));
    probe.stop();
    probe.terminated().await;
    system.spawn("probe", props(&log)).unwrap();
    system.shutdown(SEC).await.unwrap();
    assert!(matches!(system.spawn("late", props(&log)), Err(SpawnError::Stopping { .. })));
}

#[test]
fn a_spawn_outside_a_runtime_says_what_is_missing() {
    let refused = ActorSystem::new("test").spawn("probe", props(&Log::default()));
    assert_eq!(refused.unwrap_err(), SpawnError::NoRuntime);
}

#[tokio::test]
async fn an_actor_hears_events_of_the_types_it_subscribed_to() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let subscribe = act(|_, ctx| {
        ctx.subscribe::<&'static str>(|event| match event {
            Published::Event(word) => Message::Note(word),
            Published::Missed(_) => Message::Note("missed some"),
        });
    });
    probe.tell(subscribe).await.unwrap();
    notes(&probe).await;
    system.event_stream().publish("heard");
    system.event_stream().publish(7_u32);
    assert_eq!(notes(&probe).await, ["heard"]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_with_a_full_mailbox_is_told_what_it_missed() {
    let log = Log::default();
    let system = ActorSystem::new("test");
    let probe = system.spawn("probe", props(&log).mailbox(Mailbox::bounded(2))).unwrap();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let subscribe = act(move |_, ctx| {
        ctx.subscribe::<&'static str>(|event| match event {
            Published::Event(word) => Message::Note(word),
            Published::Missed(3) => Message::Note("missed three"),
            Published::Missed(_) => Message::Panic,
        });
    });
    probe.tell(subscribe).await.unwrap();
    probe.tell(Message::Wait(held)).await.unwrap();
    tokio::time::sleep(SEC).await;
    for word in ["a", "b", "c", "d", "e"] {
        system.event_stream().publish(word);
    }
    gate.add_permits(1);
    tokio::time::sleep(SEC).await;
    system.event_stream().publish("f");
    tokio::time::sleep(SEC).await;
    assert_eq!(notes(&probe).await, ["a", "b", "missed three", "f"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_an_event_becomes_a_message_is_not_the_publishers() {
    let log = Log::default();
    let (system, probe) = one(&log);
    probe.tell(act(|_, ctx| ctx.subscribe::<u32>(|_| panic!("no message of that")))).await.unwrap();
    notes(&probe).await;
    system.event_stream().publish(1_u32);
    assert_eq!(notes(&probe).await, [""; 0]);
}
