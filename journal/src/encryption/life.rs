use super::data_keys::Shared;
use super::key_records::{KeyRecord as _, ScopeKeys, erasures, scope_key};
use super::scope::Scope;
use super::{DataKeys, KeysError};
use crate::{JournalError, PersistenceId, Revision, SeqNr};

/// What an id's keys say about its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Its key was destroyed, or is about to be, and nothing is sealed for it any more.
    Erased,
    /// What is behind this number can be read and written; [`SeqNr::ZERO`]: all.
    Behind(SeqNr),
}

impl ScopeKeys {
    pub(super) fn life(&self) -> Life {
        if self.erased().is_some() {
            return Life::Erased;
        }
        if self.erased_to == 0 {
            return Life::Behind(SeqNr::ZERO);
        }
        // What lives without having been allowed is what an older copy of the records had beside what was erased.
        let first = self.live().next().map_or(1, |generation| generation.from_seq);
        Life::Behind(SeqNr::new(self.erased_seq_nr.max(first.saturating_sub(1))).unwrap_or(SeqNr::MAX))
    }
}

impl Shared {
    /// Forgets what was read of all ids when one was erased since the last look.
    pub(super) async fn forget_if_erased(&self, seen: &mut Option<Revision>) -> Result<(), KeysError> {
        let newest = self.store.records.get(&erasures()?).await?.map(|record| record.revision);
        if newest != *seen {
            *seen = newest;
            self.cache.forget_all();
        }
        Ok(())
    }
}

impl DataKeys {
    /// What is known of an id; `None`: nobody has looked yet.
    pub(super) fn known_life(&self, id: &PersistenceId) -> Option<Life> {
        self.shared.cache.get(id.as_str()).map(|opened| opened.record.life())
    }

    /// What the store says now, with one look; the keys that it finds are kept, for whoever recovers now.
    pub(super) async fn lives(&self, ids: &[&PersistenceId]) -> Vec<Result<Life, JournalError>> {
        ids.iter().for_each(|id| self.forget(id));
        let notes: Vec<_> = ids.iter().map(|id| self.shared.cache.note(id.as_str())).collect();
        let records = match self.records_of(ids).await {
            Ok(records) => records,
            Err(error) => return ids.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut lives = Vec::with_capacity(ids.len());
        for ((id, note), record) in ids.iter().zip(notes).zip(records) {
            lives.push(match record {
                None => Ok(Life::Behind(SeqNr::ZERO)),
                Some(record) => match self.opened(&Scope::from(*id), &record, note).await {
                    Ok(opened) => Ok(opened.record.life()),
                    // A key that does not open is for whoever needs it.
                    Err(_) => scope_key(id.as_str())
                        .and_then(|key| ScopeKeys::read(&key, &record))
                        .map(|(keys, _)| keys.life()),
                },
            });
        }
        lives
    }
}
