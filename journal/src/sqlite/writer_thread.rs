use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::{mpsc, oneshot};

use super::commits::Commits;
use super::failure::unavailable;
use super::job::Job;
use super::readers::CLOSED;
use super::writer::Writer;
use crate::JournalError;
use crate::commit_path::CommitSource;

/// What the writer thread is asked to do.
pub(super) enum Message {
    Job(Box<dyn Job>),
    /// Look for [sources](Shared::begin), and whether a checkpoint is due.
    Look,
    /// Finish what is queued, close the connection, then say so.
    Close(oneshot::Sender<()>),
}

/// What the writer thread shares with callers.
pub(super) struct Shared {
    writer: Mutex<Writer>,
    /// The thread waits for the writer: callers leave it alone.
    wanted: AtomicBool,
    /// Those that want commits; `None`: the thread has ended.
    sources: Mutex<Option<Vec<Arc<dyn CommitSource>>>>,
}

/// The thread that writes for all, except for lone callers that do it themselves.
struct WriterThread {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Message>,
    closers: Vec<oneshot::Sender<()>>,
}

impl Shared {
    /// Starts the thread; it ends when the jobs do.
    pub(super) fn start(writer: Writer, jobs: mpsc::Receiver<Message>) -> rusqlite::Result<Arc<Self>> {
        let (writer, sources) = (Mutex::new(writer), Mutex::new(Some(Vec::new())));
        let shared = Arc::new(Self { writer, wanted: AtomicBool::new(false), sources });
        let mut thread = WriterThread { shared: Arc::clone(&shared), jobs, closers: Vec::new() };
        std::thread::Builder::new().name("annals-sqlite".into()).spawn(move || thread.run()).map_err(
            |error| {
                rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM),
                    Some(format!("the operating system gives no thread: {error}")),
                )
            },
        )?;
        Ok(shared)
    }

    /// The writer, when nobody uses or wants it, and a commit should be quick.
    pub(super) fn turn(&self) -> Option<MutexGuard<'_, Writer>> {
        if self.wanted.load(Ordering::Acquire) {
            return None;
        }
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        writer.is_quick().then_some(writer)
    }

    /// Has commits made of what a source has. The thread has to be woken then.
    pub(super) fn begin(&self, source: Arc<dyn CommitSource>) -> Result<(), JournalError> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.as_mut().ok_or_else(|| unavailable(CLOSED))?.push(source);
        Ok(())
    }

    /// The sources that were begun since they were last asked for. Callers that begin one do not wait for a commit.
    fn begun(&self) -> Vec<Arc<dyn CommitSource>> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.wanted.store(true, Ordering::Release);
        // A transaction that a panic left behind is undone by the next one.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(false, Ordering::Release);
        writer
    }
}

impl WriterThread {
    fn run(&mut self) {
        let mut batch: Vec<Box<dyn Job>> = Vec::new();
        loop {
            let mut next =
                if batch.is_empty() { self.jobs.blocking_recv() } else { self.jobs.try_recv().ok() };
            if batch.is_empty() && next.is_none() {
                return;
            }
            // Everything that was queued while the last transaction committed is the next transaction.
            while let Some(message) = next {
                match message {
                    Message::Job(job) => batch.push(job),
                    Message::Look => {}
                    Message::Close(closed) => {
                        self.jobs.close();
                        self.closers.push(closed);
                    }
                }
                next = if batch.len() < MAX_JOBS_A_COMMIT { self.jobs.try_recv().ok() } else { None };
            }
            let sources = self.shared.begun();
            batch.extend(sources.into_iter().map(|source| Box::new(Commits::of(source)) as Box<dyn Job>));
            if !self.closers.is_empty() {
                batch.iter().for_each(|job| job.close());
            }
            batch.retain(|job| !job.is_abandoned());
            let mut writer = self.shared.lock();
            if !batch.is_empty() {
                batch = writer.commit(std::mem::take(&mut batch));
            }
            writer.checkpoint_if_due();
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.shared.lock().close();
        let sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner).take();
        for source in sources.into_iter().flatten() {
            source.abandon(unavailable(CLOSED));
        }
        for closed in self.closers.drain(..) {
            let _ = closed.send(());
        }
    }
}

const MAX_JOBS_A_COMMIT: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Options;
    use super::*;
    use crate::encoded_write::EncodedWrite;
    use crate::{Head, JournalError};

    /// Its callers come again before they are answered.
    #[derive(Default)]
    struct Steady {
        closed: AtomicBool,
        begun: tokio::sync::Notify,
    }

    impl CommitSource for Steady {
        fn is_needed(&self) -> bool {
            !self.closed.load(Ordering::SeqCst)
        }

        fn take(&self) -> Vec<EncodedWrite> {
            self.begun.notify_one();
            Vec::new()
        }

        fn more(&self) -> Vec<EncodedWrite> {
            Vec::new()
        }

        fn conclude(&self, _answers: Result<Vec<Result<Head, JournalError>>, JournalError>) -> bool {
            self.is_needed()
        }

        fn close(&self) {
            self.closed.store(true, Ordering::SeqCst);
        }

        fn abandon(&self, _error: JournalError) {
            self.close();
        }
    }

    #[tokio::test]
    async fn closing_ends_a_source_that_always_has_something() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
        let (jobs, queue) = mpsc::channel(8);
        let shared = Shared::start(Writer::open(path, Options::default()).unwrap(), queue).unwrap();
        let source = Arc::new(Steady::default());
        shared.begin(Arc::clone(&source) as Arc<dyn CommitSource>).unwrap();
        jobs.send(Message::Look).await.ok().unwrap();
        source.begun.notified().await;
        let (closed, done) = oneshot::channel();
        jobs.send(Message::Close(closed)).await.ok().unwrap();
        tokio::time::timeout(Duration::from_secs(60), done).await.expect("it ends").unwrap();
        assert!(shared.begin(source).is_err());
    }
}
