//! What an operator sees of a node's work.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the node's stories")]
mod probe;

use std::collections::HashMap;

use annals_actors::{Failure, telemetry};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use probe::*;

/// Runs a story on a node of its own; what it recorded, by name.
fn recorded<F: Future>(story: impl FnOnce() -> F) -> HashMap<String, DebugValue> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(story()));
    let entries = snapshotter.snapshot().into_vec();
    entries.into_iter().map(|(key, _, _, value)| (key.key().name().to_owned(), value)).collect()
}

fn counter(recorded: &HashMap<String, DebugValue>, name: &str) -> u64 {
    match recorded.get(name) {
        Some(DebugValue::Counter(count)) => *count,
        other => panic!("{name}: {other:?}"),
    }
}

fn gauge(recorded: &HashMap<String, DebugValue>, name: &str) -> f64 {
    match recorded.get(name) {
        Some(DebugValue::Gauge(value)) => value.0,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_story_shows_in_the_metrics() {
    let recorded = recorded(|| async {
        let stores = stores();
        let old = node(stores.clone()).await;
        let entity = old.entity::<Probe>("a");
        entity.ask(Note("one".into())).await.unwrap();
        entity.ask(Notes).await.unwrap();
        old.shutdown().await;
        let old = node(stores.clone()).await;
        old.entity::<Probe>("a").ask(Notes).await.unwrap();
        let new = node(stores).await;
        new.entity::<Probe>("a").ask(Note("two".into())).await.unwrap();
        let fenced = old.entity::<Probe>("a").ask(Note("three".into())).await.unwrap_err();
        assert!(matches!(fenced, annals_actors::AskError::Failed(Failure::Fenced { .. })));
        new.shutdown().await;
        old.shutdown().await;
    });
    assert_eq!(counter(&recorded, telemetry::COMMANDS), 5);
    assert_eq!(counter(&recorded, telemetry::FAILURES), 1);
    assert_eq!(counter(&recorded, telemetry::FENCINGS), 1);
    assert_eq!(counter(&recorded, telemetry::RESTARTS), 1);
    assert_eq!(counter(&recorded, telemetry::RECOVERIES), 3);
    assert_eq!(counter(&recorded, telemetry::RECOVERED_EVENTS), 2);
    assert_eq!(counter(&recorded, annals_journal::telemetry::APPENDED_EVENTS), 2);
    for empty in [telemetry::ACTIVE_ENTITIES, telemetry::MAILBOX_DEPTH, telemetry::HELD_REPLIES] {
        assert_eq!(gauge(&recorded, empty).abs(), 0.0, "{empty} comes back to nothing");
    }
    assert!(
        matches!(&recorded[telemetry::RECOVERY_SECONDS], DebugValue::Histogram(times) if times.len() == 3)
    );
}

#[test]
fn every_metric_of_the_table_is_a_constant_and_the_reverse() {
    let source = include_str!("../src/telemetry.rs");
    let in_table: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let constants: Vec<_> = source
        .lines()
        .filter(|line| line.starts_with("pub const"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(in_table.len() > 10);
    assert_eq!(in_table, constants);
}

#[test]
fn recording_allocates_nothing() {
    // The handles that the hot path uses are made once; with a recorder installed, using one allocates nothing.
    let recorder = DebuggingRecorder::new();
    let (counter, gauge) = metrics::with_local_recorder(&recorder, || {
        (metrics::counter!(telemetry::COMMANDS), metrics::gauge!(telemetry::MAILBOX_DEPTH))
    });
    let allocations = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            counter.increment(1);
            gauge.increment(1.0);
            gauge.decrement(1.0);
        }
    });
    assert_eq!(allocations.count_total, 0);
}
