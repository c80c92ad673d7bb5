//! Keys of scopes: between the master key and the data keys of ids.
//!
//! ```text
//!  master key ──wraps──▶ encryption/key/tenant-7        the scope's key, a generation at a time
//!                           └─wraps──▶ encryption/key/account|alice, encryption/key/account|bob, …   with "scope": tenant-7
//! ```
//!
//! It is a record like that of an id, of a name that no id has. The key of an id is only stored while the scope's record is as it was
//! read: once that says "erased", no key is made under it any more, and a look at all records finds every id that it had.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::cipher::KEY_BYTES;
use super::data_keys::Opened;
use super::key_records::{
    Generation, KeyRecord as _, SCOPE_PREFIX, ScopeKeys, scope_key, scope_wrap_context,
};
use super::key_store::{ATTEMPTS, Active, busy};
use super::rekey::Step;
use super::scope::Scope;
use super::{DataKey, DataKeys, KeyBytes, KeyScope, KeysError, Seal};
use crate::{JournalError, PersistenceId, RecordChange, RecordKey, Records, Revision, SeqNr, Verdict};

/// What wraps a generation of an id's key that is about to be stored.
pub(super) enum Wrapping {
    Master(Active),
    Scope { name: String, key: Arc<DataKey>, revision: Revision },
}

impl Wrapping {
    /// The change is only made while this is still what wraps.
    pub(super) fn guard(&self, change: RecordChange) -> Result<RecordChange, JournalError> {
        match self {
            Self::Master(active) => active.guard(change),
            Self::Scope { name, revision, .. } => Ok(change.guarded_by(scope_key(name)?, *revision)),
        }
    }
}

impl DataKeys {
    /// The scope of an id that has no key yet.
    pub(super) fn scope_of(&self, id: &PersistenceId) -> String {
        let scope = self.shared.scopes.as_ref().and_then(|scopes| scopes.of(id));
        scope.map_or_else(String::new, |scope| scope.as_str().to_owned())
    }

    /// What wraps the next key of an id that belongs to a scope; the empty one is none.
    ///
    /// # Errors
    /// [`JournalError::Erased`] without a number when the scope was erased.
    pub(super) async fn wrapping(&self, id: &PersistenceId, scope: &str) -> Result<Wrapping, KeysError> {
        let active = self.shared.active().ok_or(KeysError::ForReading)?;
        if scope.is_empty() {
            return Ok(Wrapping::Master(active));
        }
        for _ in 0..ATTEMPTS {
            let opened = self.scope_opened(scope).await?;
            if let Some(opened) = &opened
                && let Some(key) = opened.newest()
            {
                let (name, key, revision) = (scope.to_owned(), key.clone(), opened.revision);
                return Ok(Wrapping::Scope { name, key, revision });
            }
            if opened.as_ref().is_some_and(|opened| opened.record.erased().is_some()) {
                return Err(JournalError::Erased { persistence_id: id.clone(), seq_nr: None }.into());
            }
            let (revision, record) = match opened {
                Some(opened) => (Some(opened.revision), opened.record.clone()),
                None => (None, ScopeKeys::new()),
            };
            self.make_scope_key(scope, revision, record, "").await?;
        }
        Err(busy(&scope_key(scope)?))
    }

    /// Stores a fresh generation of a scope's key, if nobody was faster.
    async fn make_scope_key(
        &self,
        scope: &str,
        revision: Option<Revision>,
        mut record: ScopeKeys,
        incident: &str,
    ) -> Result<(), KeysError> {
        let active = self.shared.active().ok_or(KeysError::ForReading)?;
        let number = record.next_number().ok_or_else(|| {
            JournalError::rejected(scope, "its key has the last generation there is".to_owned())
        })?;
        let key = KeyBytes::random()?;
        let of = (number, SeqNr::FIRST);
        let mut made = self.shared.store.wrap_generation(active.id, &Scope::from(scope), of, &key).await?;
        incident.clone_into(&mut made.rekeyed_for);
        record.generations.push(made);
        let change = RecordChange::set(scope_key(scope)?, revision, record.to_value());
        let verdict = self.shared.store.change(active.guard(change)?).await?;
        self.shared.cache.forget(scope);
        if let Verdict::GuardChanged { .. } = verdict {
            self.shared.read_active().await?;
        }
        Ok(())
    }

