//! The reference backend: the shortest code that keeps every promise of [`Journal`] and [`Records`].
//!
//! ```text
//! streams   id  → head, token, deleted_to; positions of the events deleted_to+1 ..= head; position of its tombstone
//! log       position → an event's bytes and tags, or an id's tombstone.   The offset of a row is its position.
//! records   key → revision, value
//! ```
//! One lock around each half; no await under it. Events are kept encoded, so that the same bytes are exercised as on disk.

mod log;
mod records;
mod store;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};

use self::records::RecordStore;
use self::store::Store;
use crate::commit_path::{AtOnce, CommitPath, Path};
use crate::encoded_write::EncodedWrite;
use crate::{
    CommitListener, CommitSignal, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId,
    ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

/// A journal and its records in memory: for tests, and the reference for authors of backends.
///
/// A clone is another handle to the same store. Nothing outlives the last handle.
///
/// ```
/// use annals_journal::{Head, JournalExt, MemoryJournal, PersistenceId, Token, Epoch};
/// # futures::executor::block_on(async {
/// let journal = MemoryJournal::new();
/// let id = PersistenceId::new("account", "alice")?;
/// let token = Token::new(Epoch(1), 1);
/// assert_eq!(journal.claim(&id, token).await?, Head { token, ..Head::EMPTY });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryJournal {
    store: Arc<RwLock<Store>>,
    records: Arc<RwLock<RecordStore>>,
    commits: CommitSignal,
}

impl MemoryJournal {
    /// What an event in memory is limited to: 16 MiB a payload, 4,096 events an append.
    pub const LIMITS: Limits = Limits { max_payload_bytes: 16 * 1024 * 1024, max_events: 4096, marks: true };

    /// An empty journal with empty records.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        self.write_now(writes)
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let stored = read(&self.store).head(&range.persistence_id).seq_nr;
        let rest = range.clone().from(range.from.max(SeqNr::FIRST)).to(range.to.min(stored));
        let replay = Replay { store: Arc::clone(&self.store), rest, page: VecDeque::new(), failed: false };
        stream::unfold(replay, |mut replay| async move { replay.next().map(|item| (item, replay)) }).boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        Ok(read(&self.store).head(id))
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        write(&self.store).delete_to(id, to)
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        old.check_replacement(&new, Self::LIMITS)?;
        let bytes = new.encode();
        write(&self.store).replace(old, bytes, new.tags)
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        read(&self.store).page(after, limit, |row| row.tags.contains(tag))
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        read(&self.store).page(after, limit, |row| slices.contains(row.slice))
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        Ok(read(&self.store).persistence_ids(after, limit))
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn commits(&self) -> Option<CommitListener> {
        Some(self.commits.listen())
    }

    fn commit_path(&self) -> Option<CommitPath> {
        Some(CommitPath(Path::AtOnce(Arc::new(self.clone()))))
    }
}

impl AtOnce for MemoryJournal {
    fn write_now(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        // Encoded before the lock is taken, so that writers do that in parallel.
        let mut encoded = Vec::with_capacity(writes.len());
        encoded.extend(writes.into_iter().map(|write| EncodedWrite::new(write, Self::LIMITS)));
        let answers = write(&self.store).write(encoded);
        self.commits.give();
        answers
    }
}

/// A replay on its way: what is left of its range, and the page of it that was read.
struct Replay {
    store: Arc<RwLock<Store>>,
    rest: ReplayRange,
    page: VecDeque<Replayed>,
    failed: bool,
}

impl Replay {
    fn next(&mut self) -> Option<Result<Replayed, JournalError>> {
        if self.page.is_empty() && !self.failed {
            match read(&self.store).replay_page(&mut self.rest) {
                Ok(page) => self.page = page,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}

// A writer that panicked would have broken an invariant of ours; what it left is still whole rows, so others go on.

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
