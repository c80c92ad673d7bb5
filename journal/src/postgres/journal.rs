use async_trait::async_trait;
use futures::stream::BoxStream;

use super::failure::read_failure;
use super::tables::TABLES;
use super::{Database, OpenError, Options, change, pages, replay, row, statements, write};
use crate::commit_path::{CommitPath, Path};
use crate::encoded_write::EncodedWrite;
use crate::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

/// Events and records on a PostgreSQL server, for many nodes. They fence each other: the condition of each write is judged on the
/// id's row, which the write has locked.
///
/// A clone is another handle. Its futures and streams have to be polled in a tokio runtime.
///
/// An answered write is as durable as the server's `synchronous_commit` and `fsync` say, both on unless somebody turned them off.
#[derive(Debug, Clone)]
pub struct PostgresJournal {
    database: Database,
}

impl PostgresJournal {
    /// What an event in PostgreSQL is limited to: 8 MiB a payload, 4,096 events an append.
    pub const LIMITS: Limits = Limits { max_payload_bytes: 8 * 1024 * 1024, max_events: 4096, marks: true };

    /// Connects and makes the tables when they are missing; the URL is that of [`Database::open`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open(url, options).await?).await
    }

    /// Opens a journal that is there for reading only, see [`Database::open_read_only`].
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open_read_only(url: &str, options: Options) -> Result<Self, OpenError> {
        Self::in_database(Database::open_read_only(url, options).await?).await
    }

    /// The journal in a database that is open.
    ///
    /// # Errors
    /// [`OpenError::NewerSchema`] when a newer build has been here, and what [`Database::open`] gives.
    pub async fn in_database(database: Database) -> Result<Self, OpenError> {
        database.migrate(&TABLES).await?;
        database.watch_lineage();
        Ok(Self { database })
    }

    /// The database, for whoever keeps something else in it.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        if writes.is_empty() {
            return Vec::new();
        }
        if self.database.is_read_only() {
            let refused =
                JournalError::rejected(self.database.server(), "the journal was opened for reading only");
            return vec![Err(refused); writes.len()];
        }
        let mut encoded = Vec::with_capacity(writes.len());
        encoded.extend(writes.into_iter().map(|write| EncodedWrite::new(write, Self::LIMITS)));
        write::write(&self.database, encoded).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        replay::replay(self.database.clone(), range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let rows = self.database.rows(|| sqlx::query(statements::HEAD).bind(id.as_str())).await?;
        let head = rows.first().map_or(Ok(Head::EMPTY), |row| row::head(row, 0));
        head.map_err(|error| read_failure(self.database.server(), error))
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        change::delete_to(&self.database, id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let mut answers = self.replace_all(vec![(old.clone(), new)]).await;
        answers.pop().unwrap_or(Ok(false))
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        change::replace_all(&self.database, replacements).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        pages::page(&self.database, pages::Wanted::Tag(tag), after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        pages::page(&self.database, pages::Wanted::Slices(slices), after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        pages::persistence_ids(&self.database, after, limit).await
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn commits(&self) -> Option<CommitListener> {
        Some(self.database.listen())
    }

    fn commit_path(&self) -> Option<CommitPath> {
        Some(CommitPath(Path::Lanes(self.database.options().writers)))
    }
}
