use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Options;

/// The connection that writes.
pub(super) fn open_writer(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let conn = open(path, options)?;
    conn.pragma_update(None, "synchronous", options.durability.pragma())?;
    // Checkpoints are ours, so that one that fails is seen.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    Ok(conn)
}

/// A connection that only reads. It is opened for writing all the same, because readers of a write-ahead log write to its index.
pub(super) fn open_reader(path: &Path, options: &Options, closing: Closing) -> rusqlite::Result<Connection> {
    let conn = open(path, options)?;
    if closing == Closing::LeavesTheLog {
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// What the last connection to a file does with the write-ahead log when it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// Copies it into the file and takes it away.
    Checkpoints,
    /// Nothing.
    LeavesTheLog,
}

fn open(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, so SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(options.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Without it a statement with a parameter in LIMIT is compiled anew each time that it is bound, lest another number has a better
    // plan: 55,000 instructions, as much as reading ten events.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Savepoints keep old pages in the temporary store.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

/// Runs a statement without parameters and results.
pub(super) fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.raw_execute().map(drop)
}

const STATEMENTS_KEPT: usize = 128;
/// Enough for the index pages of a thousand ids that are written by turns.
const WRITER_CACHE_KIB: i64 = 4 * 1024;
/// A replay reads an event once; what is read again are the inner pages of two trees.
const READER_CACHE_KIB: i64 = 2 * 1024;
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (number INTEGER)").unwrap();
        let options = Options::default();
        for conn in [open_writer(&path, &options), open_reader(&path, &options, Closing::Checkpoints)] {
            let conn = conn.unwrap();
            let mut limited = conn.prepare("SELECT number FROM notes ORDER BY number LIMIT ?").unwrap();
            for limit in [10, 20] {
                assert!(!limited.exists([limit]).unwrap());
            }
            assert_eq!(limited.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
