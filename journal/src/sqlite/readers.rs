use std::collections::VecDeque;
use std::fmt;
use std::mem::take;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::Options;
use super::connection::{Closing, open_reader, run};
use super::failure::{read_failure, unavailable};
use super::reading::{Reading, Task, answer};
use crate::JournalError;

/// A few connections that read, each used by one blocking thread at a time.
///
/// ```text
/// read ──▶ queue ──▶ a blocking thread ── BEGIN · job · job · job · COMMIT · BEGIN · … until nothing waits
/// scan ──────────▶ a blocking thread of its own
/// ```
/// All that waits when a transaction begins shares it, because a beginning is dear: it costs system calls, and after a commit of
/// another connection it empties the page cache. One thread reads as long as nobody waits long; then more help, up to half the
/// cores while reads are quick, because the others work on what is read; and more than that when all threads are held up, for the
/// sake of disks that are slow to answer one and quick to answer many.
pub(super) struct Readers {
    path: PathBuf,
    options: Options,
    closing: Closing,
    /// The most threads while reads are quick.
    while_quick: usize,
    queue: Mutex<Queue>,
    scans: Arc<Semaphore>,
    /// Told when the last thread has ended.
    no_threads: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Number of the job that came last.
    last: u64,
    /// Threads that work for the queue, or are about to.
    threads: usize,
    /// When a thread last took a job.
    moved: Option<Instant>,
    idle: Vec<Connection>,
    closed: bool,
}

