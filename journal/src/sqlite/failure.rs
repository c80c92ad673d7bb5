use rusqlite::ffi;

use crate::JournalError;

/// Why a job or a commit failed: the answer that callers get, and whether the connection can be used any longer.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) answer: JournalError,
    /// The file system failed: nothing is to be answered before the database was reopened and checked.
    pub(super) io: bool,
}

impl Failure {
    /// A statement before the commit failed: certainly nothing is stored.
    pub(super) fn of_statement(error: rusqlite::Error) -> Self {
        if let Some(reason) = damage(&error) {
            let answer = JournalError::Corrupt { persistence_id: None, seq_nr: None, reason };
            return Self { answer, io: false };
        }
        let (code, primary) = codes(&error);
        let reason = match primary {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
                "the SQLite file is locked by another process, for longer than the busy timeout; end the transaction that it holds \
                 open (`lsof` on the file names the process), or set a larger busy_timeout_ms"
                    .into()
            }
            ffi::SQLITE_FULL => FULL.into(),
            ffi::SQLITE_IOERR if code == ffi::SQLITE_IOERR_WRITE => format!("{UNWRITABLE} ({error})"),
            ffi::SQLITE_IOERR => {
                format!("the file system failed ({error}); look at the system's log and at the disk")
            }
            ffi::SQLITE_READONLY => {
                "the SQLite file became read-only; give this process write permission to it and to its directory"
                    .into()
            }
            ffi::SQLITE_CANTOPEN => {
                format!("the SQLite file cannot be opened ({error}); is its directory still there?")
            }
            _ => format!("SQLite refused the statement ({error}); nothing was stored, and this is a bug: report it"),
        };
        Self { answer: JournalError::unavailable(reason, error), io: primary == ffi::SQLITE_IOERR }
    }

    /// The commit itself failed.
    pub(super) fn of_commit(error: rusqlite::Error) -> Self {
        match codes(&error) {
            // The frame that makes a transaction count is written last and carries a checksum over all before it: when
            // writing failed it is not there. Certainly not stored.
            (ffi::SQLITE_IOERR_WRITE, _)
            | (_, ffi::SQLITE_FULL | ffi::SQLITE_BUSY | ffi::SQLITE_READONLY) => Self::of_statement(error),
            // Above all a failed fsync: the bytes may be on disk now, later or never.
            _ => Self {
                answer: JournalError::unknown(
                    format!(
                        "the commit failed ({error}); the database is reopened and checked before it goes on"
                    ),
                    error,
                ),
                io: true,
            },
        }
    }

    /// The same cause met others of the same transaction: none of them is stored.
    pub(super) fn aborted(&self) -> Self {
        let answer = match &self.answer {
            JournalError::Unavailable { reason, source } => JournalError::Unavailable {
                reason: format!("the transaction was undone: {reason}"),
                source: source.clone(),
            },
            other => other.clone(),
        };
        Self { answer, io: self.io }
    }
}

/// What a failed read means.
pub(super) fn read_failure(error: rusqlite::Error) -> JournalError {
    Failure::of_statement(error).answer
}

pub(super) fn unavailable(reason: impl Into<String>) -> JournalError {
    JournalError::Unavailable { reason: reason.into(), source: None }
}

/// What is wrong with the file, when the error says that something is.
fn damage(error: &rusqlite::Error) -> Option<String> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    let damaged = match error {
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) => true,
        other => matches!(codes(other).1, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB),
    };
    damaged.then(|| format!("the SQLite file is damaged ({error}); restore it from a backup"))
}

fn codes(error: &rusqlite::Error) -> (i32, i32) {
    let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
    (code, code & 0xff)
}

const FULL: &str = "the disk is full; make room, the journal goes on by itself";
/// A quota and a file-size limit reach SQLite as a failed write.
const UNWRITABLE: &str = "the SQLite file cannot be written: the disk is full, a quota or file-size limit is reached, or \
                          the disk fails; make room, the journal goes on by itself";
