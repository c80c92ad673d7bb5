//! What rekeying and encrypting have in common: ids in parallel, each in steps that can be repeated.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use metrics::Counter;
use tokio::task::JoinSet;

use super::key_records::{KeyRecord as _, SCOPE_PREFIX, ScopeKeys, is_scope};
use super::key_store::busy;
use super::pace::Pace;
use super::sealed::Due;
use super::{KeyScope, KeysError, SealedJournal, SealedStates};
use crate::telemetry::RESEALED;
use crate::{Journal, JournalError, KeyId, PersistenceId, Record, RecordKey, Records, SeqNr};

/// Of which ids something is sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResealedIds {
    /// Of all.
    All,
    /// Of those whose text begins so, such as `account|`.
    Prefix(String),
    /// Of these.
    These(Vec<PersistenceId>),
    /// Of those that belong to this scope.
    Scope(KeyScope),
}

/// How sealing anew goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResealOptions {
    /// How many events and snapshots are sealed in a second at most; `None`, the default, as many as can be.
    pub rate: Option<NonZeroU32>,
    /// Of how many ids at once; 16 by default.
    pub parallel: usize,
}

impl Default for ResealOptions {
    fn default() -> Self {
        Self { rate: None, parallel: 16 }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResealProgress {
    /// Ids that were looked at.
    pub ids: u64,
    /// Ids of which something was sealed anew, or whose key became another.
    pub changed: u64,
    /// Events that were sealed anew.
    pub events: u64,
    /// Snapshots that were.
    pub states: u64,
    /// Ids that are not done: something went wrong.
    pub failed: u64,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct ResealSummary {
    /// How much of everything.
    pub total: ResealProgress,
    /// The first of the ids that are not done, each with the reason. They can be read as before; do it again.
    pub failures: Vec<ResealFailure>,
}

/// An id that is not done.
#[derive(Debug, Clone)]
pub struct ResealFailure {
    /// Which.
    pub persistence_id: PersistenceId,
    /// Why.
    pub error: ResealError,
}

/// Why an id could not be sealed anew.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// A snapshot cannot be opened, so it cannot be sealed under another key, and its key is not destroyed.
    #[error("snapshot {seq_nr:?} cannot be read: {reason}; delete it, or restore it, then begin again")]
    UnreadableState {
        /// Which.
        seq_nr: SeqNr,
        /// Why not.
        reason: String,
    },
    /// Its key could not be read or changed, or an event is corrupt.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl From<JournalError> for ResealError {
    fn from(error: JournalError) -> Self {
        Self::Keys(error.into())
    }
}

impl ResealError {
    /// Whether it may be better soon.
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::Keys(
                KeysError::Busy { .. }
                    | KeysError::Journal(JournalError::Unavailable { .. } | JournalError::Unknown { .. })
            )
        )
    }

    /// Whether the id was erased meanwhile: then there is nothing to do.
    fn is_erased(&self) -> bool {
        matches!(self, Self::Keys(KeysError::Journal(JournalError::Erased { .. })))
    }
}

/// One run over many ids.
#[derive(Debug)]
pub(super) struct Resealing {
    pub(super) journal: SealedJournal,
    pub(super) states: Arc<dyn SealedStates>,
    pace: Option<Pace>,
    so_far: Mutex<ResealSummary>,
    resealed: Counter,
}

impl Resealing {
    pub(super) fn new(
        journal: SealedJournal,
        states: Arc<dyn SealedStates>,
        options: &ResealOptions,
    ) -> Arc<Self> {
        let (pace, so_far) = (options.rate.map(Pace::new), Mutex::default());
        Arc::new(Self { journal, states, pace, so_far, resealed: metrics::counter!(RESEALED) })
    }

