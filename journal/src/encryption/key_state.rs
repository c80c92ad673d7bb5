use super::DataKeys;
use super::key_records::{KeyRecord as _, SCOPE_PREFIX, ScopeKeys, scope_key};
use super::life::Life;
use crate::{JournalError, KeyId, PersistenceId, Record, RecordKey, Records, SeqNr, Timestamp};

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

impl KeyState {
    /// What the records say now about each id's key, in the order of `ids`, with one look; no master key is needed.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when a record is not what was written, and whatever the records answer.
    pub async fn read(records: &dyn Records, ids: &[&PersistenceId]) -> Vec<Result<Self, JournalError>> {
        let keys = ids.iter().map(|id| scope_key(id.as_str())).collect::<Result<Vec<_>, _>>();
        let found = match keys {
            Ok(keys) => records.get_all(&keys).await,
            Err(error) => Err(error),
        };
        match found {
            Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
            Ok(found) => {
                ids.iter().zip(found).map(|(id, record)| state(id.as_str(), record.as_ref())).collect()
            }
        }
    }

    /// All that have a key record, by name, after a name, at most `limit`: persistence ids. Fewer than `limit`: there are no more.
    ///
    /// # Errors
    /// Whatever the records answer. A record that is not what was written is [`JournalError::Corrupt`] in its place.
    pub async fn list(
        records: &dyn Records,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Result<Self, JournalError>)>, JournalError> {
        let after = after.map(scope_key).transpose()?;
        let found = records.list(SCOPE_PREFIX, after.as_ref(), limit).await?;
        let named = |(key, record): (RecordKey, Record)| {
            let name = key.as_str().strip_prefix(SCOPE_PREFIX).unwrap_or_default().to_owned();
            let state = state(&name, Some(&record));
            (name, state)
        };
        Ok(found.into_iter().map(named).collect())
    }

    /// Whether a generation of the key is there, to open what it sealed.
    pub fn opens(&self, number: KeyId) -> bool {
        match self {
            Self::Live { generations, .. } => generations.iter().any(|(known, _)| *known == number),
            Self::None | Self::Erased { .. } => false,
        }
    }

    /// Whether an event was sealed for certain, at once or in the place of a plain one: then what deletes it is recorded.
    pub(super) fn has_sealed(&self, seq_nr: SeqNr) -> bool {
        match self {
            Self::Live { generations, erased_to: None, .. } => {
                generations.first().is_some_and(|(_, first)| *first <= seq_nr)
            }
            Self::Live { .. } | Self::None | Self::Erased { .. } => false,
        }
    }

    /// Whether a generation of the key was destroyed on purpose.
    pub fn has_erased(&self, number: KeyId) -> bool {
        // Generations begin at 1: 0 is none, erased or not.
        number.0 > 0 && self.erased_to().is_some_and(|to| number <= to)
    }

    /// The last generation that was destroyed on purpose, with all before it.
    pub fn erased_to(&self) -> Option<KeyId> {
        match self {
            Self::None => None,
            Self::Live { erased_to, .. } => *erased_to,
            Self::Erased { erased_to, .. } => Some(*erased_to),
        }
    }

    /// The highest generation that ever was, as far as the record knows.
    pub fn newest(&self) -> Option<KeyId> {
        match self {
            Self::None => None,
            Self::Live { generations, erased_to, .. } => {
                generations.iter().map(|(number, _)| *number).chain(*erased_to).max()
            }
            Self::Erased { erased_to, .. } => Some(*erased_to),
        }
    }
}

impl DataKeys {
    /// What the store says now about each id's key, in the order of `ids`, with one look; no key is opened.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when a record is not what was written, and whatever the records answer.
    pub async fn state(&self, ids: &[&PersistenceId]) -> Vec<Result<KeyState, JournalError>> {
        KeyState::read(&*self.records(), ids).await
    }
}

fn state(scope: &str, record: Option<&Record>) -> Result<KeyState, JournalError> {
    let Some(record) = record else { return Ok(KeyState::None) };
    let (keys, _) = ScopeKeys::read(&scope_key(scope)?, record)?;
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
