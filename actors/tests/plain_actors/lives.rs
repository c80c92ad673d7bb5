//! Children, watching, stopping.

use std::sync::Arc;

use annals_actors::plain::{
    Actor, ActorContext, ActorFailure, BoxError, Mailbox, Props, SupervisorStrategy, TerminationReason,
};
use tokio::sync::Semaphore;

use crate::probe::*;

#[tokio::test]
async fn a_graceful_stop_handles_what_waits_then_stops_the_children() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    let kid = child(&probe, "kid", props(&log)).await;
    for note in ["a", "b"] {
        probe.tell(Message::Note(note)).await.unwrap();
        kid.tell(Message::Note(note)).await.unwrap();
    }
    probe.stop();
    assert!(probe.tell(Message::Note("late")).await.is_err());
    assert_eq!(probe.terminated().await, TerminationReason::Stopped);
    let lines = log.lines();
    for line in ["probe a", "probe b", "kid a", "kid b"] {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:?}");
    }
    assert_eq!(lines[lines.len() - 2..], ["kid: PostStop", "probe: PostStop"]);
}

#[tokio::test(start_paused = true)]
async fn to_stop_now_leaves_what_waits_to_the_dead_letters() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let mut letters = system.dead_letters(8);
    let gate = Arc::new(Semaphore::new(0));
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    probe.tell(Message::Note("never")).await.unwrap();
    tokio::task::yield_now().await;
    probe.stop_now();
    gate.add_permits(1);
    probe.terminated().await;
    assert_eq!(log.lines(), ["probe: Started", "probe: PostStop"]);
    assert!(letters.try_next().is_some());
}

#[tokio::test]
async fn a_watcher_is_told_of_the_end_and_why() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let other = system.spawn("other", props(&Log::default()).supervisor(SupervisorStrategy::Stop)).unwrap();
    watch(&probe, &other).await;
    other.tell(Message::Fail).await.unwrap();
    let failure = ActorFailure::Returned { message: "told to fail".into() };
    assert_eq!(other.terminated().await, TerminationReason::Failed(failure.clone()));
    notes(&probe).await;
    let expected = format!("probe: other gone, {:?}", TerminationReason::Failed(failure));
    assert_eq!(log.lines(), ["probe: Started", &expected]);
}

#[tokio::test]
async fn watching_one_that_has_terminated_is_answered_at_once() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let other = system.spawn("other", props(&Log::default())).unwrap();
    other.stop();
    other.terminated().await;
    watch(&probe, &other).await;
    notes(&probe).await;
    assert_eq!(log.lines(), ["probe: Started", "probe: other gone, Stopped"]);
}

#[tokio::test(start_paused = true)]
async fn termination_notices_reach_a_watcher_whose_mailbox_is_full() {
    let log = Log::default();
    let (system, _) = one(&Log::default());
    let watcher = system.spawn("watcher", props(&log).mailbox(Mailbox::bounded(1))).unwrap();
    let others: Vec<_> =
        (0..100).map(|n| system.spawn(&format!("o{n}"), props(&Log::default())).unwrap()).collect();
    for other in &others {
        watch(&watcher, other).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    watcher.tell(Message::Wait(gate.clone())).await.unwrap();
    tokio::task::yield_now().await;
    watcher.tell(Message::Note("after the notices")).await.unwrap();
    assert!(watcher.tell(Message::Note("too much")).await.is_err());
    for other in &others {
        other.stop();
        other.terminated().await;
    }
    gate.add_permits(1);
    tokio::time::sleep(SEC).await;
    let lines = log.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("gone, Stopped")).count(), 100);
    assert_eq!(lines.last().unwrap(), "watcher after the notices", "notices go before messages");
}

#[tokio::test]
async fn who_no_longer_watches_is_not_told() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let other = system.spawn("other", props(&Log::default())).unwrap();
    watch(&probe, &other).await;
    let gone = other.clone();
    probe
        .tell(Message::Do(Box::new(move |_, ctx| {
            Box::pin(async move {
                gone.stop();
                gone.terminated().await;
                // The notice is on its way already.
                ctx.unwatch(&gone);
                Ok(())
            })
        })))
        .await
        .unwrap();
    notes(&probe).await;
    assert_eq!(log.lines(), ["probe: Started"]);
}

#[tokio::test]
async fn a_watch_can_bring_a_message_in_place_of_the_signal() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let other = system.spawn("other", props(&Log::default())).unwrap();
    let watched = other.clone();
    probe.tell(act(move |_, ctx| ctx.watch_with(&watched, Message::Note("other is gone")))).await.unwrap();
    notes(&probe).await;
    other.stop();
    other.terminated().await;
    assert_eq!(notes(&probe).await, ["other is gone"]);
}

/// Watches, and forgets to handle the notice.
struct Careless;

impl Actor for Careless {
    type Message = annals_actors::plain::ActorRef<Message>;

    async fn receive(&mut self, other: Self::Message, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        ctx.watch(&other);
        Ok(())
    }
}

#[tokio::test]
async fn a_notice_that_nobody_handles_is_a_failure() {
    let (system, other) = one(&Log::default());
    let careless = Props::new(|| Careless).supervisor(SupervisorStrategy::Stop);
    let careless = system.spawn("careless", careless).unwrap();
    careless.tell(other.clone()).await.unwrap();
    other.stop();
    let TerminationReason::Failed(failure) = careless.terminated().await else { panic!() };
    assert!(failure.to_string().contains("test/probe terminated"), "{failure}");
    assert!(failure.to_string().contains("handle it, or do not watch"), "{failure}");
}

#[tokio::test]
async fn the_name_of_a_child_is_free_once_its_end_is_told() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    for _ in 0..3 {
        let kid = child(&probe, "kid", props(&Log::default())).await;
        watch(&probe, &kid).await;
        kid.stop();
        kid.terminated().await;
    }
    assert_eq!(notes(&probe).await, [""; 0]);
    assert_eq!(log.lines().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_at_its_limit_and_says_how_many_it_aborted() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let kid = child(&probe, "kid", props(&log)).await;
    let gate = Arc::new(Semaphore::new(0));
    kid.tell(Message::Wait(gate)).await.unwrap();
    kid.tell(Message::Note("waits")).await.unwrap();
    let mut letters = system.dead_letters(8);
    let late = system.shutdown(5 * SEC).await.unwrap_err();
    assert_eq!((late.actors, late.limit), (2, 5 * SEC));
    assert_eq!(probe.terminated().await, TerminationReason::Aborted);
    assert_eq!(kid.terminated().await, TerminationReason::Aborted);
    assert!(letters.try_next().is_some(), "what waited is reported");
    assert_eq!(system.actors(), 0);
}

#[tokio::test]
async fn a_shutdown_drains_all() {
    let log = Log::default();
    let system = annals_actors::plain::ActorSystem::new("test");
    for n in 0..20 {
        let probe = system.spawn(&format!("p{n}"), props(&log)).unwrap();
        for _ in 0..10 {
            probe.tell(Message::Note("x")).await.unwrap();
        }
    }
    system.shutdown(10 * SEC).await.unwrap();
    assert_eq!(log.lines().iter().filter(|line| line.ends_with(" x")).count(), 200);
}
