use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::Closing;
use super::failure::unavailable;
use super::heads::Heads;
use super::job::Task;
use super::readers::{CLOSED, Readers, stopped};
use super::schema;
use super::writer::Writer;
use super::writer_thread::{Message, Shared};
use super::{Durability, OpenError, Options, Schema};
use crate::{CommitSignal, JournalError};

/// An open SQLite file: one connection that writes, with a thread for it, and a few connections that read.
///
/// Whoever keeps tables in the file makes them with [`Database::migrate`], changes them with [`Database::transact`], and
/// reads them with [`Database::read`]. Clones share everything; the connections are closed when the last one is dropped.
/// Other processes may use the same file at the same time.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("notes.db");
/// use annals_journal::sqlite::{Database, Options, Schema};
///
/// const NOTES: Schema = Schema { component: "notes", steps: &["CREATE TABLE notes (text TEXT NOT NULL)"] };
///
/// # runtime.block_on(async {
/// let database = Database::open(&path, Options::default()).await?;
/// database.migrate(&NOTES).await?;
/// database.transact(|tx| tx.execute("INSERT INTO notes VALUES ('durable')", ())).await?;
/// let notes: i64 = database.read(|tx| tx.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))).await?;
/// assert_eq!(notes, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    options: Options,
    /// `None`: opened for reading only.
    writing: Option<Writing>,
    readers: Arc<Readers>,
}

/// The writer thread, and what it shares with callers.
#[derive(Clone)]
pub(super) struct Writing {
    pub(super) jobs: mpsc::Sender<Message>,
    pub(super) writer: Arc<Shared>,
    pub(super) commits: CommitSignal,
}

