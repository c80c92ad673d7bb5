//! What an operator sees.

use std::collections::HashMap;

use annals_actors::plain::SupervisorStrategy;
use annals_actors::telemetry;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::probe::*;

#[test]
fn a_story_shows_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (system, probe) = one(&Log::default());
            let mut numbers = system.event_stream().subscribe::<u32>(1);
            system.event_stream().publish(1_u32);
            system.event_stream().publish(2_u32);
            numbers.next().await;
            let kid =
                child(&probe, "kid", props(&Log::default()).supervisor(SupervisorStrategy::Escalate)).await;
            kid.tell(Message::Panic).await.unwrap();
            kid.terminated().await;
            assert_eq!(notes(&probe).await, [""; 0]);
            probe.tell(act(|_, ctx| ctx.stash(Message::Note("aside")).unwrap())).await.unwrap();
            let small = props(&Log::default()).mailbox(annals_actors::plain::Mailbox::bounded(1));
            let small = system.spawn("small", small).unwrap();
            small.tell(Message::Note("fits")).await.unwrap();
            small.tell(Message::Note("does not")).await.unwrap_err();
            system.shutdown(SEC).await.unwrap();
            probe.tell(Message::Note("late")).await.unwrap_err();
        });
    });
    let values: HashMap<_, _> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
            (format!("{}{}", key.key().name(), labels.join(",")), value)
        })
        .collect();
    let counter = |name: &str| match values.get(name) {
        Some(DebugValue::Counter(count)) => *count,
        other => panic!("{name}: {other:?} in {:?}", values.keys()),
    };
    assert_eq!(counter(telemetry::SPAWNED), 3);
    assert_eq!(counter(telemetry::ACTOR_FAILURES), 2, "the child's and the parent's");
    assert_eq!(counter(telemetry::ACTOR_RESTARTS), 1);
    assert_eq!(counter(telemetry::ESCALATIONS), 1);
    assert_eq!(counter(telemetry::REFUSED_MESSAGES), 1);
    assert_eq!(counter(telemetry::MISSED_EVENTS), 1);
    assert_eq!(counter(&format!("{}stopped", telemetry::DEAD_LETTERS)), 2, "one stashed, one late");
    assert!(counter(telemetry::MESSAGES) >= 4);
    for empty in [telemetry::RUNNING_ACTORS, telemetry::WAITING_MESSAGES, telemetry::STASHED_MESSAGES] {
        let Some(DebugValue::Gauge(value)) = values.get(empty) else { panic!("{empty}") };
        assert_eq!(value.0.abs(), 0.0, "{empty} comes back to nothing");
    }
}
