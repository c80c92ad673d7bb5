use rusqlite::Connection;

use super::connection::run;
use super::failure::Failure;
use super::heads::Heads;
use super::job::Job;
use crate::JournalError;

/// Jobs that share a transaction.
pub(super) struct Batch {
    jobs: Vec<Box<dyn Job>>,
    /// The transaction has begun.
    begun: bool,
    /// Why a job alone is not stored.
    refused: Vec<Option<JournalError>>,
    /// The file system failed on the way.
    pub(super) io: bool,
}

impl Batch {
    pub(super) fn new(jobs: Vec<Box<dyn Job>>) -> Self {
        Self { begun: false, refused: vec![None; jobs.len()], jobs, io: false }
    }

    /// The same in a transaction that holds the write lock already.
    pub(super) fn begun(jobs: Vec<Box<dyn Job>>) -> Self {
        Self { begun: true, ..Self::new(jobs) }
    }

    /// `BEGIN`, the jobs, `COMMIT`. A job that fails is undone alone; an `Err` is for all the others.
    pub(super) fn run(&mut self, conn: &Connection, heads: &mut Heads) -> Result<(), JournalError> {
        let ended = self.transaction(conn, heads);
        if ended.is_err() || self.refused.iter().any(Option::is_some) {
            // Something was undone, and they do not know what.
            heads.forget();
        }
        self.io |= ended.as_ref().is_err_and(|failure| failure.io);
        if !conn.is_autocommit()
            && let Err(error) = run(conn, "ROLLBACK")
        {
            // A transaction that cannot be ended must not meet the next one.
            self.io = true;
            tracing::error!(%error, "a transaction could not be undone");
        }
        ended.map_err(|failure| failure.answer)
    }

    /// Answers each job: with what it was refused for, or with how the transaction ended. Those that come back go on.
    pub(super) fn answer(self, ended: Result<(), JournalError>) -> Vec<Box<dyn Job>> {
        let jobs = self.jobs.into_iter().zip(self.refused);
        jobs.filter_map(|(job, refused)| job.answer(refused.map_or_else(|| ended.clone(), Err))).collect()
    }

    fn transaction(&mut self, conn: &Connection, heads: &mut Heads) -> Result<(), Failure> {
        let statement = |sql| run(conn, sql).map_err(Failure::of_statement);
        if !self.begun {
            statement("BEGIN IMMEDIATE")?;
        }
        // A job that is alone is undone with its transaction.
        let isolated = self.jobs.len() > 1;
        for (job, refused) in self.jobs.iter_mut().zip(&mut self.refused) {
            if isolated {
                statement("SAVEPOINT job")?;
            }
            if let Err(failure) = job.run(conn, heads) {
                // The jobs behind it must not believe what is undone now.
                heads.forget();
                self.io |= failure.io;
                *refused = Some(failure.answer.clone());
                // SQLite undoes the whole transaction after some errors (a full disk): nobody's part of it is left.
                if !isolated || conn.is_autocommit() {
                    return Err(failure.aborted());
                }
                statement("ROLLBACK TO job")?;
            }
            if isolated {
                statement("RELEASE job")?;
            }
        }
        run(conn, "COMMIT").map_err(Failure::of_commit)
    }
}
