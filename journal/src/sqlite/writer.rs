use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Options;
use super::batch::Batch;
use super::connection::{open_writer, run};
use super::failure::{Failure, unavailable};
use super::heads::Heads;
use super::job::Job;
use super::pace::Pace;
use crate::{CommitSignal, JournalError};

/// The connection that writes, and what it takes to keep it going. Used by one thread at a time.
pub(super) struct Writer {
    path: PathBuf,
    options: Options,
    connection: State,
    pace: Pace,
    /// Given after each commit with events in it.
    commits: CommitSignal,
}

enum State {
    Healthy(Connection, Heads),
    /// The file system failed. The old connection stays open until a new one is: while any connection is open, the index of the
    /// write-ahead log lives on in shared memory, and it does not know the frames whose fsync failed. If it had to be rebuilt
    /// from the log, it would find them there, count them as committed, and copy pages into the file
    /// that the log on disk may not have.
    Broken(Connection),
    Closed,
}

impl Writer {
    pub(super) fn open(path: PathBuf, options: Options) -> rusqlite::Result<Self> {
        let connection = State::Healthy(open_writer(&path, &options)?, Heads::default());
        Ok(Self { path, options, connection, pace: Pace::default(), commits: CommitSignal::default() })
    }

    /// Runs the jobs in one transaction and answers them. Those that come back have something for the next one.
    pub(super) fn commit(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        self.run(Instant::now(), Batch::new(jobs))
    }

    /// The same for one job, in a thread that must not wait for a lock. `false`: another connection holds it, or something is wrong
    /// that the next [`commit`](Self::commit) meets.
    pub(super) fn commit_now(&mut self, job: impl FnOnce() -> Box<dyn Job>) -> bool {
        let began = Instant::now();
        let State::Healthy(conn, _) = &self.connection else { return false };
        let begun = conn.busy_timeout(Duration::ZERO).and_then(|()| run(conn, "BEGIN IMMEDIATE"));
        let begun = begun.and(conn.busy_timeout(self.options.busy_timeout));
        if begun.is_ok() {
            self.run(began, Batch::begun(vec![job()]));
        }
        begun.is_ok()
    }

    fn run(&mut self, began: Instant, mut batch: Batch) -> Vec<Box<dyn Job>> {
        let mut appended = false;
        let ended = self.healthy().and_then(|(conn, heads)| {
            let ended = batch.run(conn, heads);
            appended = heads.take_appended();
            ended
        });
        if appended && ended.is_ok() {
            self.commits.give();
        }
        self.pace.observe(began.elapsed());
        if batch.io {
            self.break_down();
        }
        batch.answer(ended)
    }

    /// What tells of its commits.
    pub(super) fn commits(&self) -> CommitSignal {
        self.commits.clone()
    }

    /// Whether a commit should take so little time that a thread that has other things to do may wait for it.
    pub(super) fn is_quick(&self) -> bool {
        matches!(self.connection, State::Healthy(..)) && self.pace.is_quick()
    }

    pub(super) fn close(&mut self) {
        self.connection = State::Closed;
    }

    fn healthy(&mut self) -> Result<(&Connection, &mut Heads), JournalError> {
        if let State::Broken(_) = self.connection {
            self.recover()?;
        }
        match &mut self.connection {
            State::Healthy(conn, heads) => Ok((conn, heads)),
            State::Broken(_) | State::Closed => Err(unavailable("the SQLite connection is closed")),
        }
    }

    fn break_down(&mut self) {
        if let State::Healthy(conn, _) = std::mem::replace(&mut self.connection, State::Closed) {
            tracing::error!(path = %self.path.display(), "the file system failed; the database is reopened and checked");
            self.connection = State::Broken(conn);
        }
    }

