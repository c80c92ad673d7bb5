//! What each expectation of a running node says when it fails.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use annals_actors::plain::{ActorSystem, TerminationReason};
use annals_actors::testing::{Probe, TestNode};
use annals_snapshot::SnapshotPolicy;
use futures::FutureExt;

use crate::till::{Pay, Rung, Till, paid, shop, shop_with};

const SEC: Duration = Duration::from_secs(1);

/// What an expectation says that fails, without the place in the test that it ends with.
async fn failure_of(expectation: impl Future) -> String {
    let panic = AssertUnwindSafe(expectation).catch_unwind().await.err().expect("it should have failed");
    let text = *panic.downcast::<String>().unwrap();
    let (text, place) = text.rsplit_once("\nat ").unwrap();
    assert!(place.contains("expectations.rs:"), "it says where in the test: {place}");
    text.to_owned()
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
