use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tracing::Instrument;

use super::GroupCommitSettings;
use super::queue::{Answers, Call, Queue};
use crate::telemetry::{JournalMetrics, PERSIST_SPAN};
use crate::{Journal, JournalError, NotStored, PersistenceId, Token, Write};

/// Does one commit after the other.
pub(super) struct Committer {
    inner: Arc<dyn Journal>,
    queue: Arc<Queue>,
    metrics: Arc<JournalMetrics>,
    settings: GroupCommitSettings,
}

/// What must be known of an entry after it was given away.
struct Sent {
    id: PersistenceId,
    token: Token,
    events: usize,
    bytes: usize,
}

impl Committer {
    pub(super) fn new(
        inner: Arc<dyn Journal>,
        queue: Arc<Queue>,
        metrics: Arc<JournalMetrics>,
        settings: GroupCommitSettings,
    ) -> Self {
        Self { inner, queue, metrics, settings }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(self) {
        while let Some(batch) = self.queue.next_batch(&self.settings).await {
            self.metrics.queue_entries.set(self.queue.entries() as f64);
            self.commit(batch).await;
        }
    }

    async fn commit(&self, mut calls: Vec<Call>) {
        let mut lengths = Vec::with_capacity(calls.len());
        let mut writes = Vec::with_capacity(calls.len());
        for call in &mut calls {
            lengths.push(call.writes.len());
            writes.append(&mut call.writes);
        }
        let sent: Vec<Sent> = writes.iter().map(Sent::new).collect();
        let answers = self.send(writes, &sent).await;

        // Before anyone is answered: who hears of a failure must find its later entries refused.
        let not_stored = self.record(&sent, &answers);
        let refused = if not_stored.is_empty() { Vec::new() } else { self.queue.refuse(&not_stored) };

        let mut answers = answers.into_iter();
        for (call, length) in calls.into_iter().zip(lengths) {
            call.answer(answers.by_ref().take(length).collect());
        }
        for call in refused {
            call.refused().for_each(|error| self.metrics.failed(error));
            call.answer(Vec::new());
        }
    }

    /// Gives a batch to the journal; one answer for each entry comes back, whatever happens.
    async fn send(&self, writes: Vec<Write>, sent: &[Sent]) -> Answers {
        let entries = writes.len();
        let span = tracing::info_span!(
            PERSIST_SPAN,
            entries,
            events = sent.iter().map(|sent| sent.events).sum::<usize>(),
            bytes = sent.iter().map(|sent| sent.bytes).sum::<usize>(),
            persistence_id = sent.first().map(|sent| sent.id.as_str()),
            seq_nr = last_number(&writes),
        );
        let began = Instant::now();
        let write = async { self.inner.write(writes).await };
        let written = AssertUnwindSafe(write).catch_unwind().instrument(span).await;
        self.metrics.commit_seconds.record(began.elapsed().as_secs_f64());
        self.metrics.batch_entries.record(entries as f64);
        let reason = match written {
            Ok(answers) if answers.len() == entries => return answers,
            Ok(answers) => format!("the journal gave {} answers to {entries} entries", answers.len()),
            Err(panic) => format!("the journal panicked: {}", message(panic.as_ref())),
        };
        tracing::error!(entries, reason, "the outcome of a commit is unknown");
        vec![Err(JournalError::Unknown { reason, source: None }); entries]
    }

    /// Counts what became of a batch, and says who failed in it.
    fn record(&self, sent: &[Sent], answers: &Answers) -> NotStored {
        let mut not_stored = NotStored::new();
        let (mut events, mut bytes) = (0, 0);
        for (sent, answer) in sent.iter().zip(answers) {
            match answer {
                Ok(_) => {
                    events += sent.events as u64;
                    bytes += sent.bytes as u64;
                }
                Err(error) => {
                    self.metrics.failed(error);
                    not_stored.remember(&sent.id, sent.token, error);
                }
            }
        }
        self.metrics.appended_events.increment(events);
        self.metrics.appended_bytes.increment(bytes);
        not_stored
    }
}

impl Drop for Committer {
    /// Also when the runtime goes away under it.
    fn drop(&mut self) {
        self.queue.abandon();
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
