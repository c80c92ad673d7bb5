use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::SqliteJournal;
use super::database::Writing;
use super::failure::{Failure, unavailable};
use super::heads::Heads;
use super::job::{Job, Task, panicked};
use super::write::write;
use super::writer::Writer;
use super::writer_thread::Message;
use crate::commit_path::{CommitSource, CommitThread, Locked, Turn};
use crate::encoded_write::EncodedWrite;
use crate::{Head, JournalError, NotStored, Write};

type Answers = Vec<Result<Head, JournalError>>;

/// The commits of a source, one in each transaction.
pub(super) struct Commits {
    /// `None` once it was answered.
    source: Option<Arc<dyn CommitSource>>,
    answers: Answers,
}

impl Commits {
    pub(super) fn of(source: Arc<dyn CommitSource>) -> Self {
        Self { source: Some(source), answers: Vec::new() }
    }

    fn write(&mut self, conn: &Connection, heads: &mut Heads) -> rusqlite::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let mut not_stored = NotStored::new();
        let mut writes = source.take();
        while !writes.is_empty() {
            self.answers.extend(write(conn, heads, &writes, &mut not_stored)?);
            writes = source.more();
        }
        Ok(())
    }
}

impl Job for Commits {
    fn run(&mut self, conn: &Connection, heads: &mut Heads) -> Result<(), Failure> {
        match catch_unwind(AssertUnwindSafe(|| self.write(conn, heads))) {
            Ok(written) => written.map_err(Failure::of_statement),
            Err(_) => Err(panicked()),
        }
    }

    fn answer(mut self: Box<Self>, committed: Result<(), JournalError>) -> Option<Box<dyn Job>> {
        let source = self.source.take()?;
        let answers = std::mem::take(&mut self.answers);
        let waits = source.conclude(committed.map(|()| answers));
        waits.then(|| Box::new(Self::of(source)) as Box<dyn Job>)
    }

    fn close(&self) {
        if let Some(source) = &self.source {
            source.close();
        }
    }

    fn is_abandoned(&self) -> bool {
        self.source.as_ref().is_none_or(|source| !source.is_needed())
    }
}

impl Drop for Commits {
    /// The thread goes away under it.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(source) = self.source.take()
        {
            let reason = "the SQLite writer thread ended".into();
            source.abandon(JournalError::Unknown { reason, source: None });
        }
    }
}

impl CommitThread for Writing {
    fn prepare(&self, write: Write) -> EncodedWrite {
        EncodedWrite::new(write, SqliteJournal::LIMITS)
    }

    fn turn(&self) -> Option<Box<dyn Turn + '_>> {
        let writer = self.writer.turn()?;
        Some(Box::new(Here { writer, thread: &self.jobs }))
    }

    fn begin(&self, source: Arc<dyn CommitSource>) -> Result<(), JournalError> {
        self.writer.begin(source)?;
        // With a full queue the thread is awake, and looks before it sleeps.
        let _ = self.jobs.try_send(Message::Look);
        Ok(())
    }
}

/// The writer in a caller's thread.
struct Here<'a> {
    writer: MutexGuard<'a, Writer>,
    thread: &'a mpsc::Sender<Message>,
}

impl Turn for Here<'_> {
    fn commit(
        mut self: Box<Self>,
        writes: Vec<EncodedWrite>,
    ) -> Result<Result<Answers, JournalError>, Locked> {
        let (reply, mut answer) = oneshot::channel();
        let mut left = Some(writes);
        let job = || {
            let writes = left.take().unwrap_or_default();
            let work = move |conn: &Connection, heads: &mut Heads| {
                write(conn, heads, &writes, &mut NotStored::new())
            };
            Box::new(Task { work: Some(work), done: None, reply }) as Box<dyn Job>
        };
        if !self.writer.commit_now(job) {
            return Err(Locked(left.unwrap_or_default()));
        }
        let due = self.writer.is_checkpoint_due();
        drop(self.writer);
        if due {
            // Too long for this thread. With a full queue the other one is awake, and looks.
            let _ = self.thread.try_send(Message::Look);
        }
        Ok(answer.try_recv().unwrap_or_else(|_| Err(unavailable("the job was not answered"))))
    }
}
