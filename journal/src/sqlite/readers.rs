use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::Options;
use super::connection::{Closing, open_reader, run};
use super::failure::{read_failure, unavailable};
use crate::JournalError;

/// A few connections that read, each used by one blocking thread at a time.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    options: Options,
    closing: Closing,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: Options, closing: Closing) -> Self {
        let permits = Arc::new(Semaphore::new(options.readers.max(1)));
        Self { path, options, closing, idle: Mutex::new(Vec::new()), permits }
    }

    /// Runs a job on a blocking thread, in one read transaction: all its statements see one state of the file.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| unavailable(CLOSED))?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let result = readers.read_blocking(job);
            drop(permit);
            result
        });
        reading.await.unwrap_or_else(|_| Err(unavailable("the runtime shut down while the journal was read")))
    }

    pub(super) fn closing(&self) -> Closing {
        self.closing
    }

    /// No further reads; the connections that are not in use are closed.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn read_blocking<T>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_reader(&self.path, &self.options, self.closing).map_err(read_failure)?,
        };
        run(&conn, "BEGIN DEFERRED").map_err(read_failure)?;
        let result = catch_unwind(AssertUnwindSafe(|| job(&conn)));
        let ended = run(&conn, "COMMIT");
        match result {
            Ok(Ok(value)) => {
                ended.map_err(read_failure)?;
                if !self.permits.is_closed() {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
                }
                Ok(value)
            }
            // The connection is closed rather than used again: after an error it may be in any state.
            Ok(Err(error)) => Err(read_failure(error)),
            Err(_) => Err(unavailable("a read of the SQLite file panicked; this is a bug: report it")),
        }
    }
}

pub(super) const CLOSED: &str = "the SQLite database was closed; open it again";
