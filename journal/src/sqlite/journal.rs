use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::tables::TABLES;
use super::{Database, OpenError, Options, change, pages, replay, stream, write};
use crate::commit_path::{CommitPath, Path as Way};
use crate::encoded_write::EncodedWrite;
use crate::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, NotStored, Offset, Page, PersistenceId,
    ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

/// Events and records in a SQLite file: the embedded default backend.
///
/// A clone is another handle to the same file. Several processes may write to one file; they fence each other.
/// Its futures and streams have to be polled in a tokio runtime.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("bank.db");
/// use annals_journal::sqlite::{Options, SqliteJournal};
/// use annals_journal::{Epoch, Head, JournalExt, PersistenceId, Token};
///
/// # runtime.block_on(async {
/// let journal = SqliteJournal::open(&path, Options::default()).await?;
/// let id = PersistenceId::new("account", "alice")?;
/// let token = Token::new(Epoch(1), 1);
/// assert_eq!(journal.claim(&id, token).await?, Head { token, ..Head::EMPTY });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    database: Database,
}

impl SqliteJournal {
    /// What an event in a SQLite file is limited to: 8 MiB a payload, 4,096 events an append.
    pub const LIMITS: Limits = Limits { max_payload_bytes: 8 * 1024 * 1024, max_events: 4096, marks: true };

    /// Opens the file, or creates it when it is missing.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open(path, options).await?).await
    }

    /// Opens a file that is there for reading only, see [`Database::open_read_only`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open_read_only(path, options).await?).await
    }

    /// The journal in a file that is open.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here, and what [`Database::open`] or
    /// [`Database::open_read_only`] gives.
    pub async fn in_database(database: Database) -> Result<Self, OpenError> {
        database.migrate(&TABLES).await?;
        Ok(Self { database })
    }

    /// The file, for whoever keeps something else in it.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let count = writes.len();
        if count == 0 {
            return Vec::new();
        }
        let writes: Vec<_> = writes.into_iter().map(|write| EncodedWrite::new(write, Self::LIMITS)).collect();
        match self
            .database
            .transact_with(move |conn, heads| write::write(conn, heads, &writes, &mut NotStored::new()))
            .await
        {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        replay::replay(self.database.clone(), range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let id = id.clone();
        let found = self.database.read(move |conn| stream::Stream::find(conn, &id)).await?;
        Ok(found.map_or(Head::EMPTY, |stream| stream.head))
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        let id = id.clone();
        self.database.transact_with(move |conn, heads| change::delete_to(conn, heads, &id, to)).await?
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let answer = self.replace_all(vec![(old.clone(), new)]).await.pop();
        answer.unwrap_or_else(|| {
            Err(JournalError::Unknown { reason: "the journal gave no answer".into(), source: None })
        })
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        let (mut answers, mut accepted) = (Vec::with_capacity(replacements.len()), Vec::new());
        for (old, new) in replacements {
            // Those that are accepted are answered by the transaction.
            answers.push(old.check_replacement(&new, Self::LIMITS).map(|()| false));
            if let Some(Ok(_)) = answers.last() {
                accepted.push(change::Replacement { bytes: new.encode(), tags: new.tags, old });
            }
        }
        if accepted.is_empty() {
            return answers;
        }
        let replaced =
            self.database.transact_with(move |conn, heads| change::replace(conn, heads, &accepted)).await;
        let open = answers.iter_mut().filter(|answer| answer.is_ok());
        match replaced.and_then(|answered| answered) {
            Ok(done) => open.zip(done).for_each(|(answer, done)| *answer = Ok(done)),
            Err(error) => open.for_each(|answer| *answer = Err(error.clone())),
        }
        answers
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        let tag = tag.clone();
        self.database.scan(move |conn| pages::by_tag(conn, &tag, after, limit)).await?
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.database.scan(move |conn| pages::by_slice(conn, slices, after, limit)).await?
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let after = after.cloned();
        self.database.scan(move |conn| pages::persistence_ids(conn, after.as_ref(), limit)).await
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn commits(&self) -> Option<CommitListener> {
        self.database.writing().map(|writing| writing.commits.listen())
    }

    fn commit_path(&self) -> Option<CommitPath> {
        let writing = self.database.writing()?.clone();
        Some(CommitPath(Way::Thread(Arc::new(writing))))
    }
}
