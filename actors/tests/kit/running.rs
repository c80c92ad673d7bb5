//! A whole node on virtual time: stores that fail on order, crashes, what is stored, and what each expectation says when it fails.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::plain::{
    Actor, ActorContext, ActorRef, ActorSystem, BoxError, Props, Signal, TerminationReason,
};
use annals_actors::testing::{Outcome, Probe, TestNode};
use annals_actors::{
    AskError, Context, Effect, Failure, Handle, Kind, NeverRejected, PersistentActor, ServiceNeeds, Stores,
};
use annals_journal::Timestamp;
use annals_migrations::{Command, Event};
use annals_snapshot::{Retention, SnapshotPolicy};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SEC: Duration = Duration::from_secs(1);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Till {
    cents: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum TillEvent {
    Paid { cents: i64 },
    Stamped { at: u64, id: Uuid },
}

#[derive(Debug, Serialize, Deserialize, Command)]
struct Pay(i64);
#[derive(Debug, Serialize, Deserialize, Command)]
struct Stamp;
#[derive(Debug, Serialize, Deserialize, Command)]
struct Total;

/// Whom a till tells of each payment.
struct Bell(ActorRef<Rung>);

#[derive(Debug, PartialEq)]
struct Rung {
    cents: i64,
    total: i64,
}

impl PersistentActor for Till {
    const KIND: &'static str = "till";
    type Event = TillEvent;
    type Commands = (Pay, Stamp, Total);

    fn apply(&mut self, event: &TillEvent) {
        if let TillEvent::Paid { cents } = event {
            self.cents += cents;
        }
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Bell>();
    }
}

impl Handle<Pay> for Till {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Pay, ctx: &mut Context<Self, Pay>) -> Effect<Self, Pay> {
        let (cents, bell) = (command.0, ctx.service::<Bell>());
        ctx.persist(TillEvent::Paid { cents })
            .then_run(move |till| {
                let rung = Rung { cents, total: till.cents };
                async move { drop(bell.0.try_tell(rung)) }
            })
            .reply(|till| till.cents)
    }
}

impl Handle<Stamp> for Till {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Stamp, ctx: &mut Context<Self, Stamp>) -> Effect<Self, Stamp> {
        let (at, id) = (ctx.now().as_micros(), ctx.new_id());
        ctx.persist(TillEvent::Stamped { at, id }).reply_with(())
    }
}

impl Handle<Total> for Till {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Total, ctx: &mut Context<Self, Total>) -> Effect<Self, Total> {
        ctx.reply(self.cents)
    }
}

fn paid(cents: i64) -> TillEvent {
    TillEvent::Paid { cents }
}

/// A node with tills, as `set` has them, and the probe at their bell.
async fn shop_with(
    set: impl Fn(Kind<Till>) -> Kind<Till> + Send + Sync + 'static,
) -> (TestNode, Probe<Rung>) {
    let mut builder = TestNode::builder();
    let bell = builder.probe();
    let rings = bell.actor_ref();
    let kit = builder.kind(move || set(Kind::new().service(Bell(rings.clone())))).start().await;
    (kit, bell)
}

async fn shop() -> (TestNode, Probe<Rung>) {
    shop_with(|kind| kind).await
}

