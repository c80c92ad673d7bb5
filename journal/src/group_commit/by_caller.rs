use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Closed;
use super::sent::{Answers, Sent};
use crate::Write;
use crate::commit_path::AtOnce;
use crate::telemetry::JournalMetrics;

/// In front of a backend that never waits: each caller commits for itself, and nothing is ever queued.
pub(super) struct ByCaller {
    store: Arc<dyn AtOnce>,
    metrics: Arc<JournalMetrics>,
    closed: AtomicBool,
}

impl ByCaller {
    pub(super) fn new(store: Arc<dyn AtOnce>, metrics: Arc<JournalMetrics>) -> Self {
        Self { store, metrics, closed: AtomicBool::new(false) }
    }

    pub(super) fn write(&self, writes: Vec<Write>) -> Answers {
        if self.closed.load(Ordering::Acquire) {
            return vec![Err(Closed.into()); writes.len()];
        }
        let mut sent = Sent::begin();
        sent.extend(&writes);
        let _entered = sent.span(&writes).entered();
        let answers = self.store.write_now(writes);
        sent.count(&answers, &self.metrics);
        answers
    }

    pub(super) fn shut_down(&self) {
        self.closed.store(true, Ordering::Release);
    }
}