    /// Wraps a generation of an id's key.
    pub(super) async fn wrap_under(
        &self,
        wrapping: &Wrapping,
        id: &Scope,
        (number, from_seq): (u32, SeqNr),
        key: &KeyBytes,
    ) -> Result<Generation, KeysError> {
        match wrapping {
            Wrapping::Master(active) => {
                self.shared.store.wrap_generation(active.id, id, (number, from_seq), key).await
            }
            Wrapping::Scope { name, key: scope_key, .. } => {
                let scope_key_number = scope_key.id().0;
                let context = scope_wrap_context(name, scope_key_number, id, (number, from_seq));
                let mut text = Zeroizing::new(*key.as_bytes());
                let seal = scope_key
                    .seal(&context, &mut text[..])
                    .map_err(|used_up| JournalError::key(name, used_up.to_string()))?;
                let wrapped = [&seal.nonce[..], &text[..], &seal.tag[..]].concat();
                Ok(Generation {
                    number,
                    from_seq: from_seq.get(),
                    master: 0,
                    wrapped: wrapped.into(),
                    rekeyed_for: String::new(),
                    scope_key: scope_key_number,
                })
            }
        }
    }

    /// Opens a generation of an id's key; `None`: the scope's key that wrapped it was destroyed on purpose.
    pub(super) async fn open_generation(
        &self,
        id: &Scope,
        scope: &str,
        generation: &Generation,
    ) -> Result<Option<KeyBytes>, KeysError> {
        if generation.scope_key == 0 {
            return self.shared.store.unwrap_generation(id, generation).await.map(Some);
        }
        let number = crate::KeyId(generation.scope_key);
        for fresh in [false, true] {
            if fresh {
                self.shared.cache.forget(scope);
            }
            let Some(opened) = Box::pin(self.scope_opened(scope)).await? else { continue };
            if opened.was_erased(number) {
                return Ok(None);
            }
            if let Some(key) = opened.to_open(number) {
                return Ok(Some(open_with(key, id, scope, generation)?));
            }
        }
        let reason = format!(
            "there is no generation {number} of the key of its scope {scope}; restore the records from a backup of the time when it was there"
        );
        Err(JournalError::key(id, reason).into())
    }

    /// A scope's record and its keys, from memory or from the store.
    async fn scope_opened(&self, scope: &str) -> Result<Option<Arc<Opened>>, JournalError> {
        if let Some(known) = self.shared.cache.get(scope) {
            return Ok(Some(known));
        }
        let note = self.shared.cache.note(scope);
        let Some(record) = self.shared.store.records.get(&scope_key(scope)?).await? else { return Ok(None) };
        self.opened(&Scope::from(scope), &record, note).await.map(Some)
    }

    /// Has a scope's key, if it has one, be one that was made for an incident.
    pub(super) async fn rekey_scope(&self, scope: &str, incident: &str) -> Result<(), KeysError> {
        for _ in 0..ATTEMPTS {
            let Some((record, revision)) = self.stored_as(scope).await? else { return Ok(()) };
            match Step::of(&record, incident) {
                Step::Make => self.make_scope_key(scope, Some(revision), record, incident).await?,
                Step::Nothing | Step::SealAgain(_) => return Ok(()),
            }
        }
        Err(busy(&scope_key(scope)?))
    }

    /// Destroys the generations of a scope's key before the one that was made for an incident; what they still wrap is wrapped by the newest
    /// first.
    pub(super) async fn drop_scope_before(&self, scope: &str, incident: &str) -> Result<(), KeysError> {
        let Some((record, _)) = self.stored_as(scope).await? else { return Ok(()) };
        let Step::SealAgain(target) = Step::of(&record, incident) else { return Ok(()) };
        // From here on every key of an id that is stored is under the target, or a later one.
        for id in ids_in(&*self.records(), Some(scope)).await? {
            self.wrap_again(&id, target.0).await?;
        }
        self.drop_generations(scope, target).await
    }