/// What an expectation says that fails, without the place in the test that it ends with.
async fn failure_of(expectation: impl Future) -> String {
    let panic = AssertUnwindSafe(expectation).catch_unwind().await.err().expect("it should have failed");
    let text = *panic.downcast::<String>().unwrap();
    let (text, place) = text.rsplit_once("\nat ").unwrap();
    assert!(place.contains("running.rs:"), "it says where in the test: {place}");
    text.to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_stored_and_rings() {
    let (kit, mut bell) = shop().await;
    let till = kit.entity::<Till>("a");
    assert_eq!(till.ask(Pay(5)).await, Ok(5));
    assert_eq!(till.ask(Pay(7)).await, Ok(12));
    let stored = kit.stored::<Till>("a");
    stored.expect_next_persisted(paid(5)).await;
    stored.expect_next_persisted_matching("a large one", |event| *event == paid(7)).await;
    stored.expect_nothing_persisted().await;
    stored.expect_events([paid(5), paid(7)]).await;
    assert_eq!(stored.state().await, Till { cents: 12 });
    assert_eq!(stored.head().await.seq_nr.get(), 2);
    bell.expect_message(Rung { cents: 5, total: 5 }).await;
    bell.expect_message_matching("the second", |rung| rung.total == 12).await;
    bell.expect_no_message(SEC).await;
}

#[tokio::test(start_paused = true)]
async fn a_tell_is_waited_for_until_it_is_stored() {
    let (kit, mut bell) = shop().await;
    kit.journal().next_append().takes(2 * SEC);
    let till = kit.entity::<Till>("a");
    till.tell(Pay(1)).unwrap();
    till.tell(Pay(2)).unwrap();
    kit.stored::<Till>("a").expect_next_n_persisted([paid(1), paid(2)]).await;
    assert_eq!(bell.receive_n(2).await.len(), 2);
    till.tell(Pay(3)).unwrap();
    assert_eq!(kit.stored::<Till>("a").receive_persisted(1).await, [paid(3)]);
    bell.fish_for_message("three", |rung| rung.cents == 3).await;
}

#[tokio::test(start_paused = true)]
async fn handlers_see_virtual_time_and_ids_of_the_seed() {
    let stamps = async |seed| {
        let start = Timestamp::from_micros(5_000_000);
        let mut builder = TestNode::builder().at(start).seed(seed);
        let bell = builder.probe::<Rung>().actor_ref();
        let kit = builder.kind(move || Kind::<Till>::new().service(Bell(bell.clone()))).start().await;
        let till = kit.entity::<Till>("a");
        till.ask(Stamp).await.unwrap();
        kit.advance(3_600 * SEC).await;
        till.ask(Stamp).await.unwrap();
        let stamp = |event| match event {
            TillEvent::Stamped { at, id } => (at, id),
            other => panic!("{other:?}"),
        };
        let stamps: Vec<_> = kit.stored::<Till>("a").events().await.into_iter().map(stamp).collect();
        assert_eq!(kit.now(), start.plus(3_600 * SEC));
        stamps
    };
    let one = stamps(1).await;
    assert_eq!([one[0].0, one[1].0], [5_000_000, 3_605_000_000]);
    assert_ne!(one[0].1, one[1].1);
    assert_eq!(one[0].1.get_version_num(), 7);
    assert_eq!(stamps(1).await, one, "a run repeats");
    assert_ne!(stamps(2).await[0].1, one[0].1);
}

#[tokio::test(start_paused = true)]
async fn lost_races_and_lost_answers_are_repaired_without_the_caller() {
    let (kit, mut bell) = shop().await;
    let till = kit.entity::<Till>("a");
    kit.journal().next_append().conflicts();
    assert_eq!(till.ask(Pay(1)).await, Ok(1));
    kit.journal().next_append().is_superseded();
    assert_eq!(till.ask(Pay(2)).await, Ok(3));
    for outcome in [Outcome::Stored, Outcome::NotStored, Outcome::Late(5 * SEC)] {
        kit.journal().next_append().outcome_unknown(outcome);
        till.ask(Pay(10)).await.unwrap();
    }
    kit.advance(10 * SEC).await;
    kit.stored::<Till>("a").expect_events([paid(1), paid(2), paid(10), paid(10), paid(10)]).await;
    assert_eq!(bell.receive_n(5).await.last().unwrap().total, 33);
    assert_eq!(kit.journal().outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_writer_that_was_faster_is_caught_up_with() {
    let (kit, _bell) = shop().await;
    let till = kit.entity::<Till>("a");
    let stored = kit.stored::<Till>("a");
    stored.persist([paid(100)]).await;
    assert_eq!(till.ask(Pay(1)).await, Ok(101), "what happened before is recovered");
    stored.expect_next_persisted(paid(1)).await;
    stored.persist([paid(1_000)]).await;
    assert_eq!(till.ask(Pay(2)).await, Ok(1_103), "a real conflict");
    assert!(kit.journal().calls().iter().any(|call| call.to_string().contains("→ conflict")));
    stored.expect_next_persisted(paid(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_fails_its_command_and_nothing_is_stored() {
    let (kit, mut bell) = shop().await;
    let till = kit.entity::<Till>("a");
    kit.journal().next_append().is_rejected("too large");
    let refused = till.ask(Pay(1)).await;
    assert!(matches!(refused, Err(AskError::Failed(Failure::NotStorable { .. }))), "{refused:?}");
    kit.stored::<Till>("a").expect_nothing_persisted().await;
    bell.expect_no_message(SEC).await;
    assert_eq!(till.ask(Total).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_down_fails_commands_until_it_is_back() {
    let (kit, _bell) = shop().await;
    let till = kit.entity::<Till>("a");
    till.ask(Total).await.unwrap();
    kit.journal().goes_down();
    let down = till.ask(Pay(1)).await;
    assert!(matches!(down, Err(AskError::Failed(Failure::JournalUnavailable { .. }))), "{down:?}");
    kit.journal().comes_back();
    assert_eq!(till.ask(Pay(2)).await, Ok(2));
    kit.stored::<Till>("a").expect_events([paid(2)]).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_fenced_stops_and_a_new_node_takes_over() {
    let (kit, _bell) = shop().await;
    let till = kit.entity::<Till>("a");
    kit.journal().next_append().is_fenced();
    for _ in 0..2 {
        let fenced = till.ask(Pay(1)).await;
        assert!(matches!(fenced, Err(AskError::Failed(Failure::Fenced { .. }))), "{fenced:?}");
    }
    kit.restart().await;
    assert_eq!(kit.entity::<Till>("a").ask(Pay(2)).await, Ok(2));
    kit.stored::<Till>("a").expect_events([paid(2)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_breaks_is_begun_again() {
    let (kit, _bell) = shop().await;
    kit.stored::<Till>("a").persist((1..=9).map(paid)).await;
    kit.journal().next_replay().after_events(4).fails_unavailable();
    assert_eq!(kit.entity::<Till>("a").ask(Total).await, Ok(45));
    let replays: Vec<_> = kit
        .journal()
        .calls()
        .iter()
        .map(ToString::to_string)
        .filter(|call| call.starts_with("replay"))
        .collect();
    assert_eq!(replays.len(), 2, "{replays:?}");
    assert!(replays[0].ends_with("after 4 events"), "{replays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crashed_entity_is_gone_with_what_it_held_and_recovers() {
    let (kit, mut bell) = shop().await;
    let till = kit.entity::<Till>("a");
    till.ask(Pay(1)).await.unwrap();
    bell.expect_message(Rung { cents: 1, total: 1 }).await;
    assert!(kit.is_active::<Till>("a"));

    // Stored, but its answer has not come.
    kit.journal().next_append().answers_after(SEC);
    let lost = tokio::spawn(till.ask(Pay(2)).into_future());
    kit.stored::<Till>("a").expect_next_n_persisted([paid(1), paid(2)]).await;
    assert!(kit.crash::<Till>("a").await);
    assert!(!kit.is_active::<Till>("a"));
    assert!(matches!(lost.await.unwrap(), Err(AskError::Unknown(_))), "it had been decided");
    assert_eq!(till.ask(Total).await, Ok(3), "it was stored");
    bell.expect_no_message(10 * SEC).await;
    assert!(kit.crash::<Till>("a").await);
    assert!(!kit.crash::<Till>("a").await, "it was not in memory");
}

#[tokio::test(start_paused = true)]
async fn of_what_was_under_way_in_a_crashed_node_the_new_one_decides() {
    for (stored, expected) in [(true, 3), (false, 1)] {
        let (kit, _bell) = shop().await;
        let till = kit.entity::<Till>("a");
        till.ask(Pay(1)).await.unwrap();
        match stored {
            true => kit.journal().next_append().answers_after(SEC),
            false => kit.journal().next_append().takes(SEC),
        }
        let lost = tokio::spawn(till.ask(Pay(2)).into_future());
        kit.advance(SEC / 2).await;
        let epoch = kit.node().epoch();
        kit.crash_node().await;
        assert!(kit.node().epoch() > epoch);
        assert!(matches!(lost.await.unwrap(), Err(AskError::Unknown(_))));
        let late = till.ask(Pay(9)).await;
        assert!(matches!(late, Err(AskError::Failed(Failure::Stopping { .. }))), "of the old node: {late:?}");
        assert_eq!(kit.entity::<Till>("a").ask(Total).await, Ok(expected));
        kit.advance(10 * SEC).await;
        assert_eq!(kit.stored::<Till>("a").state().await.cents, expected, "what came late was refused");
    }
}

/// Says what it is told, and that it stops.
struct Echo(ActorRef<Rung>);

impl Actor for Echo {
    type Message = Rung;

    async fn receive(&mut self, rung: Rung, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        Ok(self.0.tell(rung).await?)
    }

    async fn signal(&mut self, signal: Signal, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match signal {
            Signal::PostStop => Ok(self.0.tell(Rung { cents: 0, total: 0 }).await?),
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn plain_actors_go_with_their_node_and_probes_stay() {
    let (kit, mut bell) = shop().await;
    let rings = bell.actor_ref();
    let echo = || {
        let rings = rings.clone();
        kit.system().spawn("echo", Props::new(move || Echo(rings.clone()))).unwrap()
    };
    let first = echo();
    first.tell(Rung { cents: 1, total: 1 }).await.unwrap();
    bell.expect_message(Rung { cents: 1, total: 1 }).await;
    kit.crash_node().await;
    bell.expect_terminated(&first).await;
    bell.expect_no_message(SEC).await;
    let second = echo();
    kit.restart().await;
    bell.expect_message(Rung { cents: 0, total: 0 }).await;
    assert_eq!(bell.expect_terminated(&second).await, TerminationReason::Stopped);
    let mut dead_letters = kit.system().dead_letters(4);
    let third = echo();
    third.stop();
    bell.expect_terminated(&third).await;
    assert!(third.tell(Rung { cents: 3, total: 3 }).await.is_err());
    assert!(dead_letters.try_next().is_some());
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_seen_and_their_store_may_be_down() {
    let (kit, _bell) = shop_with(|kind| {
        kind.snapshots(SnapshotPolicy::every_events(2)).retention(Retention::keep(1).delete_events())
    })
    .await;
    let till = kit.entity::<Till>("a");
    let stored = kit.stored::<Till>("a");
    till.ask(Pay(1)).await.unwrap();
    stored.expect_no_snapshot().await;
    till.ask(Pay(2)).await.unwrap();
    assert_eq!(stored.expect_snapshot_at(2).await, Till { cents: 3 });
    kit.snapshots().goes_down();
    for cents in [3, 4] {
        till.ask(Pay(cents)).await.unwrap();
    }
    kit.advance(SEC).await;
    kit.snapshots().comes_back();
    assert_eq!(stored.expect_snapshot_at(2).await.cents, 3, "nothing newer was saved");
    kit.crash::<Till>("a").await;
    assert_eq!(till.ask(Total).await, Ok(10));
    assert_eq!(stored.state().await.cents, 10, "the first event is deleted, the snapshot stands for it");
    assert_eq!(stored.head().await.deleted_to.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_entity_leaves_memory_on_virtual_time() {
    let (kit, _bell) = shop_with(|kind| kind.passivate_after(60 * SEC)).await;
    kit.entity::<Till>("a").ask(Pay(1)).await.unwrap();
    kit.advance(50 * SEC).await;
    assert!(kit.is_active::<Till>("a"));
    kit.advance(50 * SEC).await;
    assert!(!kit.is_active::<Till>("a"));
    assert_eq!(kit.entity::<Till>("a").ask(Total).await, Ok(1));
    kit.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn settings_of_the_node_are_the_tests() {
    let (kit, _bell) = {
        let mut builder = TestNode::builder().node(|node| node.ask_timeout(2 * SEC));
        let bell = builder.probe::<Rung>();
        let rings = bell.actor_ref();
        (builder.kind(move || Kind::<Till>::new().service(Bell(rings.clone()))).start().await, bell)
    };
    let gate = kit.journal().next_claim().waits();
    let sent = kit.now();
    let late = kit.entity::<Till>("a").ask(Total).await;
    assert!(matches!(late, Err(AskError::Failed(Failure::TimedOut { .. }))), "{late:?}");
    assert_eq!(kit.now(), sent.plus(2 * SEC));
    gate.open();
    assert_eq!(kit.entity::<Till>("a").ask(Total).await, Ok(0));
}

#[cfg(feature = "sqlite")]
#[tokio::test(start_paused = true)]
async fn a_sqlite_file_below_takes_no_virtual_time() {
    use annals_journal::sqlite::{Options, SqliteJournal};
    use annals_snapshot::MemorySnapshotStore;
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("till.db");
    let journal = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    let snapshots = Arc::new(MemorySnapshotStore::new());
    let mut builder =
        TestNode::builder().stores(Stores { journal: journal.clone(), records: journal, snapshots });
    let bell = builder.probe::<Rung>().actor_ref();
    let kind =
        move || Kind::<Till>::new().service(Bell(bell.clone())).snapshots(SnapshotPolicy::every_events(2));
    let kit = builder.kind(kind).start().await;
    let began = kit.now();
    for cents in 1..=20 {
        kit.entity::<Till>("a").ask(Pay(cents)).await.unwrap();
    }
    kit.crash_node().await;
    assert_eq!(kit.entity::<Till>("a").ask(Total).await, Ok(210));
    assert_eq!(kit.now(), began, "no timer was jumped to while the file was busy");
    kit.journal().next_append().conflicts();
    assert_eq!(kit.entity::<Till>("a").ask(Pay(1)).await, Ok(211));
    kit.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_says_what_came_instead() {
    let system = ActorSystem::new("test");
    let mut probe = Probe::<Rung>::spawn(&system, "bell").unwrap();
    let bell = probe.actor_ref();
    let ring = async |cents| bell.tell(Rung { cents, total: 9 }).await.unwrap();
    assert_eq!(
        failure_of(probe.expect_message(Rung { cents: 1, total: 9 })).await,
        "probe bell: no message came within 3s, expected: Rung {\n    cents: 1,\n    total: 9,\n}"
    );
    ring(1).await;
    assert_eq!(probe.receive().await.cents, 1);
    ring(2).await;
    assert_eq!(
        failure_of(probe.expect_message(Rung { cents: 3, total: 9 })).await,
        "probe bell: the message is another than expected (- expected, + found):\n      Rung {\n    -     cents: \
         3,\n    +     cents: 2,\n          total: 9,\n      }\nreceived before:\n    Rung { cents: 1, total: 9 }"
    );
    ring(2).await;
    assert_eq!(
        failure_of(probe.expect_message_matching("a large one", |rung| rung.cents > 100)).await,
        "probe bell: expected a message: a large one\nfound: Rung {\n    cents: 2,\n    total: 9,\n}\nreceived \
         before:\n    Rung { cents: 1, total: 9 }"
    );
    ring(4).await;
    assert_eq!(
        failure_of(probe.expect_no_message(SEC)).await,
        "probe bell: expected no message within 1s\nfound: Rung {\n    cents: 4,\n    total: 9,\n}\nreceived \
         before:\n    Rung { cents: 1, total: 9 }"
    );
    ring(5).await;
    assert_eq!(
        failure_of(probe.receive_n(2)).await,
        "probe bell: expected 2 messages, 1 came; no more within 3s\nreceived before:\n    Rung { cents: 1, total: \
         9 }\n    Rung { cents: 5, total: 9 }"
    );
    let mut probe = Probe::<Rung>::spawn(&system, "other").unwrap().within(5 * SEC);
    assert_eq!(failure_of(probe.receive()).await, "probe other: no message came within 5s");
    probe.actor_ref().tell(Rung { cents: 6, total: 9 }).await.unwrap();
    assert_eq!(
        failure_of(probe.fish_for_message("a large one", |rung| rung.cents > 100)).await,
        "probe other: no more messages came within 5s, fished for: a large one\nreceived before:\n    Rung { cents: \
         6, total: 9 }"
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_the_end_of_another_actor() {
    let system = ActorSystem::new("test");
    let probe = Probe::<Rung>::spawn(&system, "bell").unwrap();
    let other = Probe::<Rung>::spawn(&system, "other").unwrap().actor_ref();
    assert_eq!(
        failure_of(probe.expect_terminated(&other)).await,
        "expected that test/other terminates within 3s, it runs on"
    );
    other.stop();
    assert_eq!(probe.expect_terminated(&other).await, TerminationReason::Stopped);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_says_what_is_there_instead_and_what_was_asked() {
    let (kit, _bell) = shop().await;
    let stored = kit.stored::<Till>("a");
    assert_eq!(
        failure_of(stored.expect_next_persisted(paid(1))).await,
        "till|a: expected one more event, 0 became stored within 3s\nthe journal was asked nothing about till|a"
    );
    kit.journal().next_append().conflicts();
    kit.entity::<Till>("a").ask(Pay(2)).await.unwrap();
    let asked = "what the journal was asked:\n    claim till|a by 1.1 → head #0\n    append till|a #1 by 1.1 → \
                 conflict: till|a is at 1, the append expected 0\n    claim till|a by 1.2 → head #0\n    append \
                 till|a #1 by 1.2 → head #1";
    let difference = "    [\n        {\n          \"till.paid\": {\n    -       \"cents\": 1\n    +       \"cents\": \
                      2\n          }\n        }\n";
    let difference = difference.split_once('\n').unwrap().1.trim_end();
    assert_eq!(
        failure_of(stored.expect_events([paid(1)])).await,
        format!(
            "till|a: the stored events are others than expected (- expected, + found):\n{difference}\n{asked}"
        )
    );
    assert_eq!(
        failure_of(stored.expect_nothing_persisted()).await,
        format!(
            "till|a: expected that nothing more is stored\nfound: [\n  {{\n    \"till.paid\": {{\n      \"cents\": \
             2\n    }}\n  }}\n]\n{asked}"
        )
    );
    assert_eq!(
        failure_of(stored.expect_next_persisted(paid(1))).await,
        format!(
            "till|a: the next stored events are others than expected (- expected, + found):\n{difference}\n{asked}"
        )
    );
    kit.entity::<Till>("a").ask(Pay(3)).await.unwrap();
    let failure =
        failure_of(stored.expect_next_persisted_matching("a large one", |event| *event == paid(100))).await;
    assert!(failure.starts_with("till|a: expected an event: a large one\nfound: [\n"), "{failure}");
    let failure = failure_of(stored.expect_next_n_persisted([paid(4), paid(5)])).await;
    assert!(failure.starts_with("till|a: expected 2 more events, 0 became stored within 3s\n"), "{failure}");
    let failure = failure_of(kit.stored::<Till>("a").within(SEC).receive_persisted(1)).await;
    assert!(failure.starts_with("till|a: expected one more event, 0 became stored within 1s\n"), "{failure}");
    let failure = failure_of(stored.expect_snapshot_at(2)).await;
    assert!(failure.starts_with("till|a: expected a snapshot at #2, there is none\n"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_elsewhere_or_at_all_is_named() {
    let (kit, _bell) = shop_with(|kind| kind.snapshots(SnapshotPolicy::every_events(1))).await;
    kit.entity::<Till>("a").ask(Pay(2)).await.unwrap();
    let stored = kit.stored::<Till>("a");
    let failure = failure_of(stored.expect_no_snapshot()).await;
    assert!(failure.starts_with("till|a: expected no snapshot, there is one at #1\n"), "{failure}");
    let failure = failure_of(stored.expect_snapshot_at(2)).await;
    assert!(failure.starts_with("till|a: expected a snapshot at #2, the newest is at #1\n"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_from_the_wiring_is_said() {
    let text = |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<String>().unwrap();
    let start = AssertUnwindSafe(TestNode::of::<Till>()).catch_unwind().await;
    let no_service = text(start.unwrap_err());
    assert!(no_service.contains("the node does not start: kind \"till\" needs"), "{no_service}");
    let kit = TestNode::builder().start().await;
    let unregistered = crate::failure_of(|| drop(kit.stored::<Till>("a")));
    assert!(unregistered.contains("kind \"till\" is not registered"), "{unregistered}");
}
