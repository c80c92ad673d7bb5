//! Erasing: the data key of an id is destroyed on purpose, and with it everything that it sealed, in every copy.
//!
//! ```text
//!  log line, flushed ─▶ record says "erased up to generation n" ─▶ each id claimed ─▶ wrapped keys taken out of the record
//!                        whoever reads it from now on             whoever had read it
//!                        seals and opens nothing                  before is superseded
//! ```
//!
//! Every step can be done again: after a crash the same call goes on where it was.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::KeysError;
use super::erasure_log::{ErasureLog, ErasureLogError};
use super::key_records::{Generation, KeyRecord as _, ScopeKeys, erasures, scope_key};
use super::key_scope::KeyScope;
use super::key_store::{ATTEMPTS, busy, no_answer};
use super::life::Life;
use super::takeover::take_over;
use crate::{
    Journal, JournalError, KeyId, PersistenceId, RecordChange, Records, Revision, SeqNr, Timestamp, Verdict,
};

/// Destroys data keys of a journal on purpose. No master key is needed.
///
/// ```
/// # use std::sync::Arc;
/// # use annals_journal::encryption::{DataKeyOptions, DataKeys, Eraser, ErasureLog, KeyState, Ring, RingKeys};
/// # use annals_journal::{MemoryJournal, PersistenceId, SeqNr};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = Arc::new(MemoryJournal::new());
/// # let keys = DataKeys::open(journal.clone(), Arc::new(RingKeys::from(Ring::generate()?)), DataKeyOptions::default()).await?;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("erased.jsonl");
/// let alice = PersistenceId::new("account", "alice")?;
/// # keys.to_seal(&[(&alice, SeqNr::FIRST)]).await.remove(0)?;
/// let mut log = ErasureLog::open(&path)?;
/// Eraser::new(journal.clone(), journal.clone()).erase(&alice, &mut log).await?;
/// assert!(matches!(keys.state(&[&alice]).await.remove(0)?, KeyState::Erased { .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Eraser {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) records: Arc<dyn Records>,
}

/// An id that was erased: a line of an [`ErasureLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Which.
    pub persistence_id: PersistenceId,
    /// What this generation of its data key and those before it sealed.
    pub erased_to: KeyId,
    /// When; by the store's clock.
    pub at: Timestamp,
}

impl Eraser {
    /// Erases in this journal, which is taken as it is stored: without the one that seals around it.
    pub fn new(journal: Arc<dyn Journal>, records: Arc<dyn Records>) -> Self {
        Self { journal, records }
    }

    /// Erases an id: nobody opens again what was sealed for it until now, here or in any copy of the journal that is read with these
    /// records.
    ///
    /// The log has the line, flushed, before anything is changed. A running owner is superseded at its next append, and reports that the id
    /// was erased; what it appends until then is erased too. Erasing what was erased does nothing, or goes on where an earlier call was
    /// interrupted.
    ///
    /// # Errors
    /// [`EraseError`]; after one of the store, call it again.
    ///
    /// # Cancel safety
    /// A call that was dropped has done some of the steps; call it again.
    pub async fn erase(&self, id: &PersistenceId, log: &mut ErasureLog) -> Result<Erased, EraseError> {
        let key = scope_key(id.as_str())?;
        for _ in 0..ATTEMPTS {
            let Some((record, revision)) = self.record(id).await? else {
                return Err(EraseError::NotSealed { persistence_id: id.clone() });
            };
            let Some(newest) = newest(&record) else {
                let erased = Erased {
                    persistence_id: id.clone(),
                    erased_to: KeyId(record.erased_to),
                    at: Timestamp::from_micros(record.erased_at),
                };
                self.finish(&erased).await?;
                return Ok(erased);
            };
            self.check_sealed(id, &record).await?;
            let erased = Erased {
                persistence_id: id.clone(),
                erased_to: KeyId(newest),
                at: self.records.now().await?,
            };
            log.append(&erased)?;
            if self.mark(&erased, record, revision).await? {
                self.finish(&erased).await?;
                return Ok(erased);
            }
        }
        Err(busy(&key).into())
    }

