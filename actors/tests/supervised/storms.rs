//! Very many entities that are woken at once.

use std::collections::HashMap;
use std::future::IntoFuture;
use std::time::Duration;

use annals_actors::plain::Mailbox;
use annals_actors::{AskError, Failure, Node, telemetry};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::runtime::Handle;

use crate::tank::*;

const ENTITIES: usize = 10_000;
const AT_ONCE: usize = 20;
const CLAIMS: usize = 30;
const MS: Duration = Duration::from_millis(1);

fn tank(node: &Node, number: usize) -> annals_actors::EntityRef<Tank> {
    node.entity(&number.to_string())
}

/// On virtual time, with the gauges that it leaves.
fn story<F: Future>(story: impl FnOnce(Gauge) -> F) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(story(Gauge(snapshotter, HashMap::new()))));
}

/// Gauges, which a snapshot takes back to nothing.
struct Gauge(Snapshotter, HashMap<String, f64>);

impl Gauge {
    fn now(&mut self, name: &str) -> f64 {
        for (key, _, _, value) in self.0.snapshot().into_vec() {
            if let DebugValue::Gauge(value) = value {
                *self.1.entry(key.key().name().to_owned()).or_default() += value.0;
            }
        }
        self.1[name]
    }
}

#[test]
fn ten_thousand_entities_woken_at_once_on_a_slow_journal_recover_a_few_at_a_time_and_all_answer() {
    story(|mut gauge| async move {
        let (plant_then, journal) = plant(|kind| kind);
        let node = started(plant_then, &journal).await;
        let filled: FuturesUnordered<_> =
            (0..ENTITIES).map(|number| tank(&node, number).ask(Fill(number as u64)).into_future()).collect();
        assert_eq!(filled.filter(|answer| std::future::ready(answer.is_ok())).count().await, ENTITIES);
        node.shutdown().await;

        journal.forget_the_most();
        journal.delay(50 * MS);
        let hour = Duration::from_secs(3_600);
        let (plant, _) = plant(|kind| kind.mailbox(Mailbox::bounded(4)).never_passivate());
        let plant = plant.max_claims(CLAIMS).max_recoveries(AT_ONCE).ask_timeout(hour);
        let node = started(plant, &journal).await;
        let began = tokio::time::Instant::now();
        let asked: FuturesUnordered<_> = (0..ENTITIES)
            .map(|number| {
                let answer = tank(&node, number).ask(Litres);
                async move { (number, answer.await) }
            })
            .collect();
        let answered = tokio::spawn(asked.collect::<Vec<_>>());
        tokio::time::sleep(MS).await;
        assert_eq!(gauge.now(telemetry::ACTIVE_ENTITIES), ENTITIES as f64);
        // What may wait for one of them is bounded: one waits already.
        let last = tank(&node, ENTITIES - 1);
        let accepted = (0..10).filter(|_| last.try_tell(Litres).is_ok()).count();
        assert_eq!(accepted, 3);
        for (number, answer) in answered.await.unwrap() {
            assert_eq!(answer, Ok(number as u64), "entity {number}");
        }
        assert_eq!(journal.most_replays_at_once(), AT_ONCE, "as many as may, and not one more");
        let claims = journal.most_claims_at_once();
        assert!(
            (CLAIMS - 1..=CLAIMS).contains(&claims),
            "{claims} at once: one is on its way alone, or none is"
        );
        let took = began.elapsed();
        assert!(took >= 50 * MS * (ENTITIES / AT_ONCE) as u32, "{took:?}: a replay each");
        assert_eq!(gauge.now(telemetry::MAILBOX_DEPTH), 0.0);
        assert_eq!(journal.replays(), ENTITIES, "each is replayed once");
        node.shutdown().await;
    });
}

#[test]
fn on_a_journal_that_does_not_answer_every_caller_is_told_and_nothing_is_left_behind() {
    story(|mut gauge| async move {
        let (plant, journal) = plant(|kind| kind);
        let second = Duration::from_secs(1);
        let node = started(plant.max_recoveries(AT_ONCE).recovery_timeout(second), &journal).await;
        tank(&node, ENTITIES).ask(Fill(1)).await.unwrap();
        let before = Handle::current().metrics().num_alive_tasks();
        journal.silence();
        let asked: FuturesUnordered<_> =
            (0..ENTITIES).map(|number| tank(&node, number).ask(Fill(1)).into_future()).collect();
        let asked: Vec<_> = asked.collect().await;
        assert_eq!(asked.len(), ENTITIES);
        for answer in asked {
            let Err(AskError::Failed(failure)) = answer else { panic!("{answer:?}") };
            assert!(
                matches!(failure, Failure::TimedOut { .. } | Failure::JournalUnavailable { .. }),
                "{failure:?}"
            );
            assert!(failure.is_transient());
        }
        // The first entity passivates meanwhile; the others give up in their turn.
        let gone = async {
            let tasks = || Handle::current().metrics().num_alive_tasks();
            while gauge.now(telemetry::ACTIVE_ENTITIES) > 0.0 || tasks() >= before {
                tokio::time::sleep(10 * second).await;
            }
        };
        tokio::time::timeout(24 * 3_600 * second, gone).await.unwrap();
        for name in [
            telemetry::ACTIVE_ENTITIES,
            telemetry::MAILBOX_DEPTH,
            telemetry::HELD_REPLIES,
            annals_journal::telemetry::QUEUE_ENTRIES,
        ] {
            assert_eq!(gauge.now(name), 0.0, "{name}");
        }
        journal.speak();
        for number in 0..100 {
            assert_eq!(tank(&node, number).ask(Litres).await, Ok(0), "it was certainly not carried out");
        }
        node.shutdown().await;
    });
}
