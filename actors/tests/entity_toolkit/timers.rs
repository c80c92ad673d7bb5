//! Timers of entities: once, periodic, replaced, cancelled, and ended with the entity.

use annals_actors::plain::Mailbox;
use annals_actors::testing::TestNode;

use crate::kettle::*;
use crate::{MS, SEC, kitchen, notes};

fn timer(key: &str, seconds: u32, note: &str) -> Want {
    want(What::Timer { key: key.into(), after: seconds * SEC, note: note.into() })
}

#[tokio::test(start_paused = true)]
async fn a_timer_comes_once_and_not_before_its_time() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 5, "tea is ready")).await.unwrap();
    kit.advance(4_900 * MS).await;
    assert_eq!(notes(&kettle).await, [""; 0]);
    kit.advance(200 * MS).await;
    assert_eq!(notes(&kettle).await, ["tea is ready"]);
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await, ["tea is ready"]);
    kit.stored::<Kettle>("a").expect_events([KettleEvent::Noted { note: "tea is ready".into() }]).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_the_same_key_takes_the_place_of_the_one_before() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 5, "first")).await.unwrap();
    kettle.ask(timer("eggs", 5, "eggs")).await.unwrap();
    kit.advance(3 * SEC).await;
    kettle.ask(timer("tea", 5, "second")).await.unwrap();
    kit.advance(4 * SEC).await;
    assert_eq!(notes(&kettle).await, ["eggs"]);
    kit.advance(2 * SEC).await;
    assert_eq!(notes(&kettle).await, ["eggs", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_does_not_come_also_when_it_is_due_before_the_cancelling_is_durable() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 5, "tea")).await.unwrap();
    kettle.ask(want(What::Cancel("tea".into()))).await.unwrap();
    kettle.ask(want(What::Cancel("never started".into()))).await.unwrap();
    kit.advance(10 * SEC).await;
    assert_eq!(notes(&kettle).await, [""; 0]);

    kettle.ask(timer("tea", 1, "tea")).await.unwrap();
    kit.journal().next_append().takes(3 * SEC);
    let cancel = Want { note: Some("cancelled".into()), what: What::Cancel("tea".into()) };
    let cancelled = tokio::spawn(kettle.ask(cancel).into_future());
    kit.advance(30 * SEC).await;
    cancelled.await.unwrap().unwrap();
    assert_eq!(notes(&kettle).await, ["cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_a_command_that_is_not_stored_never_starts() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("awake".into())).await.unwrap();
    kit.journal().next_append().is_rejected("on order");
    let start = Want {
        note: Some("refused".into()),
        what: What::Timer { key: "tea".into(), after: SEC, note: "tea".into() },
    };
    kettle.ask(start).await.unwrap_err();
    kit.advance(10 * SEC).await;
    assert_eq!(notes(&kettle).await, ["awake"]);
}

#[tokio::test(start_paused = true)]
async fn periodic_timers_come_again_and_again_until_they_are_cancelled() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(want(What::FixedDelay { key: "delay".into(), every: 2 * SEC })).await.unwrap();
    kettle.ask(want(What::FixedRate { key: "rate".into(), every: 3 * SEC })).await.unwrap();
    kit.advance(6_500 * MS).await;
    let mut heard = notes(&kettle).await;
    heard.sort();
    assert_eq!(heard, ["delay", "delay", "delay", "rate", "rate"]);
    kettle.ask(want(What::Cancel("delay".into()))).await.unwrap();
    kettle.ask(want(What::Cancel("rate".into()))).await.unwrap();
    kit.advance(30 * SEC).await;
    assert_eq!(notes(&kettle).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_timer_whose_closure_panics_ends_and_hurts_nobody() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(want(What::TimerThatPanics { key: "bad".into(), every: SEC })).await.unwrap();
    kettle.ask(timer("good", 2, "good")).await.unwrap();
    kit.advance(10 * SEC).await;
    assert_eq!(notes(&kettle).await, ["good"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_needs_no_room_in_the_mailbox() {
    let kind = || kettles().mailbox(Mailbox::bounded(1));
    let kit = TestNode::builder().kind(kind).start().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 1, "tea")).await.unwrap();
    let _full = (0..10).filter(|_| kettle.try_tell(Notes).is_ok()).count();
    kit.advance(2 * SEC).await;
    assert_eq!(notes(&kettle).await, ["tea"]);
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_passivation_a_stop_a_panic_and_a_crash() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    for end in [What::Doze, What::Stop] {
        kettle.ask(timer("tea", 5, "tea")).await.unwrap();
        kettle.ask(want(end)).await.unwrap();
        kit.advance(60 * SEC).await;
        assert_eq!(notes(&kettle).await, [""; 0]);
    }
    kettle.ask(timer("tea", 5, "tea")).await.unwrap();
    kettle.ask(Burst).await.unwrap_err();
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await, [""; 0]);

    kettle.ask(timer("tea", 5, "tea")).await.unwrap();
    assert!(kit.crash::<Kettle>("a").await);
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_does_not_keep_an_entity_in_memory() {
    let kit = TestNode::builder().kind(|| kettles().passivate_after(10 * SEC)).start().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 3_600, "tea")).await.unwrap();
    kit.advance(60 * SEC).await;
    assert!(!kit.is_active::<Kettle>("a"));
    kit.advance(7_200 * SEC).await;
    assert_eq!(notes(&kettle).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_entity_has_no_timers_any_more() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(timer("tea", 5, "tea")).await.unwrap();
    kit.journal().next_append().is_fenced();
    kettle.ask(Note("too late".into())).await.unwrap_err();
    kit.advance(60 * SEC).await;
    assert_eq!(kit.stored::<Kettle>("a").events().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_busy_mailbox_does_not_starve_timers_nor_timers_the_mailbox() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(want(What::FixedRate { key: "tick".into(), every: MS })).await.unwrap();
    for n in 0..50 {
        kettle.ask(Note(format!("asked {n}"))).await.unwrap();
        kit.advance(MS).await;
    }
    let heard = notes(&kettle).await;
    assert_eq!(heard.iter().filter(|note| note.starts_with("asked")).count(), 50);
    assert!(heard.iter().filter(|note| *note == "tick").count() >= 25, "{heard:?}");
}
