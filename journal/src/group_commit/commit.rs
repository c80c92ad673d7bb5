use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::GroupCommitSettings;
use super::queue::Queue;
use super::sent::{Answers, Sent};
use super::waiting::Call;
use crate::telemetry::JournalMetrics;
use crate::{Journal, Write};

/// Where commits go, and where they are counted.
pub(super) struct Backend {
    pub(super) inner: Arc<dyn Journal>,
    pub(super) metrics: Arc<JournalMetrics>,
    pub(super) settings: GroupCommitSettings,
}

/// A commit and whom its answers go to.
pub(super) struct Batch {
    pub(super) commit: Commit,
    /// Each call with the number of entries that it has in the commit.
    calls: Vec<(Call<Write>, usize)>,
}

impl Batch {
    /// Makes a commit of calls; it is sent when it is polled.
    pub(super) fn begin(backend: &Backend, calls: Vec<Call<Write>>) -> Self {
        let mut writes = Vec::with_capacity(calls.iter().map(|call| call.writes.len()).sum());
        let take = |mut call: Call<Write>| {
            let entries = call.writes.len();
            writes.append(&mut call.writes);
            (call, entries)
        };
        let calls = calls.into_iter().map(take).collect();
        Self { commit: Commit::begin(backend, writes), calls }
    }

    /// The commit of one caller.
    pub(super) fn of_one(commit: Commit, caller: oneshot::Sender<Answers>) -> Self {
        let call = (Call::sent(caller), commit.sent.len());
        Self { commit, calls: vec![call] }
    }

    /// Concludes the commit; its callers are to be told.
    pub(super) fn conclude(self, answers: Answers, backend: &Backend, queue: &Queue) -> Concluded {
        Concluded { answers: self.commit.conclude(answers, backend, queue), calls: self.calls }
    }
}

/// A commit whose outcome is recorded.
#[must_use = "its callers wait to be told"]
pub(super) struct Concluded {
    answers: Answers,
    calls: Vec<(Call<Write>, usize)>,
}

impl Concluded {
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn tell(self) {
        let mut answers = self.answers.into_iter();
        for (call, entries) in self.calls {
            call.answer(answers.by_ref().take(entries).collect());
        }
    }
}

/// Entries on their way to the backend.
pub(super) struct Commit {
    sent: Sent,
    /// The answers, when the backend had them at once.
    early: Option<Answers>,
    written: BoxFuture<'static, Result<Answers, Box<dyn Any + Send>>>,
}

impl Commit {
    /// Makes a commit of entries; it is sent when it is polled.
    pub(super) fn begin(backend: &Backend, writes: Vec<Write>) -> Self {
        let mut sent = Sent::begin();
        sent.extend(&writes);
        let span = sent.span(&writes);
        let inner = Arc::clone(&backend.inner);
        let write = async move { inner.write(writes).await };
        let written = AssertUnwindSafe(write).catch_unwind().instrument(span).boxed();
        Self { sent, early: None, written }
    }

    /// Sends it.
    pub(super) fn send(&mut self) {
        self.early = (&mut self.written).now_or_never().map(|written| self.one_for_each(written));
    }

    /// Sends it; the answers, when the backend has them without waiting.
    pub(super) fn answers_now(&mut self) -> Option<Answers> {
        self.send();
        self.early.take()
    }

    /// Waits for the answers, one for each entry, whatever happens.
    pub(super) async fn answers(&mut self) -> Answers {
        if let Some(early) = self.early.take() {
            return early;
        }
        let written = (&mut self.written).await;
        self.one_for_each(written)
    }

    fn one_for_each(&self, written: Result<Answers, Box<dyn Any + Send>>) -> Answers {
        let panicked =
            |panic: Box<dyn Any + Send>| format!("the journal panicked: {}", message(panic.as_ref()));
        self.sent.one_for_each(written.map_err(panicked))
    }

    /// How long it is on its way.
    pub(super) fn elapsed(&self) -> Duration {
        self.sent.began().elapsed()
    }

    /// Counts what became of it, and refuses what waits behind entries that were not stored.
    ///
    /// Before anyone is answered: who hears of a failure must find its later entries refused.
    pub(super) fn conclude(self, answers: Answers, backend: &Backend, queue: &Queue) -> Answers {
        let metrics = &backend.metrics;
        let not_stored = self.sent.count(&answers, metrics);
        if !not_stored.is_empty() {
            for call in queue.refuse(&not_stored) {
                call.refused().for_each(|error| metrics.failed(error));
                call.answer(Vec::new());
            }
        }
        answers
    }
}

pub(super) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// A commit that takes so long is worth waiting for those who may share it.
pub(super) const SLOW: Duration = Duration::from_millis(2);
