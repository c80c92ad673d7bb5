//! Group commit without a timer.
//!
//! ```text
//! callers   ──┬─ write ──────────→ commit 1: on its way to the backend
//!             ├─ write ─→ queue ─┐
//!             └─ write ─→ queue ─┴→ commit 2: what came meanwhile; goes when commit 1 is answered
//! ```
//! An idle journal commits at once, a busy one batches by itself. On a slow disk the next commit waits for the callers of the last
//! one to write again, until most have or a fifth of the time is over that the last one took: else they fall into two halves, of
//! which one always waits for the other's commit.
//!
//! Who commits depends on the backend ([`CommitPath`]): a task of ours and callers ([`ByTask`], for any backend), the backend's own
//! thread and lone callers ([`ByThread`], SQLite), each caller ([`ByCaller`], the memory), or several tasks, each for its part of the
//! ids ([`ByLanes`], PostgreSQL).

mod by_caller;
#[cfg(any(feature = "postgres", feature = "cassandra"))]
mod by_lanes;
mod by_task;
#[cfg(feature = "sqlite")]
mod by_thread;
mod commit;
mod committer;
mod crowd;
mod queue;
mod sent;
mod waiting;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};

use self::by_caller::ByCaller;
#[cfg(any(feature = "postgres", feature = "cassandra"))]
use self::by_lanes::ByLanes;
use self::by_task::ByTask;
#[cfg(feature = "sqlite")]
use self::by_thread::ByThread;
use self::commit::Backend;
use crate::commit_path::{CommitPath, Path};
use crate::telemetry::JournalMetrics;
use crate::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

/// A journal around a journal that turns the writes of many callers into few commits, and records the journal's
/// [metrics](crate::telemetry).
///
/// What arrives while a commit is on its way forms the next one. Writes of one id are committed in the order in which the futures
/// of [`Journal::write`] are first polled; one call's list is never divided over two commits, unless the backend makes several at a time and the
/// list has ids of more than one. Reads and deletions pass through.
///
/// An id that most of the waiting entries are of has no more of them in a commit than all others together, or 64: who has one
/// command in flight does not wait for hundreds of a busy one.
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
/// **Owner.** SQLite commits in its own thread; a caller that is alone commits in its own instead, where the runtime has another
/// worker and commits are short (under 0.4 ms of late). A journal in memory is written by each caller. For any other journal
/// one task does the commits (PostgreSQL: one a connection, each for its part of the ids); it ends when the last handle is dropped, or by [`GroupCommit::shutdown`], which waits for it. A clone is
/// another handle.
///
/// # Cancel safety
/// When the future of a [`Journal::write`] is dropped, its entries may be stored or not: what still waits in the queue is
/// taken out, what is on its way to the backend goes on.
#[derive(Clone)]
pub struct GroupCommit {
    handle: Arc<Handle>,
}

struct Handle {
    inner: Arc<dyn Journal>,
    metrics: Arc<JournalMetrics>,
    way: Way,
}

/// Who commits.
enum Way {
    Caller(ByCaller),
    #[cfg(feature = "sqlite")]
    Thread(Arc<ByThread>),
    #[cfg(any(feature = "postgres", feature = "cassandra"))]
    Lanes(ByLanes),
    Task(ByTask),
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
        let metrics = Arc::new(JournalMetrics::new());
        let way = match inner.commit_path() {
            Some(CommitPath(Path::AtOnce(store))) => Way::Caller(ByCaller::new(store, Arc::clone(&metrics))),
            #[cfg(feature = "sqlite")]
            Some(CommitPath(Path::Thread(thread))) => {
                Way::Thread(Arc::new(ByThread::new(thread, Arc::clone(&metrics), settings)))
            }
            #[cfg(any(feature = "postgres", feature = "cassandra"))]
            Some(CommitPath(Path::Lanes(lanes))) => {
                let lane = |_| {
                    let (inner, metrics) = (Arc::clone(&inner), Arc::clone(&metrics));
                    ByTask::new(Backend { inner, metrics, settings })
                };
                Way::Lanes(ByLanes::new(lanes, lane))
            }
            None => {
                let (inner, metrics) = (Arc::clone(&inner), Arc::clone(&metrics));
                Way::Task(ByTask::new(Backend { inner, metrics, settings }))
            }
        };
        Self { handle: Arc::new(Handle { inner, metrics, way }) }
    }

    /// Refuses further writes, commits those that wait, and returns when all are answered. Reads go on.
    pub async fn shutdown(&self) {
        match &self.handle.way {
            Way::Caller(commits) => commits.shut_down(),
            #[cfg(feature = "sqlite")]
            Way::Thread(commits) => commits.shutdown().await,
            #[cfg(any(feature = "postgres", feature = "cassandra"))]
            Way::Lanes(commits) => commits.shutdown().await,
            Way::Task(commits) => commits.shutdown().await,
        }
    }
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupCommit").field(&self.handle.inner).finish()
    }
}

#[async_trait]
impl Journal for GroupCommit {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        match &self.handle.way {
            Way::Caller(commits) => commits.write(writes),
            #[cfg(feature = "sqlite")]
            Way::Thread(commits) => commits.write(writes).await,
            #[cfg(any(feature = "postgres", feature = "cassandra"))]
            Way::Lanes(commits) => commits.write(writes).await,
            Way::Task(commits) => commits.write(writes).await,
        }
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let replayed = self.handle.metrics.replayed_events.clone();
        let items = self.handle.inner.replay(range);
        items
            .inspect(move |item| {
                if let Ok(Replayed::Event(_)) = item {
                    replayed.increment(1);
                }
            })
            .boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        self.handle.inner.head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.handle.inner.delete_to(id, to).await?;
        self.handle.metrics.deletions.increment(1);
        Ok(())
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.handle.inner.replace(old, new).await
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        self.handle.inner.replace_all(replacements).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.handle.inner.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.handle.inner.events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.handle.inner.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.handle.inner.limits()
    }

    fn commits(&self) -> Option<CommitListener> {
        self.handle.inner.commits()
    }
}

/// Nothing is taken any more.
#[derive(Debug)]
struct Closed;

impl From<Closed> for JournalError {
    fn from(Closed: Closed) -> Self {
        let reason = "group commit was shut down: open the journal anew".into();
        Self::Unavailable { reason, source: None }
    }
}

/// The runtime went away under the committer.
fn ended() -> JournalError {
    JournalError::Unknown { reason: "group commit ended before it answered".into(), source: None }
}
