use super::DataKeys;
use super::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use super::life::Life;
use crate::{JournalError, KeyId, PersistenceId, Record, SeqNr, Timestamp};

/// What the store says about an id's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Nothing was ever sealed for the id.
    None,
    /// What was sealed since the last erasure, if there was one, can be opened.
    Live {
        /// Each generation and the first event that it may have sealed, by number; none when a new life was allowed, and has not begun.
        generations: Vec<(KeyId, SeqNr)>,
        /// What this generation and those before it sealed was erased: this is a new life.
        erased_to: Option<KeyId>,
        /// The last event of what was erased; [`SeqNr::ZERO`] when nothing was.
        begins_behind: SeqNr,
    },
    /// The key was destroyed on purpose, or is about to be.
    Erased {
        /// The last generation that was.
        erased_to: KeyId,
        /// When.
        at: Timestamp,
    },
}

impl DataKeys {
    /// What the store says now about each id's key, in the order of `ids`, with one look; no key is opened.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when a record is not what was written, and whatever the records answer.
    pub async fn state(&self, ids: &[&PersistenceId]) -> Vec<Result<KeyState, JournalError>> {
        match self.records_of(ids).await {
            Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
            Ok(records) => ids.iter().zip(records).map(|(id, record)| state(id, record.as_ref())).collect(),
        }
    }
}

fn state(id: &PersistenceId, record: Option<&Record>) -> Result<KeyState, JournalError> {
    let Some(record) = record else { return Ok(KeyState::None) };
    let (keys, _) = ScopeKeys::read(&scope_key(id.as_str())?, record)?;
    let erased_to = KeyId(keys.erased_to);
    Ok(match keys.erased() {
        Some(at) => KeyState::Erased { erased_to, at },
        None => KeyState::Live {
            generations: keys
                .live()
                .map(|generation| {
                    (KeyId(generation.number), SeqNr::new(generation.from_seq).unwrap_or(SeqNr::MAX))
                })
                .collect(),
            erased_to: (keys.erased_to > 0).then_some(erased_to),
            begins_behind: match keys.life() {
                Life::Behind(last) => last,
                Life::Erased => SeqNr::ZERO,
            },
        },
    })
}
