use std::fmt;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use crate::encoded_write::EncodedWrite;
use crate::{Head, JournalError, Write};

/// How [`GroupCommit`](crate::GroupCommit) commits into a backend of this crate; see [`Journal::commit_path`](crate::Journal::commit_path).
#[derive(Clone)]
pub struct CommitPath(pub(crate) Path);

#[derive(Clone)]
pub(crate) enum Path {
    AtOnce(Arc<dyn AtOnce>),
    #[cfg(feature = "sqlite")]
    Thread(Arc<dyn CommitThread>),
    /// Commits of different ids on their way at the same time, so many at most.
    #[cfg(any(feature = "postgres", feature = "cassandra"))]
    Lanes(u32),
}

type Answers = Vec<Result<Head, JournalError>>;

/// A backend that never waits, and takes the lists of many callers at a time: none has to wait for another's commit.
pub(crate) trait AtOnce: Send + Sync {
    /// [`Journal::write`](crate::Journal::write). Lists of one caller are in the order of its calls.
    fn write_now(&self, writes: Vec<Write>) -> Answers;
}

#[cfg(feature = "sqlite")]
/// A backend that commits in a thread of its own.
///
/// The thread asks for the entries of a commit when it can begin it, and gives the answers itself. So no task has to run
/// between two commits, and a commit has all that came before it began.
pub(crate) trait CommitThread: Send + Sync {
    /// Makes an entry ready; in the task of whoever writes.
    fn prepare(&self, write: Write) -> EncodedWrite;

    /// The right to commit in the thread that calls, when nobody else does or wants to, and when it should not take so long
    /// that the calling thread is missed. Does not wait.
    fn turn(&self) -> Option<Box<dyn Turn + '_>>;

    /// Has commits made until the source has nothing left.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: the thread has ended; the source is not asked.
    fn begin(&self, source: Arc<dyn CommitSource>) -> Result<(), JournalError>;
}

#[cfg(feature = "sqlite")]
/// See [`CommitThread::turn`].
pub(crate) trait Turn {
    /// Commits entries, and waits for the disk, but not for a lock that another process holds.
    fn commit(self: Box<Self>, writes: Vec<EncodedWrite>) -> Result<Result<Answers, JournalError>, Locked>;
}

#[cfg(feature = "sqlite")]
/// Entries of which nothing was done: the thread may wait for what is in the way, and says what it is when that lasts.
pub(crate) struct Locked(pub(crate) Vec<EncodedWrite>);

#[cfg(feature = "sqlite")]
/// Where a [`CommitThread`] finds what it is to commit.
///
/// ```text
/// is_needed ── true ──▶ take ─▶ more ─▶ … ─▶ more: nothing ─▶ conclude ── true ──▶ is_needed
///      └─ false ─▶ the end, until it is begun again ◀─ false ─┘
/// ```
pub(crate) trait CommitSource: Send + Sync {
    /// Whether something waits; `false` is the end.
    fn is_needed(&self) -> bool;

    /// The first entries of a commit.
    fn take(&self) -> Vec<EncodedWrite>;

    /// More entries for the same commit, after those before were written; waits for some when that makes the commits more
    /// than it costs. Nothing: the commit is to end.
    fn more(&self) -> Vec<EncodedWrite>;

    /// The answers to all entries of the commit, or the one of all; says whether something waits, `false` is the end.
    fn conclude(&self, answers: Result<Answers, JournalError>) -> bool;

    /// The thread is to end: what waits is committed still, and nothing is taken any more.
    fn close(&self);

    /// The end: what is on its way and what waits is answered with an error.
    fn abandon(&self, error: JournalError);
}

impl fmt::Debug for CommitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.0 {
            Path::AtOnce(_) => "AtOnce",
            #[cfg(feature = "sqlite")]
            Path::Thread(_) => "Thread",
            #[cfg(any(feature = "postgres", feature = "cassandra"))]
            Path::Lanes(_) => "Lanes",
        };
        f.debug_tuple("CommitPath").field(&path).finish()
    }
}
