use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::key_records::{
    ActiveKey, Generation, KeyRecord as _, MASTER_PREFIX, MasterKeyUse, WrappedFor, active_key, all_of,
    master_key, master_of, wrap_context,
};
use super::scope::Scope;
use super::{KeyBytes, KeysError, MasterKeyError, MasterKeyId, MasterKeys};
use crate::{JournalError, PersistenceId, RecordChange, RecordKey, Records, Revision, SeqNr, Verdict};

/// The records of keys, and the master keys that open what is in them.
#[derive(Debug)]
pub(super) struct KeyStore {
    pub(super) records: Arc<dyn Records>,
    /// Replaced whole, by a set that was checked.
    masters: RwLock<Arc<dyn MasterKeys>>,
    /// Whoever waits for it takes what the one before has found.
    reloading: tokio::sync::Mutex<()>,
}

/// The master key that wraps what is new, as the store says, and the revision that guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) id: MasterKeyId,
    pub(super) revision: Revision,
    /// How often the active key had become another.
    pub(super) moves: u64,
}

impl Active {
    /// The same change, only made while this is still the active key.
    pub(super) fn guard(&self, change: RecordChange) -> Result<RecordChange, JournalError> {
        Ok(change.guarded_by(active_key()?, self.revision))
    }
}