    /// What [`Eraser::erase`] would do to an id: the generation up to which it would be erased; `None`: it was. Changes nothing.
    ///
    /// # Errors
    /// As [`Eraser::erase`].
    pub async fn look(&self, id: &PersistenceId) -> Result<Option<KeyId>, EraseError> {
        let Some((record, _)) = self.record(id).await? else {
            return Err(EraseError::NotSealed { persistence_id: id.clone() });
        };
        let newest = newest(&record);
        if newest.is_some() {
            self.check_sealed(id, &record).await?;
        }
        Ok(newest.map(KeyId))
    }

    /// Whether nothing is left of what a log says was erased. Changes nothing.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn is_erased(&self, logged: &Erased) -> Result<bool, EraseError> {
        let record = self.record(&logged.persistence_id).await?;
        Ok(record.is_some_and(|(record, _)| {
            record.erased_to >= logged.erased_to.0 && record.live().count() == record.generations.len()
        }))
    }

    /// Erases again what a log says was erased, after a backup from before that was restored.
    ///
    /// Only the generation that was logged and those before it: a life that began after it stays. An id without a key gets none of these
    /// generations any more. Answers up to which number nothing can be read any more: [`SeqNr::MAX`], or where a later life begins.
    ///
    /// # Errors
    /// As [`Eraser::erase`].
    pub async fn erase_again(&self, logged: &Erased) -> Result<SeqNr, EraseError> {
        let id = &logged.persistence_id;
        for _ in 0..ATTEMPTS {
            let change = match self.record(id).await? {
                Some((record, revision)) if record.erased_to < logged.erased_to.0 => {
                    self.mark(logged, record, revision).await?
                }
                Some(_) => true,
                None => {
                    let mut record = ScopeKeys::new();
                    (record.erased_to, record.erased_at) = (logged.erased_to.0, logged.at.as_micros());
                    self.set(id, None, &record).await?
                }
            };
            if change {
                self.finish(logged).await?;
                let life = self.record(id).await?.map_or(Life::Erased, |(record, _)| record.life());
                return Ok(match life {
                    Life::Erased => SeqNr::MAX,
                    Life::Behind(last) => last,
                });
            }
        }
        Err(busy(&scope_key(id.as_str())?).into())
    }

    /// Allows a new life under an id that was erased: its events go on from the old highest number, under a fresh key. What was erased stays so,
    /// and recovery begins behind it.
    ///
    /// `false`: it was not erased, or lives again already.
    ///
    /// # Errors
    /// [`EraseError::NotSealed`] for an id that never had a key, and whatever the records answer.
    pub async fn allow_new_life(&self, id: &PersistenceId) -> Result<bool, EraseError> {
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.record(id).await? else {
                return Err(EraseError::NotSealed { persistence_id: id.clone() });
            };
            if record.erased().is_none() {
                return Ok(false);
            }
            // What is left of the old keys must not outlive what it sealed.
            if !record.generations.is_empty() {
                let erased_to = KeyId(record.erased_to);
                let at = Timestamp::from_micros(record.erased_at);
                self.finish(&Erased { persistence_id: id.clone(), erased_to, at }).await?;
                continue;
            }
            // Nobody appends any more: owners were superseded, and a claim is answered that the id was erased.
            record.erased_seq_nr = self.journal.head(id).await?.seq_nr.get();
            record.lives_again = true;
            if self.set(id, Some(revision), &record).await? {
                return Ok(true);
            }
        }
        Err(busy(&scope_key(id.as_str())?).into())
    }

    /// Has the record say so; `false` when it changed meanwhile.
    async fn mark(&self, erased: &Erased, record: ScopeKeys, revision: Revision) -> Result<bool, EraseError> {
        let name = erased.persistence_id.as_str();
        self.mark_as(name, (erased.erased_to, erased.at), record, revision).await
    }

    pub(super) async fn mark_as(
        &self,
        name: &str,
        (erased_to, at): (KeyId, Timestamp),
        mut record: ScopeKeys,
        revision: Revision,
    ) -> Result<bool, EraseError> {
        (record.erased_to, record.erased_at) = (erased_to.0, at.as_micros());
        // A life that has no key yet has nothing that could be erased.
        record.lives_again = false;
        self.set_as(name, Some(revision), &record).await
    }

    /// Has owners notice, then destroys what is left of the keys.
    async fn finish(&self, erased: &Erased) -> Result<(), EraseError> {
        let id = &erased.persistence_id;
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.record(id).await? else { return Ok(()) };
            let live: Vec<Generation> = record.live().cloned().collect();
            if live.len() == record.generations.len() {
                return Ok(());
            }
            self.announce().await?;
            // Before the keys are gone: an owner that has them in memory may seal until it is superseded.
            take_over(&*self.journal, id).await?;
            record.generations = live;
            if self.set(id, Some(revision), &record).await? {
                return Ok(());
            }
        }
        Err(busy(&scope_key(id.as_str())?).into())
    }

    /// Has processes that only read forget the keys that they have in memory.
    pub(super) async fn announce(&self) -> Result<(), JournalError> {
        let key = erasures()?;
        let before = self.records.get(&key).await?.map(|record| record.revision);
        // Who was first has announced this one, too.
        self.records.compare_and_set(&key, before, Bytes::from_static(&[1])).await.map(drop)
    }

    /// Checks that there is nothing that destroying the key would leave readable.
    async fn check_sealed(&self, id: &PersistenceId, record: &ScopeKeys) -> Result<(), EraseError> {
        let sealed_from = record.generations.iter().map(|generation| generation.from_seq).min().unwrap_or(0);
        let head = self.journal.head(id).await?;
        let last = SeqNr::new(sealed_from.saturating_sub(1)).unwrap_or(SeqNr::MAX).min(head.seq_nr);
        // After an erasure the first generations are gone, and what they sealed with them.
        if record.erased_to == 0 && last > head.deleted_to {
            return Err(EraseError::InTheClear { persistence_id: id.clone(), to: last });
        }
        Ok(())
    }

    async fn record(&self, id: &PersistenceId) -> Result<Option<(ScopeKeys, Revision)>, JournalError> {
        self.record_as(id.as_str()).await
    }

    pub(super) async fn record_as(&self, name: &str) -> Result<Option<(ScopeKeys, Revision)>, JournalError> {
        let key = scope_key(name)?;
        self.records.get(&key).await?.map(|record| ScopeKeys::read(&key, &record)).transpose()
    }

    async fn set(
        &self,
        id: &PersistenceId,
        expected: Option<Revision>,
        record: &ScopeKeys,
    ) -> Result<bool, EraseError> {
        self.set_as(id.as_str(), expected, record).await
    }

    pub(super) async fn set_as(
        &self,
        name: &str,
        expected: Option<Revision>,
        record: &ScopeKeys,
    ) -> Result<bool, EraseError> {
        let change = RecordChange::set(scope_key(name)?, expected, record.to_value());
        let verdict = self.records.change(vec![change]).await.pop().unwrap_or_else(|| Err(no_answer()))?;
        Ok(matches!(verdict, Verdict::Set(_)))
    }
}

