//! What an operator sees of a journal's work.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use annals_journal::{
    GroupCommit, GroupCommitSettings, Journal, JournalExt, MemoryJournal, ReplayRange, telemetry,
};
use futures::StreamExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use support::{append, id, nr, token, write};

#[test]
fn what_becomes_of_entries_is_counted() {
    let recorded = recorded(async |journal: GroupCommit| {
        let (a, b) = (id("a"), id("b"));
        journal.claim(&a, token(2, 2)).await.unwrap();
        journal.append(append(&a, token(2, 2), 0, 3)).await.unwrap();
        let list = vec![
            write(&a, token(2, 2), 7, 1),
            write(&a, token(1, 1), 3, 1),
            write(&a, token(2, 1), 3, 1),
            write(&b, token(1, 1), 0, 0),
            write(&id("c"), token(1, 1), 0, 2),
        ];
        journal.write(list).await;
        journal.delete_to(&a, nr(1)).await.unwrap();
        journal.replay(ReplayRange::all(&a)).count().await;
    });
    let counter = |name: &str| match recorded.get(name) {
        Some(DebugValue::Counter(count)) => *count,
        other => panic!("{name}: {other:?}"),
    };
    for (name, count) in [
        (telemetry::APPENDED_EVENTS, 5),
        (telemetry::CONFLICTS, 1),
        (telemetry::FENCINGS, 1),
        (telemetry::SUPERSEDED, 1),
        (telemetry::REJECTED, 1),
        (telemetry::UNKNOWN, 0),
        (telemetry::UNAVAILABLE, 0),
        (telemetry::CORRUPT, 0),
        (telemetry::DELETIONS, 1),
        (telemetry::REPLAYED_EVENTS, 2),
    ] {
        assert_eq!(counter(name), count, "{name}");
    }
    assert!(counter(telemetry::APPENDED_BYTES) > 0);
    let Some(DebugValue::Histogram(entries)) = recorded.get(telemetry::BATCH_ENTRIES) else {
        panic!("no batches: {recorded:?}")
    };
    assert_eq!(entries.iter().map(|entries| entries.0).collect::<Vec<_>>(), [1.0, 1.0, 5.0]);
    assert!(matches!(&recorded[telemetry::COMMIT_SECONDS], DebugValue::Histogram(times) if times.len() == 3));
    assert_eq!(recorded[telemetry::QUEUE_ENTRIES], DebugValue::Gauge(0.0.into()));
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

fn recorded(story: impl AsyncFnOnce(GroupCommit)) -> HashMap<String, DebugValue> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let journal = GroupCommit::new(Arc::new(MemoryJournal::new()), GroupCommitSettings::default());
            story(journal.clone()).await;
            journal.shutdown().await;
        });
    });
    let entries = snapshotter.snapshot().into_vec();
    entries.into_iter().map(|(key, _, _, value)| (key.key().name().to_owned(), value)).collect()
}
