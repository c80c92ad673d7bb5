//! Given / when / then says what a command asks of timers, watches and children.

use std::panic::catch_unwind;

use annals_actors::Kind;
use annals_actors::testing::{Given, Probe};

use crate::SEC;
use crate::kettle::*;

fn given() -> Given<Kettle> {
    Given::of(kettles())
}

fn timer() -> Want {
    want(What::Timer { key: "tea".into(), after: 5 * SEC, note: "ready".into() })
}

#[test]
fn what_is_asked_for_is_compared() {
    given()
        .when(timer())
        .then_timer("tea", 5 * SEC, Note("ready".into()))
        .then_no_more_asked()
        .then_no_events();
    given().when(want(What::FixedDelay { key: "tick".into(), every: SEC })).then_timer_with_fixed_delay(
        "tick",
        SEC,
        Note("tick".into()),
    );
    given().when(want(What::FixedRate { key: "tick".into(), every: SEC })).then_timer_at_fixed_rate(
        "tick",
        SEC,
        Note("tick".into()),
    );
    given().when(want(What::Cancel("tea".into()))).then_timer_cancelled("tea").then_no_more_asked();
    given()
        .when(want(What::Spawn { name: "lid".into(), upbringing: Upbringing::Stop }))
        .then_spawns("lid")
        .then_no_more_asked();
    given()
        .when(want(What::TellChild { name: "lid".into(), say: Say::Hello }))
        .then_tells_child::<Say>("lid");
    given().when(want(What::StopChild("lid".into()))).then_stops_child("lid");
}

#[tokio::test]
async fn watches_are_compared_by_who_is_watched() {
    let system = annals_actors::plain::ActorSystem::new("test");
    let stove = Probe::<String>::spawn(&system, "stove").unwrap().actor_ref();
    let given = || Given::of(Kind::<Kettle>::new().service(Stove(Some(stove.clone()))));
    given().when(want(What::Watch)).then_watches(&stove).then_no_more_asked();
    given().when(want(What::Unwatch)).then_unwatches(&stove).then_no_more_asked();
}

/// What a check says when it fails.
fn says(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = catch_unwind(check).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn what_differs_is_told_with_what_was_asked_for() {
    let other_time = says(|| drop(given().when(timer()).then_timer("tea", SEC, Note("ready".into()))));
    assert!(
        other_time.contains("\"after\": \"1s\"") && other_time.contains("\"after\": \"5s\""),
        "{other_time}"
    );
    let other_command = says(|| drop(given().when(timer()).then_timer("tea", 5 * SEC, Note("cold".into()))));
    assert!(other_command.contains("cold") && other_command.contains("ready"), "{other_command}");
    let none = says(|| drop(given().when(Notes).then_timer_cancelled("tea")));
    assert!(none.contains("cancel timer"), "{none}");
    let more = says(|| drop(given().when(timer()).then_no_more_asked()));
    assert!(more.contains("nothing more was expected") && more.contains("start timer"), "{more}");
}
