//! Erasing a scope: its key is destroyed, and with it those of all its ids.
//!
//! ```text
//!  log line ─▶ the scope's record says "erased" ─▶ each id erased by itself ─▶ the scope's wrapped keys leave the record
//!              no key is made under it any more,    owners are superseded
//!              and what it wraps opens nothing
//! ```

use super::Eraser;
use super::erasure::{EraseError, Erased, newest};
use super::erasure_log::ErasureLog;
use super::key_records::{ScopeKeys, scope_key};
use super::key_scope::KeyScope;
use super::key_store::{ATTEMPTS, busy};
use super::scoped_keys::{all_scopes, ids_in};
use crate::{JournalError, KeyId, PersistenceId, Timestamp};

/// A scope that was erased: a line of an [`ErasureLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedScope {
    /// Which.
    pub scope: KeyScope,
    /// What this generation of its key and those before it wrapped.
    pub erased_to: KeyId,
    /// When; by the store's clock.
    pub at: Timestamp,
}

impl Eraser {
    /// The ids of a scope that ever had a key. Reads the record of every key.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn ids_of(&self, scope: &KeyScope) -> Result<Vec<PersistenceId>, JournalError> {
        ids_in(&*self.records, Some(scope.as_str())).await
    }

    /// The scopes that ever had a key. Reads the record of every key.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn scopes(&self) -> Result<Vec<KeyScope>, JournalError> {
        all_scopes(&*self.records).await
    }

    /// Erases all ids of a scope, and the scope: nothing is sealed in it any more, until it is [allowed](Eraser::allow_scope).
    ///
    /// From the moment on at which the scope's record says so nobody who reads it opens anything of its ids. Then each is erased as by
    /// [`Eraser::erase`], and has its own line in the log. An id that gets its first key meanwhile gets none.
    ///
    /// # Errors
    /// As [`Eraser::erase`]; [`EraseError::UnknownScope`] when it never had a key, and [`EraseError::InTheClear`] for the first id of which
    /// something would be left readable: nothing is erased then. After an error of the store, call it again.
    ///
    /// # Cancel safety
    /// As [`Eraser::erase`].
    pub async fn erase_scope(
        &self,
        scope: &KeyScope,
        log: &mut ErasureLog,
    ) -> Result<Vec<Erased>, EraseError> {
        for id in self.look_at_scope(scope).await? {
            self.look(&id).await?;
        }
        let name = scope.as_str();
        for _ in 0..ATTEMPTS {
            let Some((record, revision)) = self.record_as(name).await? else {
                return Err(EraseError::UnknownScope { scope: scope.clone() });
            };
            if let Some(newest) = newest(&record) {
                let (scope, at) = (scope.clone(), self.records.now().await?);
                let erased = ErasedScope { scope, erased_to: KeyId(newest), at };
                log.append_scope(&erased)?;
                if !self.mark_as(name, (erased.erased_to, erased.at), record, revision).await? {
                    continue;
                }
            }
            self.announce().await?;
            // No id gets its first key in it any more: these are all.
            let mut all = Vec::new();
            for id in self.ids_of(scope).await? {
                all.push(self.erase(&id, log).await?);
            }
            self.destroy_scope_keys(scope).await?;
            return Ok(all);
        }
        Err(busy(&scope_key(name)?).into())
    }

    /// Which ids [`Eraser::erase_scope`] would erase. Changes nothing.
    ///
    /// # Errors
    /// [`EraseError::UnknownScope`], and whatever the records answer.
    pub async fn look_at_scope(&self, scope: &KeyScope) -> Result<Vec<PersistenceId>, EraseError> {
        if self.record_as(scope.as_str()).await?.is_none() {
            return Err(EraseError::UnknownScope { scope: scope.clone() });
        }
        Ok(self.ids_of(scope).await?)
    }

    /// Whether a scope's key is destroyed as far as a log says. Changes nothing.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn is_scope_erased(&self, logged: &ErasedScope) -> Result<bool, EraseError> {
        let record = self.record_as(logged.scope.as_str()).await?;
        Ok(record.is_some_and(|(record, _)| {
            record.erased_to >= logged.erased_to.0 && record.live().count() == record.generations.len()
        }))
    }

    /// Destroys a scope's key again that a log says was erased, after a backup from before that was restored. Its ids have lines of their own.
    ///
    /// # Errors
    /// As [`Eraser::erase_again`].
    pub async fn erase_scope_again(&self, logged: &ErasedScope) -> Result<(), EraseError> {
        let name = logged.scope.as_str();
        for _ in 0..ATTEMPTS {
            let of = (logged.erased_to, logged.at);
            let changed = match self.record_as(name).await? {
                Some((record, revision)) if record.erased_to < logged.erased_to.0 => {
                    self.mark_as(name, of, record, revision).await?
                }
                Some(_) => true,
                None => {
                    let mut record = ScopeKeys::new();
                    (record.erased_to, record.erased_at) = (logged.erased_to.0, logged.at.as_micros());
                    self.set_as(name, None, &record).await?
                }
            };
            if changed {
                self.announce().await?;
                return self.destroy_scope_keys(&logged.scope).await;
            }
        }
        Err(busy(&scope_key(name)?).into())
    }

    /// Allows a scope that was erased to be used again, and a [new life](Eraser::allow_new_life) under each of its ids. Answers how many
    /// ids there are that may live again now.
    ///
    /// # Errors
    /// [`EraseError::UnknownScope`], and whatever the records answer.
    pub async fn allow_scope(&self, scope: &KeyScope) -> Result<u64, EraseError> {
        let name = scope.as_str();
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.record_as(name).await? else {
                return Err(EraseError::UnknownScope { scope: scope.clone() });
            };
            if record.erased().is_some() {
                // Of the old keys nothing is left when something new may be wrapped.
                self.destroy_scope_keys(scope).await?;
                let revision = match self.record_as(name).await? {
                    Some((destroyed, revision)) => {
                        record = destroyed;
                        revision
                    }
                    None => revision,
                };
                record.lives_again = true;
                if !self.set_as(name, Some(revision), &record).await? {
                    continue;
                }
            }
            let mut allowed = 0;
            for id in self.ids_of(scope).await? {
                allowed += u64::from(self.allow_new_life(&id).await?);
            }
            self.announce().await?;
            return Ok(allowed);
        }
        Err(busy(&scope_key(name)?).into())
    }

    /// Takes what was erased out of a scope's record.
    async fn destroy_scope_keys(&self, scope: &KeyScope) -> Result<(), EraseError> {
        let name = scope.as_str();
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.record_as(name).await? else { return Ok(()) };
            let live: Vec<_> = record.live().cloned().collect();
            if live.len() == record.generations.len() {
                return Ok(());
            }
            record.generations = live;
            if self.set_as(name, Some(revision), &record).await? {
                return Ok(());
            }
        }
        Err(busy(&scope_key(name)?).into())
    }
}
