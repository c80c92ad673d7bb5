use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::{Backend, Batch, SLOW};
use super::queue::{Queue, Work};
use super::waiting::Call;
use crate::Write;

/// Does the commits that callers do not finish themselves, one after the other.
pub(super) struct Committer {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
}

impl Committer {
    pub(super) fn new(backend: Arc<Backend>, queue: Arc<Queue>) -> Self {
        Self { backend, queue }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(self) {
        while let Some(work) = self.queue.next(&self.backend.settings).await {
            let mut next = Some(match work {
                Work::Begun(batch) => batch,
                Work::Calls(calls) => self.begin(calls),
            });
            while let Some(mut batch) = next {
                let answers = batch.commit.answers().await;
                let took = batch.commit.elapsed();
                let batch = batch.conclude(answers, &self.backend, &self.queue);
                if took < SLOW || batch.calls() == 1 {
                    // Sent before those of the last commit are told and woken: the backend has work meanwhile.
                    next = self.next();
                    batch.tell();
                } else {
                    // Counted before they are told: some write again at once.
                    let hoped = self.queue.entries() + batch.calls();
                    batch.tell();
                    self.await_callers(hoped, took).await;
                    next = self.next();
                }
            }
        }
    }

    fn next(&self) -> Option<Batch> {
        self.queue.next_batch(&self.backend.settings).map(|calls| self.begin(calls))
    }

    /// Sends calls to the backend.
    fn begin(&self, calls: Vec<Call<Write>>) -> Batch {
        self.backend.metrics.queue_entries.set(self.queue.entries() as f64);
        let mut batch = Batch::begin(&self.backend, calls);
        batch.commit.send();
        batch
    }

    /// Gives callers that were just answered the time to write again, while more come; `took` is what the commit took.
    async fn await_callers(&self, hoped: usize, took: Duration) {
        let mut entries = self.queue.entries();
        let hoped = hoped.min(self.backend.settings.max_entries);
        let began = Instant::now();
        let mut last = began;
        while entries < hoped {
            // Others run first: the entities that were answered, their callers, and the entities that these ask next.
            tokio::task::yield_now().await;
            let now = Instant::now();
            let before = std::mem::replace(&mut entries, self.queue.entries());
            if entries > before {
                last = now;
            }
            if now - began > took / 8 || now - last > took / 32 {
                return;
            }
        }
    }
}

impl Drop for Committer {
    /// Also when the runtime goes away under it.
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
