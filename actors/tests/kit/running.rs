//! A whole node on virtual time: stores that fail on order, crashes, and what is stored.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::plain::{Actor, ActorContext, ActorRef, BoxError, Props, Signal, TerminationReason};
use annals_actors::testing::{Outcome, TestNode};
use annals_actors::{AskError, Failure, Kind, Stores};
use annals_journal::Timestamp;
use annals_snapshot::{Retention, SnapshotPolicy};

use crate::till::{Bell, Pay, Rung, Stamp, Till, TillEvent, Total, paid, shop, shop_with};

const SEC: Duration = Duration::from_secs(1);

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
    till.tell(Pay(1)).await.unwrap();
    till.tell(Pay(2)).await.unwrap();
    kit.stored::<Till>("a").expect_next_n_persisted([paid(1), paid(2)]).await;
    assert_eq!(bell.receive_n(2).await.len(), 2);
    till.tell(Pay(3)).await.unwrap();
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
