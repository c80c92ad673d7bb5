use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Erased, ErasedScope, KeyScope};
use crate::{KeyId, PersistenceId, Timestamp};

/// A file that says what was erased, to be kept where the journal and its backups are not: after a restore it is applied again.
///
/// ```text
/// {"erased":"account|alice","generation":1,"at":1795421730000001}
/// {"erased_scope":"tenant-7","generation":1,"at":1795421730000002}
/// ```
///
/// A line an erasure, in the order in which they were done; `at` is in microseconds since 1970. It names ids, and has no key.
#[derive(Debug)]
pub struct ErasureLog {
    path: PathBuf,
    file: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_scope: Option<String>,
    generation: u32,
    at: u64,
}

/// A line of an [`ErasureLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logged {
    /// An id was erased.
    Id(Erased),
    /// The key of a scope was destroyed; each of its ids has a line of its own.
    Scope(ErasedScope),
}

impl ErasureLog {
    /// Opens a log, or makes it. A last line that was cut by a crash is left behind: nothing was erased for it.
    ///
    /// # Errors
    /// [`ErasureLogError`] names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ErasureLogError> {
        let path = path.as_ref().to_owned();
        let opened = || {
            let file = File::options().create(true).append(true).read(true).open(&path)?;
            let text = fs::read(&path)?;
            if text.last().is_some_and(|last| *last != b'\n') {
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                file.set_len(whole as u64)?;
            }
            file.sync_all()?;
            // The file's name must be there too, when a line is.
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        match opened() {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(ErasureLogError::Io { path, error }),
        }
    }

    /// Writes a line, and flushes it to the disk.
    ///
    /// # Errors
    /// [`ErasureLogError::Io`]; the line may be there.
    pub fn append(&mut self, erased: &Erased) -> Result<(), ErasureLogError> {
        self.write(&Line {
            erased: Some(erased.persistence_id.to_string()),
            erased_scope: None,
            generation: erased.erased_to.0,
            at: erased.at.as_micros(),
        })
    }

    /// The same for a scope.
    ///
    /// # Errors
    /// As [`ErasureLog::append`].
    pub fn append_scope(&mut self, erased: &ErasedScope) -> Result<(), ErasureLogError> {
        self.write(&Line {
            erased: None,
            erased_scope: Some(erased.scope.to_string()),
            generation: erased.erased_to.0,
            at: erased.at.as_micros(),
        })
    }

    fn write(&mut self, line: &Line) -> Result<(), ErasureLogError> {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_all()
        });
        written.map_err(|error| ErasureLogError::Io { path: self.path.clone(), error })
    }

    /// Reads what a log says was erased. A last line that was cut by a crash is left out.
    ///
    /// # Errors
    /// [`ErasureLogError`] names the file and the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Logged>, ErasureLogError> {
        let path = path.as_ref();
        let io = |error| ErasureLogError::Io { path: path.to_owned(), error };
        let bytes = fs::read(path).map_err(io)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let whole = std::str::from_utf8(&bytes[..end])
            .map_err(|error| io(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        whole
            .lines()
            .enumerate()
            .map(|(at, line)| {
                parse(line).map_err(|reason| ErasureLogError::Line {
                    path: path.to_owned(),
                    line: at + 1,
                    reason,
                })
            })
            .collect()
    }
}

fn parse(line: &str) -> Result<Logged, String> {
    let Line { erased, erased_scope, generation, at } =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    if generation == 0 {
        return Err("generations begin at 1".into());
    }
    let (erased_to, at) = (KeyId(generation), Timestamp::from_micros(at));
    match (erased, erased_scope) {
        (Some(id), None) => {
            let persistence_id = PersistenceId::parse(&id).map_err(|error| error.to_string())?;
            Ok(Logged::Id(Erased { persistence_id, erased_to, at }))
        }
        (None, Some(scope)) => {
            let scope = KeyScope::new(&scope).map_err(|error| error.to_string())?;
            Ok(Logged::Scope(ErasedScope { scope, erased_to, at }))
        }
        _ => Err("it names an id or a scope".into()),
    }
}

/// Why the log of erasures cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureLogError {
    /// It cannot be read or written.
    #[error("the log of erasures {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line says nothing that was erased.
    #[error("the log of erasures {}, line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}
