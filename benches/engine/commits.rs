use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use annals_journal::telemetry::COMMIT_SECONDS;
use anyhow::{Context, Result};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counts the commits that the journal of this process makes, by listening to its metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commits(Arc<AtomicU32>);

impl Commits {
    /// Begins to listen; once in a process, before the first journal is opened.
    pub(crate) fn listen() -> Result<Self> {
        let commits = Self::default();
        metrics::set_global_recorder(Listener(commits.clone())).ok().context("somebody listens already")?;
        Ok(commits)
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl HistogramFn for Commits {
    fn record(&self, _seconds: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Listener(Commits);

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == COMMIT_SECONDS {
            Histogram::from_arc(Arc::new(self.0.clone()))
        } else {
            Histogram::noop()
        }
    }
}