impl KeyStore {
    pub(super) fn new(records: Arc<dyn Records>, masters: Arc<dyn MasterKeys>) -> Self {
        Self { records, masters: RwLock::new(masters), reloading: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn masters(&self) -> Arc<dyn MasterKeys> {
        self.masters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes newer master keys than `before` if there are any, and they are the ones that the journal needs; answers whether there are.
    ///
    /// # Errors
    /// When what is there now cannot be used. What was there before stays in use.
    pub(super) async fn reload(&self, before: &Arc<dyn MasterKeys>) -> Result<bool, KeysError> {
        let _one_at_a_time = self.reloading.lock().await;
        let now = self.masters();
        if !Arc::ptr_eq(before, &now) {
            return Ok(true);
        }
        let Some(newer) = now.reload().await? else { return Ok(false) };
        self.check_masters(&*newer).await?;
        *self.masters.write().unwrap_or_else(PoisonError::into_inner) = newer;
        Ok(true)
    }

    /// The active key; `None` when nothing was ever sealed here.
    pub(super) async fn active(&self) -> Result<Option<Active>, JournalError> {
        let key = active_key()?;
        let Some(record) = self.records.get(&key).await? else { return Ok(None) };
        let (active, revision) = ActiveKey::read(&key, &record)?;
        Ok(Some(Active { id: MasterKeyId(active.master), revision, moves: active.moves }))
    }

    /// The active key; where there is none, the ring's becomes it.
    pub(super) async fn active_or_first(&self) -> Result<Active, KeysError> {
        for _ in 0..ATTEMPTS {
            if let Some(active) = self.active().await? {
                return Ok(active);
            }
            if let Some(active) = self.activate(None, self.masters().active()).await? {
                return Ok(active);
            }
        }
        Err(busy(&active_key()?))
    }

    /// Makes a master key the active one in the place of `before`; `None` when somebody else was there first.
    pub(super) async fn activate(
        &self,
        before: Option<Active>,
        id: MasterKeyId,
    ) -> Result<Option<Active>, KeysError> {
        // In this order, and the second only while the first is so: no data key is ever wrapped by a key that does not count as used.
        let in_use = self.take_into_use(id).await?;
        let moves = before.map_or(0, |before| before.moves + 1);
        let value = ActiveKey::of(id, moves).to_value();
        let change = RecordChange::set(active_key()?, before.map(|before| before.revision), value)
            .guarded_by(master_key(id)?, in_use);
        match self.change(change).await? {
            Verdict::Set(revision) => Ok(Some(Active { id, revision, moves })),
            Verdict::Changed { .. } | Verdict::GuardChanged { .. } => Ok(None),
        }
    }

    /// Writes the active key's record as it is: only made while nobody else wrote it. `None`: somebody did.
    pub(super) async fn touch(&self, active: Active) -> Result<Option<Active>, JournalError> {
        let value = ActiveKey::of(active.id, active.moves).to_value();
        match self.change(RecordChange::set(active_key()?, Some(active.revision), value)).await? {
            Verdict::Set(revision) => Ok(Some(Active { revision, ..active })),
            Verdict::Changed { .. } | Verdict::GuardChanged { .. } => Ok(None),
        }
    }

    /// Has a master key's record say that data keys may need it; answers the record's revision.
    async fn take_into_use(&self, id: MasterKeyId) -> Result<Revision, KeysError> {
        let key = master_key(id)?;
        for _ in 0..ATTEMPTS {
            let (expected, usage) = match self.records.get(&key).await? {
                None => (None, MasterKeyUse::new(self.check_value(id).await?)),
                Some(record) => {
                    let (mut usage, revision) = MasterKeyUse::read(&key, &record)?;
                    if check(&*self.masters(), id, &usage).await? == Check::Missing {
                        return Err(KeysError::MissingMasterKeys { ids: vec![id] });
                    }
                    // Written also where it is so already: a sweep that began before may not take it away any more.
                    usage.in_use = true;
                    (Some(revision), usage)
                }
            };
            let change = RecordChange::set(key.clone(), expected, usage.to_value());
            if let Verdict::Set(revision) = self.change(change).await? {
                return Ok(revision);
            }
        }
        Err(busy(&key))
    }

    /// Checks that each master key which a data key may need is here, and is the right one. Reads one record a master key.
    pub(super) async fn check_masters(&self, masters: &dyn MasterKeys) -> Result<(), KeysError> {
        let mut missing = Vec::new();
        for (id, usage, _) in self.master_keys().await? {
            if usage.in_use && check(masters, id, &usage).await? == Check::Missing {
                missing.push(id);
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(KeysError::MissingMasterKeys { ids: missing }) }
    }

    /// All master keys that ever became active, by number.
    pub(super) async fn master_keys(
        &self,
    ) -> Result<Vec<(MasterKeyId, MasterKeyUse, Revision)>, JournalError> {
        let mut found = Vec::new();
        for (key, record) in all_of(&*self.records, MASTER_PREFIX).await? {
            let (usage, revision) = MasterKeyUse::read(&key, &record)?;
            found.push((master_of(&key)?, usage, revision));
        }
        found.sort_by_key(|(id, ..)| *id);
        Ok(found)
    }

    async fn check_value(&self, id: MasterKeyId) -> Result<Bytes, KeysError> {
        let zeros = KeyBytes::new(Default::default());
        self.wrap(id, WrappedFor::Check, &zeros)
            .await
            .map_err(|error| KeysError::MasterKey { what: format!("master key {id}"), error })
    }

    /// Wraps a new generation of a scope's key.
    pub(super) async fn wrap_generation(
        &self,
        under: MasterKeyId,
        scope: &Scope,
        (number, from_seq): (u32, SeqNr),
        key: &KeyBytes,
    ) -> Result<Generation, KeysError> {
        let of = WrappedFor::Scope { scope, generation: number, from_seq };
        let wrapped = self
            .wrap(under, of, key)
            .await
            .map_err(|error| KeysError::MasterKey { what: scope.to_string(), error })?;
        Ok(Generation {
            number,
            from_seq: from_seq.get(),
            master: under.0,
            wrapped,
            rekeyed_for: String::new(),
            scope_key: 0,
        })
    }

    /// Opens a generation of a scope's key.
    pub(super) async fn unwrap_generation(
        &self,
        scope: &Scope,
        generation: &Generation,
    ) -> Result<KeyBytes, KeysError> {
        let number = generation.number;
        let from_seq = SeqNr::new(generation.from_seq).ok_or_else(|| JournalError::Corrupt {
            persistence_id: PersistenceId::parse(scope.as_str()).ok(),
            seq_nr: None,
            reason: format!("generation {number} of its data key begins at {}", generation.from_seq),
        })?;
        let of = WrappedFor::Scope { scope, generation: number, from_seq };
        self.unwrap(MasterKeyId(generation.master), of, &generation.wrapped)
            .await
            .map_err(|error| KeysError::MasterKey { what: scope.to_string(), error })
    }

    pub(super) async fn wrap(
        &self,
        under: MasterKeyId,
        of: WrappedFor<'_>,
        key: &KeyBytes,
    ) -> Result<Bytes, MasterKeyError> {
        let context = wrap_context(under, of);
        let masters = self.masters();
        match masters.wrap(under, &context, key).await {
            Err(error) if self.reloaded_after(&masters, &error).await => {
                self.masters().wrap(under, &context, key).await
            }
            result => result,
        }
    }

    pub(super) async fn unwrap(
        &self,
        under: MasterKeyId,
        of: WrappedFor<'_>,
        wrapped: &[u8],
    ) -> Result<KeyBytes, MasterKeyError> {
        let context = wrap_context(under, of);
        let masters = self.masters();
        match masters.unwrap(under, &context, wrapped).await {
            Err(error) if self.reloaded_after(&masters, &error).await => {
                self.masters().unwrap(under, &context, wrapped).await
            }
            result => result,
        }
    }

    /// A key that is not here, or is another, may have been put right meanwhile.
    async fn reloaded_after(&self, before: &Arc<dyn MasterKeys>, error: &MasterKeyError) -> bool {
        if matches!(error, MasterKeyError::Unavailable { .. }) {
            return false;
        }
        self.reload(before).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the master keys that are there now cannot be used; those from before stay in use");
            false
        })
    }

    pub(super) async fn change(&self, change: RecordChange) -> Result<Verdict, JournalError> {
        self.records.change(vec![change]).await.pop().unwrap_or_else(|| Err(no_answer()))
    }
}

async fn check(masters: &dyn MasterKeys, id: MasterKeyId, usage: &MasterKeyUse) -> Result<Check, KeysError> {
    match masters.unwrap(id, &wrap_context(id, WrappedFor::Check), &usage.check).await {
        Ok(_) => Ok(Check::Right),
        Err(MasterKeyError::Missing { .. }) => Ok(Check::Missing),
        Err(MasterKeyError::Refused { .. }) => Err(KeysError::WrongMasterKey { id }),
        Err(error) => Err(KeysError::MasterKey { what: format!("master key {id}"), error }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Right,
    Missing,
}

pub(super) fn no_answer() -> JournalError {
    JournalError::Unknown { reason: "the records gave no answer".into(), source: None }
}

pub(super) fn busy(key: &RecordKey) -> KeysError {
    KeysError::Busy { what: format!("record {key}") }
}

/// How often a change that others were faster with is tried.
pub(super) const ATTEMPTS: usize = 32;
