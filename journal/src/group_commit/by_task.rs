use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::commit::{Backend, Batch, Commit};
use super::committer::Committer;
use super::queue::{Lead, Place, Queue};
use super::sent::Answers;
use super::{Closed, ended};
use crate::Write;

/// Group commit in front of any backend.
///
/// The caller that finds the journal idle begins the commit itself: with a backend that answers at once no task is woken. A commit
/// that is not answered at once is left to the committer's task, so that nobody's commit waits for the caller's task to be polled.
pub(super) struct ByTask {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
    /// Errs when the task has ended.
    ended: watch::Receiver<()>,
}

impl ByTask {
    /// Starts the task on the current runtime.
    pub(super) fn new(backend: Backend) -> Self {
        let (backend, queue) = (Arc::new(backend), Arc::new(Queue::default()));
        let (ends, ended) = watch::channel(());
        let committer = Committer::new(Arc::clone(&backend), Arc::clone(&queue));
        tokio::spawn(async move {
            committer.run().await;
            drop(ends);
        });
        Self { backend, queue, ended }
    }

    pub(super) async fn write(&self, writes: Vec<Write>) -> Answers {
        let entries = writes.len();
        let answers = match self.queue.enter(writes) {
            Ok(Place::Lead(lead, writes)) => match self.lead(lead, writes) {
                Ok(answers) => return answers,
                Err(answer) => answer.await.ok(),
            },
            Ok(Place::Wait(ticket)) => ticket.answer().await,
            Err(Closed) => return vec![Err(Closed.into()); entries],
        };
        answers.unwrap_or_else(|| vec![Err(ended()); entries])
    }

    /// Commits in the caller's task, as long as the backend answers at once: its own list, then what came meanwhile. What is not
    /// answered at once goes to the committer.
    fn lead(&self, lead: Lead<'_>, writes: Vec<Write>) -> Result<Answers, oneshot::Receiver<Answers>> {
        let Self { backend, queue, .. } = self;
        let mut commit = Commit::begin(backend, writes);
        let Some(answers) = commit.answers_now() else {
            let (caller, answer) = oneshot::channel();
            lead.hand_over(Batch::of_one(commit, caller));
            return Err(answer);
        };
        let own = commit.conclude(answers, backend, queue);
        let mut next = lead.next(&backend.settings);
        for _ in 0..COMBINED {
            let Some((lead, calls)) = next else { return Ok(own) };
            let mut batch = Batch::begin(backend, calls);
            let Some(answers) = batch.commit.answers_now() else {
                lead.hand_over(batch);
                return Ok(own);
            };
            batch.conclude(answers, backend, queue).tell();
            next = lead.next(&backend.settings);
        }
        if let Some((lead, calls)) = next {
            lead.hand_over(Batch::begin(backend, calls));
        }
        Ok(own)
    }

    pub(super) async fn shutdown(&self) {
        self.queue.close();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for ByTask {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Commits of others that a caller makes at most after its own.
const COMBINED: usize = 8;