    /// Closes the connection after a file system error, opens a new one, starts the write-ahead log anew, and checks the file.
    fn recover(&mut self) -> Result<(), JournalError> {
        let failed = |error: rusqlite::Error| recovery_failure(Failure::of_statement(error).answer);
        let conn = open_writer(&self.path, &self.options).map_err(failed)?;
        // It has to read before the old connection goes, else nobody keeps the index alive.
        conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0))
            .map_err(failed)?;
        self.connection = State::Broken(conn);
        let State::Broken(conn) = &self.connection else { return Ok(()) };
        start_anew(conn).map_err(recovery_failure)?;
        if let State::Broken(conn) = std::mem::replace(&mut self.connection, State::Closed) {
            tracing::info!(path = %self.path.display(), "the database was reopened and checked, and goes on");
            self.connection = State::Healthy(conn, Heads::default());
        }
        Ok(())
    }

    /// From how many pages on the write-ahead log is copied. On a slow disk a checkpoint costs three fsyncs beside the copying, and the longer
    /// the log, the more often a page is in it that is copied once.
    fn longest_log(&self) -> u32 {
        let times = if self.pace.is_slow() { SLOW_TIMES } else { 1 };
        self.options.checkpoint_pages.saturating_mul(times)
    }

    /// Whether the write-ahead log has become so long that it is to be copied into the file.
    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        let State::Healthy(conn, _) = &self.connection else { return false };
        match checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)") {
            Ok(found) => found.pages >= self.longest_log(),
            Err(error) => {
                self.checkpoint_failed(error);
                false
            }
        }
    }

    /// Copies the write-ahead log into the file when it has become long.
    pub(super) fn checkpoint_if_due(&mut self) {
        if !self.is_checkpoint_due() {
            return;
        }
        let State::Healthy(conn, _) = &self.connection else { return };
        let copy = || -> rusqlite::Result<()> {
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
        if let Err(error) = copy() {
            self.checkpoint_failed(error);
        }
    }

    fn checkpoint_failed(&mut self, error: rusqlite::Error) {
        let failure = Failure::of_statement(error);
        tracing::warn!(path = %self.path.display(), error = %failure.answer, "a checkpoint failed");
        if failure.io {
            self.break_down();
        }
    }
}

/// Copies what is committed from the write-ahead log into the file, empties the log, and checks the file.
///
/// After a failed fsync the operating system may have dropped what it could not write and call the next fsync a success. So
/// nothing rests on the bytes that were being written: the copying writes every page of the log into the file again and
/// fsyncs that, and the log starts from nothing.
fn start_anew(conn: &Connection) -> Result<(), JournalError> {
    let failed = |error: rusqlite::Error| Failure::of_statement(error).answer;
    let busy: bool =
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0)).map_err(failed)?;
    if busy {
        return Err(unavailable("somebody reads or writes the SQLite file; it goes on when that ends"));
    }
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        let reason =
            format!("the SQLite file is damaged after a file system error ({verdict}); restore a backup");
        return Err(JournalError::Corrupt { persistence_id: None, seq_nr: None, reason });
    }
    Ok(())
}

fn recovery_failure(cause: JournalError) -> JournalError {
    tracing::warn!(error = %cause, "the database cannot be recovered yet");
    match cause {
        JournalError::Unavailable { reason, source } => {
            let reason = format!("recovering from a file system error: {reason}");
            JournalError::Unavailable { reason, source }
        }
        other => other,
    }
}

struct Checkpoint {
    /// Pages in the write-ahead log.
    pages: u32,
}

fn checkpoint(conn: &Connection, pragma: &str) -> rusqlite::Result<Checkpoint> {
    conn.prepare_cached(pragma)?
        .query_row((), |row| Ok(Checkpoint { pages: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(0) }))
}