    /// Has a key of an id be wrapped by its scope's newest key where an older one than `target` does.
    async fn wrap_again(&self, id: &PersistenceId, target: u32) -> Result<(), KeysError> {
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.stored(id).await? else { return Ok(()) };
            let (erased_to, name) = (record.erased_to, Scope::from(id));
            let is_older = |generation: &Generation| {
                generation.number > erased_to && (1..target).contains(&generation.scope_key)
            };
            if !record.generations.iter().any(is_older) {
                return Ok(());
            }
            let wrapping = self.wrapping(id, &record.scope).await?;
            let scope = record.scope.clone();
            for generation in record.generations.iter_mut().filter(|generation| is_older(generation)) {
                let Some(key) = self.open_generation(&name, &scope, generation).await? else { return Ok(()) };
                let from = SeqNr::new(generation.from_seq).unwrap_or(SeqNr::MAX);
                let rewrapped = self.wrap_under(&wrapping, &name, (generation.number, from), &key).await?;
                let rekeyed_for = std::mem::take(&mut generation.rekeyed_for);
                *generation = Generation { rekeyed_for, ..rewrapped };
            }
            let change = RecordChange::set(scope_key(id.as_str())?, Some(revision), record.to_value());
            self.store_wrapped(&wrapping, change).await?;
            self.forget(id);
        }
        Err(busy(&scope_key(id.as_str())?))
    }

    /// Stores a record of keys that were wrapped; whoever finds that something else wraps now has that read again.
    pub(super) async fn store_wrapped(
        &self,
        wrapping: &Wrapping,
        change: RecordChange,
    ) -> Result<bool, KeysError> {
        let verdict = self.shared.store.change(wrapping.guard(change)?).await?;
        if let Verdict::GuardChanged { .. } = verdict {
            self.wrapped_otherwise(wrapping).await?;
        }
        Ok(matches!(verdict, Verdict::Set(_)))
    }

    /// Reads again what wraps.
    pub(super) async fn wrapped_otherwise(&self, wrapping: &Wrapping) -> Result<(), JournalError> {
        match wrapping {
            Wrapping::Master(_) => self.shared.read_active().await.map(drop),
            Wrapping::Scope { name, .. } => {
                self.shared.cache.forget(name);
                Ok(())
            }
        }
    }
}

fn open_with(
    key: &DataKey,
    id: &Scope,
    scope: &str,
    generation: &Generation,
) -> Result<KeyBytes, JournalError> {
    let refused = |reason: &str| JournalError::key(id, reason);
    let from_seq = SeqNr::new(generation.from_seq).unwrap_or(SeqNr::MAX);
    let context = scope_wrap_context(scope, generation.scope_key, id, (generation.number, from_seq));
    let parts = generation.wrapped.split_first_chunk().and_then(|(nonce, rest)| {
        let (text, tag) = rest.split_last_chunk()?;
        Some((nonce, <[u8; KEY_BYTES]>::try_from(text).ok()?, tag))
    });
    let Some((nonce, text, tag)) = parts else { return Err(refused("its wrapped key was cut")) };
    let mut bytes = Zeroizing::new(text);
    key.open(&Seal { nonce: *nonce, tag: *tag }, &context, &mut bytes[..])
        .map_err(|_| refused("its wrapped key is not what the key of its scope wrapped"))?;
    Ok(KeyBytes::new(*bytes))
}

/// The ids of a scope, or of any, that have a record; reads the record of every key.
pub(super) async fn ids_in(
    records: &dyn Records,
    scope: Option<&str>,
) -> Result<Vec<PersistenceId>, JournalError> {
    let mut ids = Vec::new();
    each_record(records, |name, keys| {
        if let Ok(id) = PersistenceId::parse(name)
            && scope.map_or(!keys.scope.is_empty(), |scope| keys.scope == scope)
        {
            ids.push(id);
        }
    })
    .await?;
    Ok(ids)
}

/// The scopes that have a record.
pub(super) async fn all_scopes(records: &dyn Records) -> Result<Vec<KeyScope>, JournalError> {
    let mut scopes = Vec::new();
    each_record(records, |name, _| scopes.extend(KeyScope::new(name))).await?;
    Ok(scopes)
}

async fn each_record(
    records: &dyn Records,
    mut each: impl FnMut(&str, &ScopeKeys) + Send,
) -> Result<(), JournalError> {
    let mut after: Option<RecordKey> = None;
    loop {
        let page = records.list(SCOPE_PREFIX, after.as_ref(), PAGE).await?;
        for (name, record) in &page {
            // One that cannot be read cannot be opened either; who needs it says so.
            if let Ok((keys, _)) = ScopeKeys::read(name, record) {
                each(name.as_str().strip_prefix(SCOPE_PREFIX).unwrap_or_default(), &keys);
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(name, _)| name);
    }
}

const PAGE: usize = 1_000;
