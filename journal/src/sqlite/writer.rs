use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::connection::{open_writer, run};
use super::failure::{Failure, unavailable};
use crate::JournalError;

/// What the writer thread is asked to do.
pub(super) enum Message {
    Job(Box<dyn Job>),
    /// Finish what is queued, close the connection, then say so.
    Close(oneshot::Sender<()>),
}

/// A piece of a transaction, with someone who waits for its answer.
pub(super) trait Job: Send {
    /// Runs the statements. What an `Err` did is undone by the caller.
    fn run(&mut self, conn: &Connection) -> Result<(), Failure>;
    /// Gives the answer, once it is known how the transaction ended.
    fn answer(self: Box<Self>, committed: Result<(), JournalError>);
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
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, conn: &Connection) -> Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match catch_unwind(AssertUnwindSafe(|| work(conn))) {
            Ok(Ok(done)) => {
                self.done = Some(done);
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::of_statement(error)),
            Err(_) => Err(Failure {
                answer: unavailable(
                    "a job of the SQLite writer panicked, nothing of it was stored; report this bug",
                ),
                io: false,
            }),
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), JournalError>) {
        let Self { done, reply, .. } = *self;
        // Whoever asked may have gone; that is theirs to decide.
        let _ = reply.send(committed.and_then(|()| done.ok_or_else(|| unavailable("the job was not run"))));
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The thread that owns the connection that writes.
pub(super) struct Writer {
    path: PathBuf,
    options: Options,
    jobs: mpsc::Receiver<Message>,
    connection: State,
}

enum State {
    Healthy(Connection),
    /// The file system failed. The old connection stays open until a new one is: while any connection is open, the index of the
    /// write-ahead log lives on in shared memory, and it does not know the frames whose fsync failed. If it had to be rebuilt
    /// from the log, it would find them there, count them as committed, and copy pages into the file
    /// that the log on disk may not have.
    Broken(Connection),
    Closed,
}

impl Writer {
    /// Opens the connection and starts the thread.
    pub(super) fn start(
        path: PathBuf,
        options: Options,
        jobs: mpsc::Receiver<Message>,
    ) -> rusqlite::Result<()> {
        let connection = State::Healthy(open_writer(&path, &options)?);
        let mut writer = Self { path, options, jobs, connection };
        std::thread::Builder::new()
            .name("annals-sqlite".into())
            .spawn(move || writer.run())
            .map(drop)
            .map_err(|error| {
                rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM),
                    Some(format!("the operating system gives no thread: {error}")),
                )
            })
    }

    fn run(&mut self) {
        let mut closers = Vec::new();
        while let Some(message) = self.jobs.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(message);
            // Everything that was queued while the last transaction committed is the next transaction.
            while let Some(message) = next {
                match message {
                    Message::Job(job) if !job.is_abandoned() => batch.push(job),
                    Message::Job(_) => {}
                    Message::Close(closed) => {
                        self.jobs.close();
                        closers.push(closed);
                    }
                }
                next = if batch.len() < MAX_JOBS_A_COMMIT { self.jobs.try_recv().ok() } else { None };
            }
            if !batch.is_empty() {
                self.commit(batch);
            }
        }
        self.connection = State::Closed;
        for closed in closers {
            let _ = closed.send(());
        }
    }

    /// Runs the jobs in one transaction and answers them.
    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let mut refused: Vec<Option<JournalError>> = vec![None; batch.len()];
        let committed = match self.healthy() {
            Ok(conn) => {
                let mut io = false;
                let ended = transaction(conn, &mut batch, &mut refused, &mut io);
                if io || ended.as_ref().is_err_and(|failure| failure.io) {
                    self.break_down();
                }
                ended.map_err(|failure| failure.answer)
            }
            Err(error) => Err(error),
        };
        for (job, refused) in batch.into_iter().zip(refused) {
            job.answer(match refused {
                Some(error) => Err(error),
                None => committed.clone(),
            });
        }
        self.checkpoint_if_due();
    }

    fn healthy(&mut self) -> Result<&Connection, JournalError> {
        if let State::Broken(_) = self.connection {
            self.recover()?;
        }
        match &self.connection {
            State::Healthy(conn) => Ok(conn),
            State::Broken(_) | State::Closed => Err(unavailable("the SQLite connection is closed")),
        }
    }

    fn break_down(&mut self) {
        if let State::Healthy(conn) = std::mem::replace(&mut self.connection, State::Closed) {
            tracing::error!(path = %self.path.display(), "the file system failed; the database is reopened and checked");
            self.connection = State::Broken(conn);
        }
    }

    /// Closes the connection after a file system error, opens a new one, copies what is committed from the write-ahead log
    /// into the file, starts the log anew, and checks the file.
    ///
    /// After a failed fsync the operating system may have dropped what it could not write and call the next fsync
    /// a success. So nothing rests on the bytes that were being written: the copying writes every page of the log into the file
    /// again and fsyncs that, and the log starts from nothing.
    fn recover(&mut self) -> Result<(), JournalError> {
        let failed = |error: rusqlite::Error| {
            tracing::warn!(path = %self.path.display(), %error, "the database cannot be recovered yet");
            let cause = Failure::of_statement(error).answer;
            match cause {
                JournalError::Unavailable { reason, source } => JournalError::Unavailable {
                    reason: format!("recovering from a file system error: {reason}"),
                    source,
                },
                other => other,
            }
        };
        let conn = open_writer(&self.path, &self.options).map_err(failed)?;
        self.connection = match std::mem::replace(&mut self.connection, State::Closed) {
            // The new connection has to read before the old one goes, else nobody keeps the index alive.
            State::Broken(old) => {
                let known =
                    conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0));
                match known {
                    Ok(_) => {
                        drop(old);
                        State::Broken(conn)
                    }
                    Err(error) => {
                        self.connection = State::Broken(old);
                        return Err(failed(error));
                    }
                }
            }
            other => other,
        };
        let State::Broken(conn) = &self.connection else { return Ok(()) };
        let busy: bool =
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0)).map_err(failed)?;
        if busy {
            return Err(unavailable(
                "recovering from a file system error: another process reads or writes the SQLite file; it goes on when \
                 that ends",
            ));
        }
        let verdict: String =
            conn.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            let reason =
                format!("the SQLite file is damaged after a file system error ({verdict}); restore a backup");
            return Err(JournalError::Corrupt { persistence_id: None, seq_nr: None, reason });
        }
        if let State::Broken(conn) = std::mem::replace(&mut self.connection, State::Closed) {
            tracing::info!(path = %self.path.display(), "the database was reopened and checked, and goes on");
            self.connection = State::Healthy(conn);
        }
        Ok(())
    }

    /// Copies the write-ahead log into the file when it has become long.
    fn checkpoint_if_due(&mut self) {
        let State::Healthy(conn) = &self.connection else { return };
        let due = || -> rusqlite::Result<()> {
            let pages = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)")?.pages;
            if pages < self.options.checkpoint_pages {
                return Ok(());
            }
            let left = checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
            if left.pages > self.options.checkpoint_pages.saturating_mul(PATIENCE) {
                // Readers kept the log from starting anew for long: wait for them, a moment.
                conn.busy_timeout(RESTART_WAIT)?;
                let restarted = checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)");
                conn.busy_timeout(self.options.busy_timeout)?;
                restarted?;
            }
            Ok(())
        };
        if let Err(error) = due() {
            let failure = Failure::of_statement(error);
            tracing::warn!(path = %self.path.display(), error = %failure.answer, "a checkpoint failed");
            if failure.io {
                self.break_down();
            }
        }
    }
}

