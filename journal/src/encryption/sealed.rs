//! The journal whose payloads nobody reads without keys: a journal around a journal.
//!
//! ```text
//! append  ─→ the id's order ─→ data key ─→ sealed, linked to the event before ─→ inner journal: events and mark in one step
//! replay  ←─ opened ←─ link checked upon the event before, the newest against the mark ←─ inner journal
//! ```

mod chain;
mod checking;
mod context;
mod deletions;
mod events;
mod gather;
mod ids;
mod journal;
mod lone;
mod options;
mod pages;
mod plain;
mod read_again;
mod record;
mod replacing;
mod replaying;
mod run;
mod seal_again;
mod writing;

use std::fmt;
use std::sync::Arc;

use self::chain::Chain;
pub use self::checking::{Fault, FaultKind, HistoryCheck, Sound};
use self::deletions::Deletions;
use self::gather::Gather;
use self::ids::{Ids, Stored};
pub use self::options::SealedOptions;
pub(super) use self::seal_again::Due;
use super::life::Life;
use super::{DataKey, DataKeys, KeyState};
use crate::{Head, Journal, JournalError, KeyId, Limits, PersistenceId, Records, SeqNr};

/// A journal that seals what it stores in another, and opens what it reads there.
///
/// Payloads are sealed with the id's [data key](DataKeys), together with every other field of the envelope, so that none can be changed or
/// moved. Events of an id are chained, and what authenticates the newest stands beside the id's head: an event that was changed, moved,
/// swapped, put back or cut off is [`JournalError::Corrupt`] with its id and number. Tags, manifests, time stamps and ids can be read
/// by whoever has the file.
///
/// It belongs outside of group commit: sealing is done in the caller's task. Plain events that were there before an id's first sealed one are
/// given as they are, unless [`SealedOptions::refuse_plaintext`] is set; behind it a plain one is corrupt.
///
/// A replay checks the whole chain of what it reads, and the newest event where it comes to it. Readers by tag and slice check each
/// event by itself: an event that is missing there is not noticed, one that is another is.
///
/// Cloning shares everything.
#[derive(Clone)]
pub struct SealedJournal {
    pub(super) vault: Arc<Vault>,
}

/// What sealing and opening need.
pub(super) struct Vault {
    inner: Arc<dyn Journal>,
    records: Arc<dyn Records>,
    keys: DataKeys,
    gather: Gather,
    chain: Chain,
    ids: Ids,
    options: SealedOptions,
}

impl SealedJournal {
    /// Puts a journal behind keys that are kept in its records.
    ///
    /// # Errors
    /// [`JournalError::Key`] when the key of the chains cannot be opened or made, and whatever the records answer.
    pub async fn open(
        inner: Arc<dyn Journal>,
        keys: DataKeys,
        options: SealedOptions,
    ) -> Result<Self, JournalError> {
        let chain = Chain::new(&keys.chain_key().await?);
        let (records, ids) = (keys.records(), Ids::new(options.known_ids));
        let gather = Gather::default();
        Ok(Self { vault: Arc::new(Vault { inner, records, keys, gather, chain, ids, options }) })
    }

    /// The journal with what is stored, as it is stored.
    pub fn inner(&self) -> &Arc<dyn Journal> {
        &self.vault.inner
    }

    /// The keys that it uses.
    pub fn keys(&self) -> &DataKeys {
        &self.vault.keys
    }
}

impl Vault {
    /// What the journal around it takes: room for the seal, and no marks of others.
    fn limits(&self) -> Limits {
        let inner = self.inner.limits();
        Limits {
            max_payload_bytes: inner.max_payload_bytes.saturating_sub(record::Record::OVERHEAD),
            marks: false,
            ..inner
        }
    }

    /// The key that opens an id's event.
    async fn key_to_open(&self, id: &PersistenceId, key: KeyId) -> Result<Arc<DataKey>, JournalError> {
        match self.keys.known_to_open(id, key) {
            Some(known) => known,
            None => self.gather.to_open(&self.keys, id, key).await,
        }
    }

    /// The key that seals an id's events from a number on.
    async fn key_to_seal(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<Arc<DataKey>, JournalError> {
        match self.keys.to_seal_cached(id, seq_nr) {
            Some(key) => Ok(key),
            None => self.gather.to_seal(&self.keys, id, seq_nr).await,
        }
    }

    /// A head with what was erased below it.
    async fn with_erased(&self, id: &PersistenceId, head: Head) -> Result<Head, JournalError> {
        if head.seq_nr == SeqNr::ZERO {
            return Ok(head);
        }
        let life = match self.keys.known_life(id) {
            Some(known) => known,
            None => self.gather.life(&self.keys, id).await?,
        };
        let erased_to = match life {
            Life::Erased => head.seq_nr,
            Life::Behind(last) => last.min(head.seq_nr),
        };
        Ok(Head { erased_to, ..head })
    }

    /// The head that the store has now, checked.
    async fn stored(&self, id: &PersistenceId) -> Result<Stored, JournalError> {
        let head = self.inner.head(id).await?;
        self.checked(id, head).await
    }

    /// Checks a head that the store answered, and keeps it.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when its mark is not that of its newest event, or is gone.
    async fn checked(&self, id: &PersistenceId, head: Head) -> Result<Stored, JournalError> {
        let newest =
            self.chain.newest(id, &head).map_err(|_| JournalError::corrupt(id, head.seq_nr, FOREIGN_MARK))?;
        let known = self.ids.id(id);
        if newest.is_none() && known.known().plain_to < head.seq_nr {
            self.check_plain_head(id, head.seq_nr).await?;
        }
        let stored = Stored { head, newest };
        known.known().stored(stored);
        Ok(stored)
    }

    /// Checks that nothing was sealed yet for an id that has no mark.
    async fn check_plain_head(&self, id: &PersistenceId, head: SeqNr) -> Result<(), JournalError> {
        let state = self.keys.state(&[id]).await.pop().unwrap_or(Ok(KeyState::None))?;
        match state {
            KeyState::Live { generations, .. } if generations.iter().any(|(_, from)| *from <= head) => {
                Err(JournalError::corrupt(id, head, NO_MARK))
            }
            _ => Ok(()),
        }
    }

    /// What is stored about an id's deletions.
    async fn deletions(&self, id: &PersistenceId) -> Result<Deletions, JournalError> {
        Deletions::read(&*self.records, &self.chain, id).await
    }
}

const FOREIGN_MARK: &str = "the id's mark is not that of this event: events behind it were cut off, it was not written through the keys, or the mark was changed or put back";
const NO_MARK: &str = "the id has a data key that was made before this event, and no mark: it was taken away, or the event was not written through the keys";

/// As callers see it: the mark is ours.
fn unmarked(head: Head) -> Head {
    Head { mark: None, ..head }
}

impl fmt::Debug for SealedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedJournal")
            .field("inner", &self.vault.inner)
            .field("keys", &self.vault.keys)
            .field("ids", &self.vault.ids)
            .field("options", &self.vault.options)
            .finish_non_exhaustive()
    }
}
