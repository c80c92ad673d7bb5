use std::sync::Arc;

use super::GroupCommitSettings;
use super::commit::{Backend, Commit};
use super::queue::{Call, Queue, Work};

/// Does the commits that callers do not finish themselves, one after the other.
pub(super) struct Committer {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
    settings: GroupCommitSettings,
}

impl Committer {
    pub(super) fn new(backend: Arc<Backend>, queue: Arc<Queue>, settings: GroupCommitSettings) -> Self {
        Self { backend, queue, settings }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(self) {
        while let Some(work) = self.queue.next(&self.settings).await {
            match work {
                Work::Begun(mut commit, caller) => {
                    let answers = commit.answers().await;
                    // The caller may have gone.
                    let _ = caller.send(commit.conclude(answers, &self.backend, &self.queue));
                }
                Work::Batch(calls) => {
                    self.backend.metrics.queue_entries.set(self.queue.entries() as f64);
                    self.commit(calls).await;
                }
            }
        }
    }

    async fn commit(&self, mut calls: Vec<Call>) {
        let mut lengths = Vec::with_capacity(calls.len());
        let mut writes = Vec::with_capacity(calls.len());
        for call in &mut calls {
            lengths.push(call.writes.len());
            writes.append(&mut call.writes);
        }
        let mut commit = Commit::begin(&self.backend, writes);
        let answers = commit.answers().await;
        let mut answers = commit.conclude(answers, &self.backend, &self.queue).into_iter();
        for (call, length) in calls.into_iter().zip(lengths) {
            call.answer(answers.by_ref().take(length).collect());
        }
    }
}

impl Drop for Committer {
    /// Also when the runtime goes away under it.
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