/// What would be erased now; `None`: nothing is left.
pub(super) fn newest(record: &ScopeKeys) -> Option<u32> {
    let newest = record.live().map(|generation| generation.number).max();
    // A life that was allowed, and has not begun.
    newest.or(record.lives_again.then_some(record.erased_to))
}

/// Why an id was not erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// There is no data key that could be destroyed.
    #[error(
        "{persistence_id} has no data key, so nothing of it is sealed: delete its events and snapshots instead"
    )]
    NotSealed {
        /// Which id.
        persistence_id: PersistenceId,
    },
    /// No key of a scope of this name was ever made.
    #[error("there is no scope {scope}: no id that belongs to it has a key")]
    UnknownScope {
        /// Which.
        scope: KeyScope,
    },
    /// Events from before the id had a key are in the clear; destroying the key would leave them readable.
    #[error(
        "events of {persistence_id} up to {to:?} are in the clear, and destroying its key would leave them readable: seal them, or delete them (with `Journal::delete_to`), then erase"
    )]
    InTheClear {
        /// Which id.
        persistence_id: PersistenceId,
        /// The last of them.
        to: SeqNr,
    },
    /// The log could not be written; nothing was erased.
    #[error(transparent)]
    Log(#[from] ErasureLogError),
    /// The records of the keys could not be read or changed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The journal could not be asked.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl fmt::Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} up to generation {} of its key", self.persistence_id, self.erased_to)
    }
}