    /// Does something to each id, several at a time; what goes wrong with one is noted, and tried again where that may help. `work` says
    /// whether the id was changed.
    pub(super) async fn each<F>(
        self: &Arc<Self>,
        mut ids: BoxStream<'_, Result<PersistenceId, JournalError>>,
        options: &ResealOptions,
        work: impl Fn(Arc<Self>, PersistenceId) -> F + Clone + Send + 'static,
        progress: impl Fn(ResealProgress) + Send + Sync,
    ) -> Result<ResealSummary, KeysError>
    where
        F: Future<Output = Result<bool, ResealError>> + Send + 'static,
    {
        // Dropped with this call, and its tasks with it.
        let mut under_way = JoinSet::new();
        let (mut listed, most) = (true, options.parallel.max(1));
        loop {
            while listed && under_way.len() < most {
                match ids.try_next().await? {
                    Some(id) => drop(under_way.spawn(self.clone().one(id, work.clone()))),
                    None => listed = false,
                }
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok(())) => progress(self.lock().total),
                Some(Err(panic)) => return Err(KeysError::Unread { reason: panic.to_string() }),
            }
        }
        Ok(std::mem::take(&mut *self.lock()))
    }

    async fn one<F>(
        self: Arc<Self>,
        id: PersistenceId,
        work: impl Fn(Arc<Self>, PersistenceId) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<bool, ResealError>> + Send,
    {
        let mut wait = FIRST_WAIT;
        loop {
            let done = work(self.clone(), id.clone()).await;
            match &done {
                Err(error) if error.passes() && wait <= LONGEST_WAIT => {
                    tracing::info!(%id, %error, "trying again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                _ => return self.note(id, done),
            }
        }
    }

    fn note(&self, id: PersistenceId, done: Result<bool, ResealError>) {
        let mut so_far = self.lock();
        so_far.total.ids += 1;
        match done {
            Ok(changed) => so_far.total.changed += u64::from(changed),
            Err(error) if error.is_erased() => {}
            Err(error) => {
                tracing::error!(%id, %error, "not sealed anew");
                so_far.total.failed += 1;
                if so_far.failures.len() < MAX_FAILURES {
                    so_far.failures.push(ResealFailure { persistence_id: id, error });
                }
            }
        }
    }

    /// Seals again the events of an id up to a number that are under a generation before `target`.
    pub(super) async fn events(
        &self,
        id: &PersistenceId,
        (from, to): (SeqNr, SeqNr),
        target: KeyId,
    ) -> Result<(), ResealError> {
        self.each_part(id, (from, to), Due::Before(target)).await
    }

    async fn each_part(
        &self,
        id: &PersistenceId,
        (from, to): (SeqNr, SeqNr),
        due: Due,
    ) -> Result<(), ResealError> {
        let mut next = (from <= to).then_some(from);
        let mut changed = 0;
        while let Some(from) = next {
            let part = self.journal.vault.sealed_again(id, (from, to), due).await?;
            self.wait(part.to_do()).await;
            next = part.next;
            let stored = self.journal.vault.store_again(part).await?;
            self.add(stored.events, 0);
            if let Some(again) = stored.changed {
                next = Some(again);
                changed += 1;
                if changed > MOST_CHANGED {
                    return Err(busy(&super::key_records::scope_key(id.as_str())?).into());
                }
            }
        }
        Ok(())
    }

    /// Seals the events of an id up to a number that are in the clear.
    pub(super) async fn plain_events(&self, id: &PersistenceId, to: SeqNr) -> Result<(), ResealError> {
        self.each_part(id, (SeqNr::FIRST, to), Due::Plain).await
    }

    /// The same of its snapshots.
    pub(super) async fn states(
        &self,
        id: &PersistenceId,
        target: KeyId,
        plain: bool,
    ) -> Result<(), ResealError> {
        let done = self.states.seal_again(id, target, plain).await?;
        self.add(0, done.sealed);
        self.wait(done.sealed).await;
        match done.unreadable.into_iter().next() {
            None => Ok(()),
            Some((seq_nr, reason)) => Err(ResealError::UnreadableState { seq_nr, reason }),
        }
    }

    async fn wait(&self, count: u64) {
        if let Some(pace) = self.pace.as_ref().filter(|_| count > 0) {
            pace.wait(count).await;
        }
    }

    fn add(&self, events: u64, states: u64) {
        self.resealed.increment(events + states);
        let total = &mut self.lock().total;
        total.events += events;
        total.states += states;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ResealSummary> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResealedIds {
    /// Those that somebody has ever claimed or written, by their text.
    pub(super) fn in_journal(
        &self,
        journal: Arc<dyn Journal>,
    ) -> BoxStream<'_, Result<PersistenceId, JournalError>> {
        let prefix = match self {
            Self::These(ids) => return stream::iter(ids.iter().cloned().map(Ok)).boxed(),
            Self::Prefix(prefix) => prefix.as_str(),
            // Nothing of a scope is known but what has a key.
            Self::All | Self::Scope(_) => "",
        };
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<PersistenceId>>| {
            let journal = journal.clone();
            async move {
                let Some(after) = after else { return Ok::<_, JournalError>(None) };
                let page = journal.persistence_ids(after.as_ref(), PAGE).await?;
                let next = (page.len() == PAGE).then(|| page.last().cloned());
                Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        let begins = move |id: &PersistenceId| std::future::ready(id.as_str().starts_with(prefix));
        pages.try_flatten().try_filter(begins).boxed()
    }

    /// Those that have a data key, by their text.
    pub(super) fn with_keys(
        &self,
        records: Arc<dyn Records>,
    ) -> BoxStream<'_, Result<PersistenceId, JournalError>> {
        let prefix = match self {
            Self::These(ids) => return stream::iter(ids.iter().cloned().map(Ok)).boxed(),
            Self::Prefix(prefix) => format!("{SCOPE_PREFIX}{prefix}"),
            Self::All | Self::Scope(_) => SCOPE_PREFIX.to_owned(),
        };
        let scope = match self {
            Self::Scope(scope) => Some(scope.clone()),
            _ => None,
        };
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<RecordKey>>| {
            let (records, prefix, scope) = (records.clone(), prefix.clone(), scope.clone());
            async move {
                let Some(after) = after else { return Ok::<_, JournalError>(None) };
                let page = records.list(&prefix, after.as_ref(), PAGE).await?;
                let next = (page.len() == PAGE).then(|| page.last().map(|(key, _)| key.clone()));
                let is_wanted = |key: &RecordKey, record: &Record| match &scope {
                    _ if is_scope(key) => false,
                    None => true,
                    // One that cannot be read is no scope's.
                    Some(scope) => {
                        ScopeKeys::read(key, record).is_ok_and(|(keys, _)| keys.scope == scope.as_str())
                    }
                };
                let ids = page.into_iter().filter(|(key, record)| is_wanted(key, record));
                let ids = ids.map(|(key, _)| id_of(&key));
                Ok(Some((stream::iter(ids.collect::<Vec<_>>()), next)))
            }
        });
        pages.try_flatten().boxed()
    }
}

fn id_of(key: &RecordKey) -> Result<PersistenceId, JournalError> {
    let text = key.as_str().strip_prefix(SCOPE_PREFIX).unwrap_or_default();
    PersistenceId::parse(text).map_err(|error| JournalError::corrupt_record(key, error))
}

const PAGE: usize = 256;
const MAX_FAILURES: usize = 100;
/// How often somebody else may be faster with an id's events.
const MOST_CHANGED: u32 = 1_000;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
