//! Failures: restart with backoff, stop, escalate.

use annals_actors::plain::{ActorSystem, Backoff, SupervisorStrategy, TerminationReason};
use tokio::time::{Instant, sleep};

use crate::probe::*;

#[tokio::test(start_paused = true)]
async fn a_panic_restarts_the_actor_with_a_fresh_instance_and_its_mailbox() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    for message in [Message::Note("before"), Message::Panic, Message::Note("after")] {
        probe.tell(message).await.unwrap();
    }
    assert_eq!(notes(&probe).await, ["after"], "the state is new, what waited is there");
    assert_eq!(
        log.lines(),
        ["probe: Started", "probe before", "probe: PreRestart", "probe: Started", "probe after"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_handler_is_a_failure_like_a_panic() {
    let (_system, probe) = one(&Log::default());
    probe.tell(Message::Note("before")).await.unwrap();
    probe.tell(Message::Fail).await.unwrap();
    assert_eq!(notes(&probe).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_restarts_double() {
    let system = ActorSystem::new("test");
    let policy = SupervisorStrategy::restart().backoff(Backoff::new(SEC, 60 * SEC).jitter(0.0));
    let probe = system.spawn("probe", props(&Log::default()).supervisor(policy)).unwrap();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        probe.tell(Message::Panic).await.unwrap();
        let began = Instant::now();
        notes(&probe).await;
        pauses.push(began.elapsed().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_too_often_stops_and_is_reported() {
    let log = Log::default();
    let (system, watcher) = one(&log);
    let policy = SupervisorStrategy::restart().limit(3, 60 * SEC);
    let bad = system.spawn("bad", props(&Log::default()).supervisor(policy)).unwrap();
    watch(&watcher, &bad).await;
    for _ in 0..4 {
        bad.tell(Message::Panic).await.unwrap();
    }
    assert!(matches!(bad.terminated().await, TerminationReason::Failed(_)));
    notes(&watcher).await;
    assert!(log.lines().last().unwrap().starts_with("probe: bad gone, Failed"));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_start_is_given_up_without_spinning_and_without_hurting_its_neighbours() {
    let system = ActorSystem::new("test");
    let bad = system.spawn("bad", starting(&Log::default(), |_| panic!("no database"))).unwrap();
    let good = system.spawn("good", props(&Log::default())).unwrap();
    let began = Instant::now();
    good.tell(Message::Note("fine")).await.unwrap();
    assert_eq!(notes(&good).await, ["fine"]);
    assert!(matches!(bad.terminated().await, TerminationReason::Failed(_)));
    assert!(began.elapsed() > 60 * SEC, "ten restarts took {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_is_a_failure_of_its_actor() {
    let system = ActorSystem::new("test");
    let props = annals_actors::plain::Props::<Probe>::new(|| panic!("no instance"));
    let bad = system.spawn("bad", props.supervisor(SupervisorStrategy::Stop)).unwrap();
    assert!(matches!(bad.terminated().await, TerminationReason::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn an_escalation_restarts_the_parent_and_stops_its_other_children() {
    let log = Log::default();
    let (_system, parent) = one(&log);
    let bad = child(&parent, "bad", props(&log).supervisor(SupervisorStrategy::Escalate)).await;
    let sibling = child(&parent, "sibling", props(&log)).await;
    parent.tell(Message::Note("forgotten")).await.unwrap();
    bad.tell(Message::Panic).await.unwrap();
    assert!(matches!(bad.terminated().await, TerminationReason::Escalated(_)));
    assert_eq!(sibling.terminated().await, TerminationReason::Stopped);
    assert_eq!(notes(&parent).await, [""; 0]);
    let lines = log.lines();
    let at =
        |line: &str| lines.iter().rposition(|l| l == line).unwrap_or_else(|| panic!("{line} in {lines:?}"));
    assert!(at("probe: PreRestart") < at("sibling: PostStop"));
    assert!(
        at("sibling: PostStop") < at("probe: Started"),
        "the new instance starts when the children are gone"
    );
}

#[tokio::test(start_paused = true)]
async fn an_escalation_of_a_top_level_actor_stops_it_alone() {
    let (system, neighbour) = one(&Log::default());
    let bad = system.spawn("bad", props(&Log::default()).supervisor(SupervisorStrategy::Escalate)).unwrap();
    bad.tell(Message::Panic).await.unwrap();
    assert!(matches!(bad.terminated().await, TerminationReason::Escalated(_)));
    assert_eq!(notes(&neighbour).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_survives_a_failure() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    for message in [Message::Note("a"), Message::Panic, Message::Note("b")] {
        probe.tell(message).await.unwrap();
    }
    probe.stop();
    assert_eq!(probe.terminated().await, TerminationReason::Stopped);
    assert!(log.lines().contains(&"probe b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_waits_for_its_restart_stops_at_once_when_nothing_waits() {
    let system = ActorSystem::new("test");
    let policy = SupervisorStrategy::restart().backoff(Backoff::new(100 * SEC, 100 * SEC));
    let probe = system.spawn("probe", props(&Log::default()).supervisor(policy)).unwrap();
    probe.tell(Message::Panic).await.unwrap();
    sleep(SEC).await;
    let began = Instant::now();
    probe.stop();
    probe.terminated().await;
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_an_instance_ends_with_it() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let other = system.spawn("other", props(&Log::default())).unwrap();
    let kid = child(&probe, "kid", props(&Log::default())).await;
    watch(&probe, &other).await;
    let set_up = act(|_, ctx| {
        ctx.start_timer_at_fixed_rate("tick", SEC, || Message::Note("tick"));
        ctx.becomes(|_, _, _| Box::pin(async { panic!("still the old behaviour") }));
    });
    probe.tell(set_up).await.unwrap();
    probe.tell(Message::Note("fails")).await.unwrap();
    sleep(10 * SEC).await;
    other.stop();
    other.terminated().await;
    assert_eq!(kid.terminated().await, TerminationReason::Stopped);
    assert_eq!(notes(&probe).await, [""; 0]);
    assert_eq!(log.lines(), ["probe: Started", "probe: PreRestart", "probe: Started"]);
}
