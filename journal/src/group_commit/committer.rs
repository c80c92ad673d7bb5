use std::sync::Arc;

use tokio::sync::oneshot;

use super::GroupCommitSettings;
use super::commit::{Backend, Commit};
use super::queue::{Answers, Call, Queue, Work};

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
            let mut next = Some(match work {
                Work::Begun(commit, caller) => Sending { commit, early: None, to: Waiting::Leader(caller) },
                Work::Batch(calls) => self.begin(calls),
            });
            while let Some(Sending { mut commit, early, to }) = next {
                let answers = match early {
                    Some(answers) => answers,
                    None => commit.answers().await,
                };
                let answers = commit.conclude(answers, &self.backend, &self.queue);
                // Sent before those of the last commit are told and woken: the backend has work meanwhile.
                next = self.queue.next_batch(&self.settings).map(|calls| self.begin(calls));
                to.answer(answers);
            }
        }
    }

    /// Sends calls to the backend.
    fn begin(&self, mut calls: Vec<Call>) -> Sending {
        self.backend.metrics.queue_entries.set(self.queue.entries() as f64);
        let mut lengths = Vec::with_capacity(calls.len());
        let mut writes = Vec::with_capacity(calls.len());
        for call in &mut calls {
            lengths.push(call.writes.len());
            writes.append(&mut call.writes);
        }
        let mut commit = Commit::begin(&self.backend, writes);
        let early = commit.answers_now();
        Sending { commit, early, to: Waiting::Calls(calls, lengths) }
    }
}

/// A commit on its way.
struct Sending {
    commit: Commit,
    /// The answers, when the backend had them at once.
    early: Option<Answers>,
    to: Waiting,
}

/// Who waits for a commit.
enum Waiting {
    /// The caller that began it.
    Leader(oneshot::Sender<Answers>),
    /// Calls, and how many entries of each were sent.
    Calls(Vec<Call>, Vec<usize>),
}

impl Waiting {
    fn answer(self, answers: Answers) {
        match self {
            // The caller may have gone.
            Self::Leader(caller) => drop(caller.send(answers)),
            Self::Calls(calls, lengths) => {
                let mut answers = answers.into_iter();
                for (call, length) in calls.into_iter().zip(lengths) {
                    call.answer(answers.by_ref().take(length).collect());
                }
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
