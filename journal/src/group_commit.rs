//! Group commit without a timer.
//!
//! ```text
//! callers   ──┬─ write ──────────→ commit 1: on its way to the backend
//!             ├─ write ─→ queue ─┐
//!             └─ write ─→ queue ─┴→ commit 2: what came meanwhile; goes when commit 1 is answered
//! ```
//! An idle journal commits at once, a busy one batches by itself. The next commit is sent before the callers of the last one are
//! told, so that the backend has work meanwhile. On a slow disk they are told first, and the next commit waits for them to write
//! again, while more come and at most an eighth of the time that the last one took: else they fall into two halves, of which
//! one always waits for the other's commit.
//!
//! The caller that finds the journal idle begins the commit itself: with a backend that answers at once no task is woken. A commit
//! that is not answered at once is left to the committer's task, so that nobody's commit waits for the caller's task to be polled.

mod commit;
mod committer;
mod queue;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::{oneshot, watch};

use self::commit::{Backend, Batch, Commit};
use self::committer::Committer;
use self::queue::{Answers, Entry, Lead, Queue};
use crate::telemetry::JournalMetrics;
use crate::{
    Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange, Replayed, SeqNr,
    SliceRange, StoredEvent, Tag, Write,
};

/// A journal around a journal that turns the writes of many callers into few commits, and records the journal's
/// [metrics](crate::telemetry).
///
/// What arrives while a commit is on its way forms the next one. Writes are committed in the order in which the futures
/// of [`Journal::write`] are first polled; one call's list is never divided over two commits. Reads and deletions
/// pass through.
///
/// Once an entry is not stored (also when its outcome is unknown), every entry of the same id and token that waits in the
/// queue at that moment is answered alike without being sent. So a writer may have several appends under way, each
/// building on the one before: none is stored without its predecessors. Callers that share a token share
/// its failures; writers that do not know of each other need tokens of their own.
///
/// **Bounds.** The queue has no limit of its own, because it holds nothing that its callers do not hold anyway: an entry in it
/// belongs to a caller that waits, and leaves the queue when the caller goes. Callers bound themselves (an
/// entity has at most 256 events under way). A commit is bounded by the settings.
///
/// **Owner.** One task does the commits. It ends when the last handle is dropped, or by [`GroupCommit::shutdown`],
/// which waits for it. A clone is another handle.
///
/// # Cancel safety
/// When the future of a [`Journal::write`] is dropped, its entries may be stored or not: what still waits in the queue is
/// taken out, what is on its way to the backend goes on.
#[derive(Clone)]
pub struct GroupCommit {
    handle: Arc<Handle>,
}

struct Handle {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
    /// Errs when the task has ended.
    ended: watch::Receiver<()>,
}

/// How large a commit may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommitSettings {
    /// The most entries in one commit; default 1,024. One call's list goes whole, also when it has more.
    pub max_entries: usize,
    /// The most bytes in one commit ([`Write::size`]); default 4 MiB. One call's list goes whole, also when it has more.
    pub max_bytes: usize,
}

impl Default for GroupCommitSettings {
    fn default() -> Self {
        Self { max_entries: 1024, max_bytes: 4 * 1024 * 1024 }
    }
}

impl GroupCommit {
    /// Group commit in front of `inner`; starts its task on the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(inner: Arc<dyn Journal>, settings: GroupCommitSettings) -> Self {
        let queue = Arc::new(Queue::default());
        let backend = Arc::new(Backend { inner, metrics: JournalMetrics::new(), settings });
        let (ends, ended) = watch::channel(());
        let committer = Committer::new(Arc::clone(&backend), Arc::clone(&queue));
        tokio::spawn(async move {
            committer.run().await;
            drop(ends);
        });
        Self { handle: Arc::new(Handle { backend, queue, ended }) }
    }

    /// Commits in the caller's task, as long as the backend answers at once: its own list, then what came meanwhile. What is not
    /// answered at once goes to the committer.
    fn lead(&self, lead: Lead<'_>, writes: Vec<Write>) -> Result<Answers, oneshot::Receiver<Answers>> {
        let Handle { backend, queue, .. } = &*self.handle;
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

    /// Refuses further writes, commits those that wait, and returns when all are answered. Reads go on.
    pub async fn shutdown(&self) {
        self.handle.queue.close();
        let mut ended = self.handle.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupCommit").field(&self.handle.backend.inner).finish()
    }
}

#[async_trait]
impl Journal for GroupCommit {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let entries = writes.len();
        let queue = &self.handle.queue;
        let error = match queue.enter(writes) {
            Ok(Entry::Lead(lead, writes)) => match self.lead(lead, writes) {
                Ok(answers) => return answers,
                Err(answer) => match answer.await {
                    Ok(answers) => return answers,
                    Err(_) => ended(),
                },
            },
            Ok(Entry::Wait(ticket)) => match ticket.answer().await {
                Some(answers) => return answers,
                None => ended(),
            },
            Err(queue::Closed) => JournalError::Unavailable {
                reason: "group commit was shut down: open the journal anew".into(),
                source: None,
            },
        };
        vec![Err(error); entries]
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let replayed = self.handle.backend.metrics.replayed_events.clone();
        let items = self.handle.backend.inner.replay(range);
        items
            .inspect(move |item| {
                if let Ok(Replayed::Event(_)) = item {
                    replayed.increment(1);
                }
            })
            .boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.handle.backend.inner.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.handle.backend.inner.delete_to(id, to).await?;
        self.handle.backend.metrics.deletions.increment(1);
        Ok(())
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.handle.backend.inner.replace(old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.handle.backend.inner.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.handle.backend.inner.events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.handle.backend.inner.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.handle.backend.inner.limits()
    }
}

/// The runtime went away under the committer.
fn ended() -> JournalError {
    JournalError::Unknown { reason: "group commit ended before it answered".into(), source: None }
}

/// Commits of others that a caller makes at most after its own.
const COMBINED: usize = 8;
