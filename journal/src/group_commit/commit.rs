use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::GroupCommitSettings;
use super::queue::{Answers, Call, Queue};
use crate::telemetry::{JournalMetrics, PERSIST_SPAN};
use crate::{Journal, JournalError, NotStored, PersistenceId, Token, Write};

/// Where commits go, and where they are counted.
pub(super) struct Backend {
    pub(super) inner: Arc<dyn Journal>,
    pub(super) metrics: JournalMetrics,
    pub(super) settings: GroupCommitSettings,
}

/// A commit and whom its answers go to.
pub(super) struct Batch {
    pub(super) commit: Commit,
    /// Each call with the number of entries that it has in the commit.
    calls: Vec<(Call, usize)>,
}

impl Batch {
    /// Makes a commit of calls; it is sent when it is polled.
    pub(super) fn begin(backend: &Backend, calls: Vec<Call>) -> Self {
        let mut writes = Vec::with_capacity(calls.iter().map(|call| call.writes.len()).sum());
        let take = |mut call: Call| {
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
    calls: Vec<(Call, usize)>,
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
    sent: Vec<Sent>,
    began: Instant,
    /// The answers, when the backend had them at once.
    early: Option<Answers>,
    written: BoxFuture<'static, Result<Answers, Box<dyn Any + Send>>>,
}

/// What must be known of an entry after it was given away.
struct Sent {
    id: PersistenceId,
    token: Token,
    events: usize,
    bytes: usize,
}

impl Commit {
    /// Makes a commit of entries; it is sent when it is polled.
    pub(super) fn begin(backend: &Backend, writes: Vec<Write>) -> Self {
        let sent: Vec<Sent> = writes.iter().map(Sent::new).collect();
        // Asked for first: with the feature `log` of tracing, which others may turn on, the fields are made for nothing.
        let span = if tracing::level_enabled!(tracing::Level::INFO) {
            tracing::info_span!(
                PERSIST_SPAN,
                entries = sent.len(),
                events = sent.iter().map(|sent| sent.events).sum::<usize>(),
                bytes = sent.iter().map(|sent| sent.bytes).sum::<usize>(),
                persistence_id = sent.first().map(|sent| sent.id.as_str()),
                seq_nr = last_number(&writes),
            )
        } else {
            Span::none()
        };
        let inner = Arc::clone(&backend.inner);
        let write = async move { inner.write(writes).await };
        let written = AssertUnwindSafe(write).catch_unwind().instrument(span).boxed();
        Self { sent, began: Instant::now(), early: None, written }
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
        let entries = self.sent.len();
        let reason = match written {
            Ok(answers) if answers.len() == entries => return answers,
            Ok(answers) => format!("the journal gave {} answers to {entries} entries", answers.len()),
            Err(panic) => format!("the journal panicked: {}", message(panic.as_ref())),
        };
        tracing::error!(entries, reason, "the outcome of a commit is unknown");
        vec![Err(JournalError::Unknown { reason, source: None }); entries]
    }

    /// How long it is on its way.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Counts what became of it, and refuses what waits behind entries that were not stored.
    ///
    /// Before anyone is answered: who hears of a failure must find its later entries refused.
    pub(super) fn conclude(self, answers: Answers, backend: &Backend, queue: &Queue) -> Answers {
        let metrics = &backend.metrics;
        metrics.commit_seconds.record(self.began.elapsed().as_secs_f64());
        metrics.batch_entries.record(self.sent.len() as f64);
        let mut not_stored = NotStored::new();
        let (mut events, mut bytes) = (0, 0);
        for (sent, answer) in self.sent.iter().zip(&answers) {
            match answer {
                Ok(_) => {
                    events += sent.events as u64;
                    bytes += sent.bytes as u64;
                }
                Err(error) => {
                    metrics.failed(error);
                    not_stored.remember(&sent.id, sent.token, error);
                }
            }
        }
        metrics.appended_events.increment(events);
        metrics.appended_bytes.increment(bytes);
        if !not_stored.is_empty() {
            for call in queue.refuse(&not_stored) {
                call.refused().for_each(|error| metrics.failed(error));
                call.answer(Vec::new());
            }
        }
        answers
    }
}

impl Sent {
    fn new(write: &Write) -> Self {
        let (events, bytes) = match write {
            Write::Append(append) => {
                let bytes = append.events.iter().map(|event| event.payload.len()).sum();
                (append.events.len(), bytes)
            }
            Write::Claim { .. } | Write::Verify { .. } => (0, 0),
        };
        Self { id: write.persistence_id().clone(), token: write.token(), events, bytes }
    }
}

/// The number of the first entry's last event.
fn last_number(writes: &[Write]) -> Option<u64> {
    match writes.first()? {
        Write::Append(append) => Some(append.last().get()),
        Write::Claim { .. } | Write::Verify { .. } => None,
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