impl Database {
    /// Opens the file, or creates it when it is missing (its directory must exist).
    ///
    /// Several processes may do so at once. A file that is not ours is not changed.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = absolute(path.as_ref())?;
        schema::prepare(&path, &options).await?;
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let readers = Arc::new(Readers::new(path.to_path_buf(), options, Closing::Checkpoints));
        let (writer, commits) = blocking(&path, move |path| {
            Writer::open(path.to_owned(), options)
                .and_then(|writer| {
                    let commits = writer.commits();
                    Ok((Shared::start(writer, queue)?, commits))
                })
                .map_err(|error| OpenError::from_rusqlite(path, &error, options.busy_timeout))
        })
        .await?;
        Ok(Self { path, options, writing: Some(Writing { jobs, writer, commits }), readers })
    }

    /// Opens a file that is there, for tools that look at it: nothing is created or migrated, and the write-ahead log of an
    /// application that runs, or was killed, stays as it is.
    ///
    /// What changes the file is [`JournalError::Rejected`].
    ///
    /// # Errors
    /// [`OpenError`], also for a file that is missing or empty.
    pub async fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = absolute(path.as_ref())?;
        let closing = blocking(&path, move |path| schema::look_at(path, &options)).await?;
        let readers = Arc::new(Readers::new(path.to_path_buf(), options, closing));
        Ok(Self { path, options, writing: None, readers })
    }

    /// Whether it was opened with [`Database::open_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.writing.is_none()
    }

    /// Brings a component's tables to its newest version, in one transaction.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here, and what [`Database::open`] gives.
    /// [`OpenError::OlderSchema`] when the file was opened for reading only and would have to be migrated.
    pub async fn migrate(&self, schema: &Schema) -> Result<(), OpenError> {
        if self.is_read_only() {
            let (options, closing, schema) = (self.options, self.readers.closing(), *schema);
            return blocking(&self.path, move |path| {
                schema::must_be_current(path, &options, closing, &schema)
            })
            .await;
        }
        schema::migrate(&self.path, &self.options, schema).await
    }

    /// Runs a job in a transaction and answers once that is committed, as durable as [`Durability`] says.
    ///
    /// All jobs that wait at the same time share one transaction and one fsync, in the order in which they found room in the queue (1,024
    /// jobs; a caller that waits for room may be passed by one that comes when there is some). Each is isolated: one that returns an error or panics is undone alone. The job holds the write lock, in the whole file and against other processes, so it
    /// judges the newest state; it should take milliseconds at most, and prepare its statements with
    /// [`Connection::prepare_cached`]. It must not begin, commit or undo transactions, nor change the tables of other components.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: certainly nothing of the job is stored (it failed, or the file is locked, full or closed).
    /// [`JournalError::Unknown`]: the commit failed in a way that leaves open whether it is stored.
    /// [`JournalError::Corrupt`]: the file is damaged.
    ///
    /// # Cancel safety
    /// When the future is dropped the job is done or not done, never half done.
    pub async fn transact<T, F>(&self, job: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.transact_with(|conn, _| job(conn)).await
    }

    /// The same with what the writer remembers of heads.
    pub(super) async fn transact_with<T, F>(&self, job: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Heads) -> rusqlite::Result<T> + Send + 'static,
    {
        let Some(writing) = &self.writing else {
            let what = self.path.display();
            return Err(JournalError::rejected(what, "the file was opened for reading only"));
        };
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(job), done: None, reply };
        writing.jobs.send(Message::Job(Box::new(task))).await.map_err(|_| unavailable(CLOSED))?;
        answer.await.unwrap_or_else(|_| {
            Err(JournalError::Unknown { reason: "the SQLite writer thread ended".into(), source: None })
        })
    }

    /// What writes; `None` when it was opened for reading only.
    pub(super) fn writing(&self) -> Option<&Writing> {
        self.writing.as_ref()
    }

    /// Runs a short job that reads on a blocking thread: all its statements see one state of the file, and everything that was
    /// answered before the call. It cannot write.
    ///
    /// Jobs that wait at the same time share a transaction and a thread, one after the other, so it should take milliseconds at
    /// most. One that takes long belongs into [`Database::scan`].
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] and [`JournalError::Corrupt`].
    pub async fn read<T, F>(&self, job: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_now(job).await.unwrap_or_else(|_| Err(stopped()))
    }

    /// The same for a job that may take long: it has a thread and a transaction of its own, when one of [`Options::readers`] is free.
    ///
    /// While it runs the write-ahead log cannot start anew, so what takes very long should be several jobs.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub async fn scan<T, F>(&self, job: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.readers.scan(job).await
    }

    /// As [`Database::read`], on its way when this returns. The receiver errs when the runtime goes away.
    pub(super) fn read_now<T, F>(&self, job: F) -> oneshot::Receiver<Result<T, JournalError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.readers.read(job)
    }

    /// Finishes what is queued and closes the connections; whoever asks afterwards is told so.
    pub async fn close(&self) {
        self.readers.close().await;
        let (closed, done) = oneshot::channel();
        let Some(writing) = &self.writing else { return };
        if writing.jobs.send(Message::Close(closed)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// The file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an answered change survives.
    pub fn durability(&self) -> Durability {
        self.options.durability
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.path)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Does what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(
    path: &Arc<Path>,
    work: impl FnOnce(&Path) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let of = Arc::clone(path);
    tokio::task::spawn_blocking(move || work(&of)).await.unwrap_or_else(|_| {
        Err(OpenError::CannotOpen {
            path: path.to_path_buf(),
            reason: "the runtime shut down meanwhile".into(),
        })
    })
}

/// SQLite gives some names a meaning of their own (an empty one, `:memory:`, `file:`); an absolute path has none.
fn absolute(path: &Path) -> Result<Arc<Path>, OpenError> {
    let cannot = |reason: String| OpenError::CannotOpen { path: path.to_owned(), reason };
    if path.as_os_str().is_empty() {
        return Err(cannot("the path is empty; name a file".into()));
    }
    let absolute = std::path::absolute(path).map_err(|error| cannot(error.to_string()))?;
    if absolute.to_str().is_none() {
        return Err(cannot(
            "the path is not UTF-8, which SQLite needs; rename the directory or the file".into(),
        ));
    }
    if let Some(directory) = absolute.parent()
        && !fs::metadata(directory).is_ok_and(|found| found.is_dir())
    {
        return Err(OpenError::MissingDirectory { path: absolute.clone(), directory: directory.to_owned() });
    }
    Ok(absolute.into())
}

const QUEUED_JOBS: usize = 1_024;
