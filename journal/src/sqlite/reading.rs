use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::{read_failure, unavailable};
use crate::JournalError;

/// A job that reads, with someone who waits for its answer.
pub(super) trait Reading: Send {
    /// Runs the statements in a transaction that has begun, and answers.
    fn run(self: Box<Self>, conn: &Connection) -> Result<(), Unusable>;
    /// Answers without having run.
    fn fail(self: Box<Self>, error: JournalError);
    /// Nobody waits any more.
    fn is_abandoned(&self) -> bool;
}

/// After an error a connection may be in any state: it is closed rather than used again.
#[derive(Debug)]
pub(super) struct Unusable;

/// A closure as a job.
pub(super) struct Task<T, F> {
    pub(super) work: F,
    pub(super) reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T, F> Reading for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(self: Box<Self>, conn: &Connection) -> Result<(), Unusable> {
        let Self { work, reply } = *self;
        let answer = answer(work, conn);
        let usable = answer.as_ref().map(drop).map_err(|_| Unusable);
        // Whoever asked may have gone.
        let _ = reply.send(answer);
        usable
    }

    fn fail(self: Box<Self>, error: JournalError) {
        let _ = self.reply.send(Err(error));
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What a job makes of the file; a panic is an error.
pub(super) fn answer<T>(
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    conn: &Connection,
) -> Result<T, JournalError> {
    match catch_unwind(AssertUnwindSafe(|| work(conn))) {
        Ok(answer) => answer.map_err(read_failure),
        Err(_) => Err(unavailable("a read of the SQLite file panicked; this is a bug: report it")),
    }
}