/// How many times its usual length the write-ahead log becomes while commits are slow: 64 MiB by default.
const SLOW_TIMES: u32 = 4;
/// How many times its usual length the write-ahead log may reach before writers wait for readers.
const PATIENCE: u32 = 8;
const RESTART_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::oneshot;

    use super::super::job::Task;
    use super::*;

    struct Setup {
        directory: tempfile::TempDir,
        writer: Writer,
    }

    /// A writer without its thread.
    fn setup() -> Setup {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.db");
        let sql = "PRAGMA journal_mode = WAL; CREATE TABLE notes (text TEXT)";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let options = Options::default().busy_timeout(Duration::ZERO);
        let writer = Writer::open(path, options).unwrap();
        Setup { directory, writer }
    }

    impl Setup {
        fn insert(&mut self, text: &str) -> Result<usize, JournalError> {
            let (reply, mut answer) = oneshot::channel();
            let text = text.to_owned();
            let work =
                move |conn: &Connection, _: &mut Heads| conn.execute("INSERT INTO notes VALUES (?)", [text]);
            self.writer.commit(vec![Box::new(Task { work: Some(work), done: None, reply })]);
            answer.try_recv().unwrap()
        }

        fn log_bytes(&self) -> u64 {
            fs::metadata(self.directory.path().join("notes.db-wal")).unwrap().len()
        }
    }

    #[test]
    fn a_caller_that_commits_waits_for_no_lock() {
        let mut setup = setup();
        setup.writer.options.busy_timeout = Duration::from_secs(600);
        let other = Connection::open(&setup.writer.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let insert = || Task {
            work: Some(|conn: &Connection, _: &mut Heads| conn.execute("INSERT INTO notes VALUES ('a')", ())),
            done: None,
            reply: oneshot::channel().0,
        };
        // Were it to wait, it would do so for ten minutes.
        assert!(!setup.writer.commit_now(|| panic!("it has the lock")));
        other.execute_batch("ROLLBACK").unwrap();
        assert!(setup.writer.commit_now(|| Box::new(insert())));
        let count = "SELECT count(*) FROM notes";
        assert_eq!(other.query_row(count, (), |row| row.get::<_, i64>(0)).unwrap(), 1);
        // The time to wait is as it was, for the thread.
        let State::Healthy(conn, _) = &setup.writer.connection else { panic!("nothing failed") };
        let wait: i64 = conn.query_row("PRAGMA busy_timeout", (), |row| row.get(0)).unwrap();
        assert_eq!(wait, 600_000);
    }

    #[test]
    fn while_commits_are_slow_the_log_becomes_four_times_as_long() {
        let mut setup = setup();
        setup.writer.options.checkpoint_pages = 2;
        for n in 0..3 {
            setup.insert(&format!("note {n}")).unwrap();
        }
        setup.writer.pace = Pace::default();
        assert!(setup.writer.is_checkpoint_due());
        (0..4).for_each(|_| setup.writer.pace.observe(Duration::from_secs(1)));
        assert!(!setup.writer.is_checkpoint_due());
        for n in 3..10 {
            setup.insert(&format!("note {n}")).unwrap();
        }
        (0..4).for_each(|_| setup.writer.pace.observe(Duration::from_secs(1)));
        assert!(setup.writer.is_checkpoint_due());
    }

    #[test]
    fn after_a_file_system_error_the_log_starts_anew_before_anything_is_answered() {
        let mut setup = setup();
        for n in 0..50 {
            setup.insert(&format!("note {n}")).unwrap();
        }
        let before = setup.log_bytes();
        setup.writer.break_down();
        setup.insert("after").unwrap();
        let after = setup.log_bytes();
        assert!(before > 50 * 4096 && after < 3 * 4096, "{before} bytes, then {after}");
        let other = Connection::open(&setup.writer.path).unwrap();
        assert_eq!(
            other.query_row("SELECT count(*) FROM notes", (), |row| row.get::<_, i64>(0)).unwrap(),
            51
        );
    }

    #[test]
    fn while_the_log_cannot_start_anew_everything_is_unavailable() {
        let mut setup = setup();
        setup.insert("before").unwrap();
        let other = Connection::open(&setup.writer.path).unwrap();
        other.execute_batch("BEGIN; SELECT count(*) FROM notes").unwrap();
        setup.writer.break_down();
        for _ in 0..2 {
            let error = setup.insert("meanwhile").unwrap_err();
            assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains("it goes on when that ends"), "{error}");
        }
        other.execute_batch("COMMIT").unwrap();
        setup.insert("after").unwrap();
        assert_eq!(other.query_row("SELECT count(*) FROM notes", (), |row| row.get::<_, i64>(0)).unwrap(), 2);
    }

    #[test]
    fn a_file_that_is_damaged_after_a_file_system_error_is_corrupt() {
        let mut setup = setup();
        for _ in 0..40 {
            setup.insert(&"a long note ".repeat(80)).unwrap();
        }
        setup.writer.break_down();
        setup.insert("it is in the file now, not in the log").unwrap();
        setup.writer.break_down();
        let damage = fs::OpenOptions::new().write(true).open(&setup.writer.path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&damage, &[0x5a; 4096], 2 * 4096).unwrap();
        let error = setup.insert("more").unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error:?}");
    }
}
