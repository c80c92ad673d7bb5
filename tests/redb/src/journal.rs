use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_journal::{
    CommitListener, CommitSignal, Envelope, Head, Journal, JournalError, Limits, NotStored, Offset, Page,
    PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use redb::{Builder, ConcurrencyMode, Database, ReadTransaction, ReadableDatabase};

use crate::failure::Failure;
use crate::log;
use crate::tables::{STREAMS, Tables, stream};

/// A journal and its records in one file. A clone is another handle; other processes may have the file open, too.
#[derive(Clone)]
pub struct RedbJournal {
    database: Arc<Database>,
    path: Arc<PathBuf>,
    commits: CommitSignal,
}

impl RedbJournal {
    /// What an append is limited to: 16 MiB a payload, 4,096 events.
    pub const LIMITS: Limits = Limits { max_payload_bytes: 16 * 1024 * 1024, max_events: 4096, marks: true };

    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] with the path when it cannot be opened, [`JournalError::Corrupt`] when it is damaged.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = Arc::new(path.as_ref().to_owned());
        let file = Arc::clone(&path);
        let opened = blocking(move || {
            let mut builder = Builder::new();
            builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
            builder.create(&*file).map_err(|error| {
                let reason = format!(
                    "{} cannot be opened ({error}); is it a redb file that this user may write?",
                    file.display()
                );
                JournalError::unavailable(reason, error)
            })
        });
        let database = Arc::new(opened.await?);
        let journal = Self { database, path, commits: CommitSignal::default() };
        // Makes the tables.
        journal.change(|_| Ok(())).await?;
        Ok(journal)
    }

    /// Does something in one transaction and commits it. Where it fails before the commit, nothing is stored.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, JournalError> {
        let database = Arc::clone(&self.database);
        blocking(move || {
            let transaction = database.begin_write().map_err(|error| Failure::from(error).answer())?;
            let done = Tables::open(&transaction).and_then(|mut tables| work(&mut tables));
            // One that is dropped is undone.
            let done = done.map_err(Failure::answer)?;
            transaction.commit().map_err(Failure::of_commit)?;
            Ok(done)
        })
        .await
    }

    /// Reads in one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, JournalError> {
        let database = Arc::clone(&self.database);
        blocking(move || {
            let snapshot = database.begin_read().map_err(Failure::from);
            snapshot.and_then(|snapshot| work(&snapshot)).map_err(Failure::answer)
        })
        .await
    }
}

#[async_trait]
impl Journal for RedbJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let count = writes.len();
        let decided = self.change(move |tables| {
            let mut not_stored = NotStored::new();
            let mut answers = Vec::with_capacity(writes.len());
            for write in writes {
                let answer = match not_stored.earlier(&write) {
                    Some(earlier) => Err(earlier.clone()),
                    None => log::decide(tables, &write)?,
                };
                if let Err(error) = &answer {
                    not_stored.remember(write.persistence_id(), write.token(), error);
                }
                answers.push(answer);
            }
            Ok(answers)
        });
        match decided.await {
            Ok(answers) => {
                self.commits.give();
                answers
            }
            Err(error) => vec![Err(error); count],
        }
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        // The snapshot of this moment, for as long as the stream lives: nothing that happens later is seen.
        let snapshot = match self.database.begin_read() {
            Ok(snapshot) => Arc::new(snapshot),
            Err(error) => return stream::iter([Err(Failure::from(error).answer())]).boxed(),
        };
        let pages = stream::try_unfold(range, move |mut rest| {
            let snapshot = Arc::clone(&snapshot);
            blocking(move || {
                let page = log::replay_page(&snapshot, &mut rest).map_err(Failure::answer)?;
                Ok((!page.is_empty()).then(|| (stream::iter(page).map(Ok), rest)))
            })
        });
        pages.try_flatten().boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let id = id.clone();
        let found = self.read(move |snapshot| stream(&snapshot.open_table(STREAMS)?, &id)).await?;
        Ok(found.map_or(Head::EMPTY, |(head, _)| head))
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        let id = id.clone();
        self.change(move |tables| log::delete_to(tables, &id, to)).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let one = self.replace_all(vec![(old.clone(), new)]).await.pop();
        one.unwrap_or_else(|| Err(JournalError::Unknown { reason: "no answer".into(), source: None }))
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        let count = replacements.len();
        let decided = self.change(move |tables| {
            let replace =
                |(old, new): &(StoredEvent, Envelope)| match old.check_replacement(new, Self::LIMITS) {
                    Ok(()) => log::replace(tables, old, new),
                    Err(error) => Ok(Err(error)),
                };
            replacements.iter().map(replace).collect::<Result<Vec<_>, Failure>>()
        });
        decided.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        let tag = tag.clone();
        self.read(move |snapshot| log::page_of_tag(snapshot, &tag, after, limit)).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.read(move |snapshot| log::page_of_slices(snapshot, slices, after, limit)).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let after = after.cloned();
        self.read(move |snapshot| {
            let streams = snapshot.open_table(STREAMS)?;
            let from = after.as_ref().map_or("", PersistenceId::as_str);
            let mut ids = Vec::new();
            for row in streams.range(from..)? {
                let (id, _) = row?;
                if ids.len() == limit {
                    break;
                }
                if after.as_ref().is_none_or(|after| after.as_str() != id.value()) {
                    ids.push(log::persistence_id(id.value())?);
                }
            }
            Ok(ids)
        })
        .await
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn commits(&self) -> Option<CommitListener> {
        Some(self.commits.listen())
    }
}

impl fmt::Debug for RedbJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbJournal").field(&self.path).finish()
    }
}

/// Runs what waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended
        .unwrap_or_else(|error| Err(JournalError::unknown("the thread that worked on it ended early", error)))
}