/// `BEGIN`, the jobs, `COMMIT`. A job that fails is undone alone and noted in `refused`; an `Err` is for all the others.
fn transaction(
    conn: &Connection,
    batch: &mut [Box<dyn Job>],
    refused: &mut [Option<JournalError>],
    io: &mut bool,
) -> Result<(), Failure> {
    run(conn, "BEGIN IMMEDIATE").map_err(Failure::of_statement)?;
    let result =
        run_jobs(conn, batch, refused, io).and_then(|()| run(conn, "COMMIT").map_err(Failure::of_commit));
    if !conn.is_autocommit()
        && let Err(error) = run(conn, "ROLLBACK")
    {
        // A transaction that cannot be ended must not meet the next one.
        *io = true;
        tracing::error!(%error, "a transaction could not be undone");
    }
    result
}

fn run_jobs(
    conn: &Connection,
    batch: &mut [Box<dyn Job>],
    refused: &mut [Option<JournalError>],
    io: &mut bool,
) -> Result<(), Failure> {
    // A job that is alone is undone with its transaction.
    let isolated = batch.len() > 1;
    for (job, refused) in batch.iter_mut().zip(refused) {
        if isolated {
            run(conn, "SAVEPOINT job").map_err(Failure::of_statement)?;
        }
        let Err(failure) = job.run(conn) else {
            if isolated {
                run(conn, "RELEASE job").map_err(Failure::of_statement)?;
            }
            continue;
        };
        *io |= failure.io;
        // SQLite undoes the whole transaction after some errors (a full disk): then nobody's part of it is left.
        if conn.is_autocommit() {
            *refused = Some(failure.answer.clone());
            return Err(failure.aborted());
        }
        *refused = Some(failure.answer);
        if isolated {
            run(conn, "ROLLBACK TO job").map_err(Failure::of_statement)?;
            run(conn, "RELEASE job").map_err(Failure::of_statement)?;
        } else {
            run(conn, "ROLLBACK").map_err(Failure::of_statement)?;
            // Nothing is left to commit.
            return Err(failure_of_one(refused));
        }
    }
    Ok(())
}

/// The only job failed: what the transaction answers is not asked for.
fn failure_of_one(refused: &Option<JournalError>) -> Failure {
    let answer = refused.clone().unwrap_or_else(|| unavailable("the only job failed"));
    Failure { answer, io: false }
}

struct Checkpoint {
    /// Pages in the write-ahead log.
    pages: u32,
}

fn checkpoint(conn: &Connection, pragma: &str) -> rusqlite::Result<Checkpoint> {
    conn.prepare_cached(pragma)?
        .query_row((), |row| Ok(Checkpoint { pages: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(0) }))
}

const MAX_JOBS_A_COMMIT: usize = 512;
/// How many times its usual length the write-ahead log may reach before writers wait for readers.
const PATIENCE: u32 = 8;
const RESTART_WAIT: std::time::Duration = std::time::Duration::from_millis(100);
