use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Database;
use super::failure::{Failure, unavailable};
use crate::JournalError;

/// What was deleted or overwritten stays in a SQLite file, in pages that are free, in the gaps of others and in the write-ahead log, until it
/// is overwritten by chance.
///
/// ```text
///  secure_delete ── from now on what this process frees is overwritten ──▶ scrub: VACUUM ─▶ checkpoint (TRUNCATE)
///                                                      every page anew, no free ones, no gaps     the log is empty
/// ```
impl Database {
    /// Has whatever this process deletes or overwrites from now on filled with zeros, also in pages that become free
    /// (`PRAGMA secure_delete`). What was freed before stays; [`Database::scrub`] takes it out.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn secure_delete(&self) -> Result<(), JournalError> {
        self.transact(|conn| conn.pragma_update(None, "secure_delete", true)).await
    }

    /// Empties the write-ahead log, so that nothing is in it any more that was overwritten since. Other processes may use the file meanwhile;
    /// it waits up to a minute for those that read.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when somebody reads or writes all the time: do it again.
    pub async fn empty_log(&self) -> Result<(), JournalError> {
        self.with_connection(empty_log).await
    }

    /// Writes the whole file anew, without what was deleted or overwritten, and empties the write-ahead log.
    ///
    /// It takes as long as reading and writing the file, and needs as much room again, twice: in the file's directory and in that of temporary files. Who
    /// writes meanwhile waits, at most for its own [`busy_timeout`](super::Options::busy_timeout). What the file system or the disk keeps
    /// of blocks that were overwritten is not SQLite's.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when the disk is full, or somebody reads or writes all the time: do it again.
    ///
    /// # Cancel safety
    /// It goes on when the future is dropped.
    pub async fn scrub(&self) -> Result<(), JournalError> {
        self.with_connection(|conn| {
            until_it_is_free(|| match conn.execute_batch("VACUUM") {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
                done => done.map(|()| true),
            })?;
            empty_log(conn)
        })
        .await
    }

    /// A connection of its own, which is not in a transaction.
    async fn with_connection(
        &self,
        work: impl FnOnce(&Connection) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        if self.is_read_only() {
            let what = self.path().display();
            return Err(JournalError::rejected(what, "the file was opened for reading only"));
        }
        let path = self.path().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&open(&path).map_err(answer)?)).await;
        done.unwrap_or_else(|_| Err(unavailable("the runtime shut down meanwhile")))
    }
}

/// Temporary files are on the disk: the file may be larger than the memory.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(A_MOMENT)?;
    conn.pragma_update(None, "secure_delete", true)?;
    Ok(conn)
}

fn empty_log(conn: &Connection) -> Result<(), JournalError> {
    // It gives up when a reader has an older state of the file, and readers come and go.
    until_it_is_free(|| {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0)).map(|busy| !busy)
    })
}

/// Does what others are in the way of again and again: SQLite's lock goes to whoever asks in the right moment.
fn until_it_is_free(mut done: impl FnMut() -> rusqlite::Result<bool>) -> Result<(), JournalError> {
    let begin = Instant::now();
    while !done().map_err(answer)? {
        if begin.elapsed() > PATIENCE {
            return Err(unavailable(
                "somebody reads or writes the SQLite file all the time, so it is not written anew, or its write-ahead log not emptied: do it again later",
            ));
        }
        thread::sleep(A_MOMENT);
    }
    Ok(())
}

fn answer(error: rusqlite::Error) -> JournalError {
    Failure::of_statement(error).answer
}

const PATIENCE: Duration = Duration::from_secs(60);
const A_MOMENT: Duration = Duration::from_millis(50);
