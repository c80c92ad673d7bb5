use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi;

/// Why a SQLite file could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file would be in a directory that does not exist.
    #[error("cannot open {path:?}: there is no directory {directory:?}; create it, or correct the path")]
    MissingDirectory {
        /// The file.
        path: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// The file was to be read, and there is no journal.
    #[error("there is no journal at {path:?}: {found}; correct the path")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Another process held the lock for longer than the busy timeout.
    #[error(
        "{path:?} is locked by another process and stayed so for {waited:?}; stop that process (a backup or an open \
         transaction of a database tool, perhaps), or wait longer with busy_timeout_ms"
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// The busy timeout.
        waited: Duration,
    },
    /// The file, or the directory that its write-ahead log goes to, cannot be written.
    #[error(
        "{path:?} cannot be written: the file, its directory or the file system is read-only for this user; give the \
         user of this process write permission to the file and to its directory"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is no SQLite database, or a damaged one.
    #[error(
        "{path:?} is not a SQLite database, or a damaged one ({reason}); restore it from a backup together with its \
         -wal file, or move it away to start with an empty journal"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The file is a SQLite database of another application.
    #[error(
        "{path:?} is a SQLite database of another application ({found}); choose another path, it was not changed"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What shows it.
        found: String,
    },
    /// The file was written by a newer build.
    #[error(
        "{path:?} has version {found} of the {component} tables, this build knows versions up to {known}; run the newer \
         build that wrote it"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        component: String,
        /// The version in the file.
        found: u32,
        /// The newest version of this build.
        known: u32,
    },
    /// The file was written by an older build, and was to be read only.
    #[error(
        "{path:?} has version {found} of the {component} tables, this build reads version {known}, and was asked to change \
         nothing; start an application of this build on it once, which migrates it, or use the build that wrote it"
    )]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        component: String,
        /// The version in the file; 0 when there are no such tables.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// There is no room to create or migrate the tables.
    #[error(
        "{path:?} cannot be written because the disk is full, or a quota is used up; make room and start again"
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot open {path:?}: {reason}")]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

impl OpenError {
    /// What SQLite's result code means at start.
    pub(super) fn from_code(path: &Path, code: i32, message: String, waited: Duration) -> Self {
        let path = path.to_owned();
        match code & PRIMARY {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Locked { path, waited },
            ffi::SQLITE_READONLY | ffi::SQLITE_PERM => Self::ReadOnly { path },
            ffi::SQLITE_NOTADB | ffi::SQLITE_CORRUPT => Self::Corrupt { path, reason: message },
            ffi::SQLITE_FULL => Self::DiskFull { path },
            // The directory is there (it was looked for before): what is left is permission to the file, to
            // the directory or to the files beside it.
            ffi::SQLITE_CANTOPEN if !path.is_dir() => Self::ReadOnly { path },
            ffi::SQLITE_CANTOPEN => Self::CannotOpen { path, reason: "it is a directory, not a file".into() },
            _ => Self::CannotOpen { path, reason: format!("{message} (SQLite code {code})") },
        }
    }

    pub(super) fn from_rusqlite(path: &Path, error: &rusqlite::Error, waited: Duration) -> Self {
        let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
        Self::from_code(path, code, error.to_string(), waited)
    }

    pub(super) fn from_sqlx(path: &Path, error: &sqlx::Error, waited: Duration) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<i32>().ok())
            .unwrap_or(ffi::SQLITE_ERROR);
        Self::from_code(path, code, error.to_string(), waited)
    }
}

/// The low byte of an extended result code is the primary one.
const PRIMARY: i32 = 0xff;
