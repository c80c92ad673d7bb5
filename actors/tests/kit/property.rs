//! Random stories about a sound aggregate, and about some that are not: the kit tells a short one that shows it.

use annals_actors::testing::Property;
use annals_actors::{Context, Effect, Handle, Kind, NeverRejected, PersistentActor};
use annals_migrations::{Command, Event};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::account::{Account, Deposit, Exchange, Letters, Open, Rate, Withdraw};
use crate::failure_of;

#[test]
fn a_sound_aggregate_survives_every_story() {
    Property::<Account>::of(|| Kind::new().service(Rate(3)).service(Letters::default()))
        .command(Just(Open))
        .command((1..100i64).prop_map(|cents| Deposit { cents }))
        .command((1..100i64).prop_map(|cents| Withdraw { cents }))
        .command((1..10i64).prop_map(|foreign| Exchange { foreign }))
        .invariant("never overdrawn", |account| account.cents >= 0)
        .cases(100)
        .check();
}

#[test]
fn stories_are_a_strategy_for_a_proptest_of_ones_own() {
    let property = Property::<Account>::of(|| Kind::new().service(Rate(3)).service(Letters::default()))
        .command(Just(Open))
        .command((1..100i64).prop_map(|cents| Deposit { cents }))
        .steps(5);
    let stories = property.stories();
    proptest!(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() }, |(story in stories)| {
        prop_assert_eq!(property.tell(&story), Ok(()));
    });
}

/// Keeps something that no snapshot keeps, and more.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    shown: i64,
    #[serde(skip)]
    hidden: i64,
}

#[derive(Serialize, Deserialize, Event)]
enum Tallied {
    Hid,
    Showed,
    Grew { by: i64 },
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
struct Hide;
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
struct Show;
#[derive(Debug, Serialize, Deserialize, Command)]
struct Grow {
    by: i64,
}

impl PersistentActor for Tally {
    const KIND: &'static str = "tally";
    type Event = Tallied;
    type Commands = (Hide, Show, Grow);

    fn apply(&mut self, event: &Tallied) {
        match event {
            Tallied::Hid => self.hidden += 1,
            Tallied::Showed => self.shown += self.hidden,
            Tallied::Grew { by } => self.shown += by,
        }
    }
}

impl Handle<Hide> for Tally {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Hide, ctx: &mut Context<Self, Hide>) -> Effect<Self, Hide> {
        ctx.persist(Tallied::Hid).reply_with(())
    }
}

impl Handle<Show> for Tally {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Show, ctx: &mut Context<Self, Show>) -> Effect<Self, Show> {
        ctx.persist(Tallied::Showed).reply_with(())
    }
}

impl Handle<Grow> for Tally {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, command: &Grow, ctx: &mut Context<Self, Grow>) -> Effect<Self, Grow> {
        assert!(command.by != 13, "cannot count to 13");
        ctx.persist(Tallied::Grew { by: command.by }).reply_with(())
    }
}

#[test]
fn a_state_that_no_snapshot_keeps_whole_is_told_in_a_short_story() {
    let failure = failure_of(|| {
        Property::<Tally>::new().command(Just(Hide)).command(Just(Show)).check();
    });
    let (story, reason) = failure.split_once("after step").or(failure.split_once("at the end")).unwrap();
    assert!(story.contains("Hide") && story.contains("Show"), "{failure}");
    assert!(story.lines().count() <= 6, "a short story: {failure}");
    assert!(
        reason.contains("I7: the snapshot at") || reason.contains("does not give the live state"),
        "{failure}"
    );
    assert!(reason.contains("-   \"shown\": "), "{failure}");
}

#[test]
fn an_invariant_of_the_domain_shrinks_to_the_smallest_command() {
    let failure = failure_of(|| {
        Property::<Tally>::new()
            .command((0..12i64).prop_map(|by| Grow { by }))
            .invariant("stays small", |tally| tally.shown < 20)
            .check();
    });
    assert!(failure.contains("invariant \"stays small\" does not hold"), "{failure}");
    let grown = failure.lines().filter(|line| line.contains("Grow {")).count();
    assert!((2..=4).contains(&grown), "two of at most 11 suffice, and none adds nothing: {failure}");
}

#[test]
fn a_command_that_panics_is_told_with_the_command() {
    let failure = failure_of(|| {
        Property::<Tally>::new().command((0..20i64).prop_map(|by| Grow { by })).check();
    });
    assert!(failure.contains("   1. Grow { by: 13 }\nafter step 1: Grow:"), "{failure}");
    assert!(failure.contains("cannot count to 13"), "{failure}");
}