struct Waiting {
    number: u64,
    since: Instant,
    job: Box<dyn Reading>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: Options, closing: Closing) -> Self {
        let scans = Arc::new(Semaphore::new(options.readers.max(1)));
        let cores = available_parallelism().map_or(1, NonZero::get);
        let while_quick = (cores / 2).clamp(1, options.readers.max(1));
        let queue = Mutex::default();
        Self { path, options, closing, while_quick, queue, scans, no_threads: Notify::new() }
    }

    /// Has a short job run in a read transaction that begins from now on: all its statements see one state of the file. It is on its way
    /// when this returns; the receiver errs when the runtime goes away.
    pub(super) fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, JournalError>> {
        let (reply, receiver) = oneshot::channel();
        let job = Box::new(Task { work, reply });
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            job.fail(unavailable(CLOSED));
            return receiver;
        }
        queue.last += 1;
        let (number, since) = (queue.last, Instant::now());
        queue.waiting.push_back(Waiting { number, since, job });
        let held_up = queue.is_held_up(since);
        self.start_thread_if_due(queue, since, held_up);
        receiver
    }

    /// The same for a job that may take long, on a thread of its own.
    pub(super) async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let permit = Arc::clone(&self.scans).acquire_owned().await.map_err(|_| unavailable(CLOSED))?;
        let readers = Arc::clone(self);
        let scanning = spawn_blocking(move || {
            let result = readers.scan_blocking(work);
            drop(permit);
            result
        });
        scanning.await.unwrap_or_else(|_| Err(stopped()))
    }

    pub(super) fn closing(&self) -> Closing {
        self.closing
    }

    /// No further reads; waits for those that are under way, and closes the connections that are not in use.
    pub(super) async fn close(&self) {
        self.scans.close();
        let (waiting, idle) = {
            let mut queue = self.queue();
            queue.closed = true;
            (take(&mut queue.waiting), take(&mut queue.idle))
        };
        drop(idle);
        for Waiting { job, .. } in waiting {
            job.fail(unavailable(CLOSED));
        }
        loop {
            let ended = self.no_threads.notified();
            if self.queue().threads == 0 {
                return;
            }
            ended.await;
        }
    }

    /// A thread works for the queue no longer.
    fn ended(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.threads -= 1;
        let none_left = queue.threads == 0;
        drop(queue);
        if none_left {
            self.no_threads.notify_waiters();
        }
    }

    fn scan_blocking<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let conn = self.begin()?;
        let answer = answer(work, &conn);
        if answer.is_ok() && run(&conn, "COMMIT").is_ok() {
            self.queue().give_back(conn);
        }
        answer
    }

    /// A connection that has begun a transaction.
    fn begin(&self) -> Result<Connection, JournalError> {
        let idle = self.queue().idle.pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_reader(&self.path, &self.options, self.closing).map_err(read_failure)?,
        };
        run(&conn, "BEGIN DEFERRED").map_err(read_failure)?;
        Ok(conn)
    }

    fn start_thread_if_due(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, now: Instant, held_up: bool) {
        let Some(oldest) = queue.waiting.front() else { return };
        let most = if held_up { self.options.readers } else { self.while_quick };
        let helps = || queue.threads < most && now.duration_since(oldest.since) > LONG;
        if queue.threads == 0 || helps() {
            queue.threads += 1;
            drop(queue);
            let thread = Thread { readers: Arc::clone(self), ended: false };
            spawn_blocking(move || thread.run());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Whole at every point where its holder could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether each thread has been at one job for long.
    fn is_held_up(&self, now: Instant) -> bool {
        self.moved.is_some_and(|moved| now.duration_since(moved) > LONG)
    }

    fn give_back(&mut self, conn: Connection) {
        if !self.closed {
            self.idle.push(conn);
        }
    }
}

/// A thread that works for the queue.
struct Thread {
    readers: Arc<Readers>,
    ended: bool,
}

impl Thread {
    /// One transaction after the other, until nothing waits.
    fn run(mut self) {
        while let Some(last) = self.newest() {
            match self.readers.begin() {
                Ok(conn) => self.transaction(conn, last),
                Err(error) => {
                    if let Some(job) = self.next(last) {
                        job.fail(error);
                    }
                }
            }
        }
    }

    /// The number of the newest job that waits: a transaction that begins now sees all that this one and those before may see. `None`:
    /// nothing waits, the thread has ended.
    fn newest(&mut self) -> Option<u64> {
        let queue = self.readers.queue();
        let newest = queue.waiting.back().map(|waiting| waiting.number);
        if newest.is_none() {
            self.ended = true;
            self.readers.ended(queue);
        }
        newest
    }

    /// Runs what came up to this number.
    fn transaction(&self, conn: Connection, last: u64) {
        for _ in 0..JOBS_A_TRANSACTION {
            let Some(job) = self.next(last) else { break };
            if job.run(&conn).is_err() {
                return;
            }
        }
        if run(&conn, "COMMIT").is_ok() {
            self.readers.queue().give_back(conn);
        }
    }

    fn next(&self, last: u64) -> Option<Box<dyn Reading>> {
        loop {
            let mut queue = self.readers.queue();
            let Waiting { job, since, .. } = queue.waiting.pop_front_if(|waiting| waiting.number <= last)?;
            let now = Instant::now();
            let held_up = queue.is_held_up(now);
            queue.moved = Some(now);
            if now.duration_since(since) > LONG {
                self.readers.start_thread_if_due(queue, now, held_up);
            } else {
                drop(queue);
            }
            if !job.is_abandoned() {
                return Some(job);
            }
        }
    }
}

impl Drop for Thread {
    /// Also of a thread that a stopping runtime does not start: then nobody is left to answer those who wait.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = self.readers.queue();
        let left = if queue.threads == 1 { take(&mut queue.waiting) } else { VecDeque::new() };
        self.readers.ended(queue);
        drop(left);
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whoever waited for an answer learns that none comes.
pub(super) fn stopped() -> JournalError {
    unavailable("the runtime shut down while the journal was read")
}

pub(super) const CLOSED: &str = "the SQLite database was closed; open it again";
/// While a transaction is open the write-ahead log cannot start anew.
const JOBS_A_TRANSACTION: usize = 256;
/// Who waits longer has another thread help.
const LONG: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests;
