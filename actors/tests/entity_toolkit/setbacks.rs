//! What an entity has begun outlives a state that is thrown away because of the journal, not because of a panic.

use annals_actors::testing::{Outcome, TestNode};

use crate::kettle::*;
use crate::{SEC, kitchen, notes};

fn timer(key: &str, note: &str) -> Want {
    want(What::Timer { key: key.into(), after: 10 * SEC, note: note.into() })
}

/// The journal does this to the next append, and the entity recovers.
async fn outlives(set_back: impl Fn(&TestNode)) {
    let mut builder = TestNode::builder();
    let stove = builder.probe::<String>();
    let actor = stove.actor_ref();
    let kind = move || kettles().service(Stove(Some(actor.clone())));
    let kit = builder.kind(kind).start().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("first".into())).await.unwrap();
    kettle.ask(timer("tea", "tea")).await.unwrap();
    kettle.ask(want(What::Watch)).await.unwrap();
    let lid = What::Spawn { name: "lid".into(), upbringing: Upbringing::Restart };
    kettle.ask(want(lid)).await.unwrap();
    set_back(&kit);
    kettle.ask(Note("second".into())).await.unwrap();
    assert_eq!(kit.system().actors(), 1, "the child runs on");
    stove.actor_ref().stop();
    kit.advance(60 * SEC).await;
    let mut heard = notes(&kettle).await;
    heard.sort();
    let stove = format!("{} stopped", stove.actor_ref().path().name());
    let mut expected = vec!["first".to_owned(), "lid started".into(), stove, "second".into(), "tea".into()];
    expected.sort();
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_ends_no_timer_no_watch_and_no_child() {
    outlives(|kit| kit.journal().next_append().conflicts()).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_ends_no_timer_no_watch_and_no_child() {
    for outcome in [Outcome::Stored, Outcome::NotStored] {
        outlives(move |kit| kit.journal().next_append().outcome_unknown(outcome)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_comes_after_all_when_the_command_that_cancels_it_is_not_stored() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("awake".into())).await.unwrap();
    kettle.ask(timer("tea", "tea")).await.unwrap();
    kit.journal().next_append().is_rejected("on order");
    let cancel = Want { note: Some("cancelled".into()), what: What::Cancel("tea".into()) };
    kettle.ask(cancel).await.unwrap_err();
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await, ["awake", "tea"]);
}
