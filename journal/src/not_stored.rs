use std::collections::HashMap;

use crate::{JournalError, PersistenceId, Token, Write};

/// Which writers of a list have failed, so that their later entries are answered alike and not stored.
///
/// For authors of journals: ask [`NotStored::earlier`] before an entry is decided, and [`NotStored::remember`] the entry
/// when it was not stored. Costs nothing while nothing fails.
#[derive(Debug, Default, Clone)]
pub struct NotStored {
    failed: HashMap<PersistenceId, HashMap<Token, JournalError>>,
}

impl NotStored {
    /// Nothing has failed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer that an earlier entry of the same id and token got, when that one was not stored.
    pub fn earlier(&self, write: &Write) -> Option<&JournalError> {
        self.earlier_of(write.persistence_id(), write.token())
    }

    /// The same of an entry in another form.
    pub(crate) fn earlier_of(&self, id: &PersistenceId, token: Token) -> Option<&JournalError> {
        if self.failed.is_empty() {
            return None;
        }
        self.failed.get(id)?.get(&token)
    }

    /// Notes that an entry was not stored, or that it is not known; the first answer stays.
    pub fn remember(&mut self, id: &PersistenceId, token: Token, error: &JournalError) {
        self.failed.entry(id.clone()).or_default().entry(token).or_insert_with(|| error.clone());
    }

    /// Whether nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}
