use std::fmt;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

/// Tells readers in this process that events were appended, so that they need not look all the time.
///
/// A hint and no more: a reader looks from time to time all the same, because others may write who do not give it. A backend gives it
/// after each commit with events in it, and hands it out by [`Journal::commits`](crate::Journal::commits). Giving one that nobody
/// listens to costs a load of an atomic number.
///
/// ```
/// # futures::executor::block_on(async {
/// use annals_journal::CommitSignal;
///
/// let commits = CommitSignal::default();
/// let mut listener = commits.listen();
/// commits.give();
/// listener.heard().await;
/// # });
/// ```
#[derive(Clone, Default)]
pub struct CommitSignal {
    commits: Arc<watch::Sender<()>>,
}

/// Hears of the commits of a journal.
pub struct CommitListener {
    commits: watch::Receiver<()>,
}

impl CommitSignal {
    /// Wakes those who listen.
    pub fn give(&self) {
        if self.commits.receiver_count() > 0 {
            self.commits.send_replace(());
        }
    }

    /// Hears of each commit from now on.
    pub fn listen(&self) -> CommitListener {
        CommitListener { commits: self.commits.subscribe() }
    }
}

impl CommitListener {
    /// Waits for a commit since the last call, or since it listens; many of them count as one. For ever, when the journal is gone.
    ///
    /// # Cancel safety
    /// A commit is not missed when the future is dropped.
    pub async fn heard(&mut self) {
        if self.commits.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

impl fmt::Debug for CommitSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitSignal").field("listeners", &self.commits.receiver_count()).finish()
    }
}

impl fmt::Debug for CommitListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitListener").finish_non_exhaustive()
    }
}
