use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::{Failure, unavailable};
use super::heads::Heads;
use crate::JournalError;

/// A piece of a transaction, with someone who waits for its answer.
pub(super) trait Job: Send {
    /// Runs the statements. What an `Err` did is undone by the caller.
    fn run(&mut self, conn: &Connection, heads: &mut Heads) -> Result<(), Failure>;
    /// Gives the answer, once it is known how the transaction ended. What comes back has something for the next transaction.
    fn answer(self: Box<Self>, committed: Result<(), JournalError>) -> Option<Box<dyn Job>>;
    /// The thread is to end: what comes back has no more than what waits now.
    fn close(&self) {}
    /// Nobody waits any more.
    fn is_abandoned(&self) -> bool;
}

/// A closure as a job.
pub(super) struct Task<T, F> {
    pub(super) work: Option<F>,
    pub(super) done: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection, &mut Heads) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, conn: &Connection, heads: &mut Heads) -> Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match catch_unwind(AssertUnwindSafe(|| work(conn, heads))) {
            Ok(Ok(done)) => {
                self.done = Some(done);
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::of_statement(error)),
            Err(_) => Err(panicked()),
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), JournalError>) -> Option<Box<dyn Job>> {
        let Self { done, reply, .. } = *self;
        // Whoever asked may have gone; that is theirs to decide.
        let _ = reply.send(committed.and_then(|()| done.ok_or_else(|| unavailable("the job was not run"))));
        None
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

pub(super) fn panicked() -> Failure {
    let answer =
        unavailable("a job of the SQLite writer panicked, nothing of it was stored; report this bug");
    Failure { answer, io: false }
}
