//! Persistent actors share what plain actors have: dead letters, an event stream, supervision, one shutdown.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod dead_letters;
mod doctored;
mod mailboxes;
mod panics;
mod recoveries;
mod shutdown;
mod storms;
mod tank;

use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Runs a story on virtual time; gives the counters that it leaves, with the value of their label.
fn counted<F: Future>(story: impl FnOnce() -> F) -> Vec<(String, Option<String>, u64)> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(story()));
    let entries = snapshotter.snapshot().into_vec().into_iter();
    entries
        .filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) => {
                let label = key.key().labels().next().map(|label| label.value().to_owned());
                Some((key.key().name().to_owned(), label, count))
            }
            _ => None,
        })
        .collect()
}

/// How often something was counted, with this label.
fn count(counted: &[(String, Option<String>, u64)], name: &str, label: Option<&str>) -> u64 {
    counted
        .iter()
        .filter(|(other, its, _)| other == name && its.as_deref() == label)
        .map(|(.., count)| count)
        .sum()
}
