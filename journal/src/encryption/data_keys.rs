use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

use super::keeper::Keeper;
use super::key_cache::{KeyCache, Lookup, Note};
use super::key_records::{Generation, KeyRecord as _, ScopeKeys, scope_key};
use super::key_store::{ATTEMPTS, Active, KeyStore, busy, no_answer};
use super::registration::Registration;
use super::scope::Scope;
use super::scoped_keys::Wrapping;
use super::{DataKey, DataKeyOptions, KeyBytes, KeysError, MasterKeys, ScopeOf};
use crate::{JournalError, KeyId, PersistenceId, Record, RecordChange, Records, Revision, SeqNr, Verdict};

/// The data keys of a journal: one per persistence id, made before its first event is sealed, kept in the journal's [`Records`], each
/// wrapped by the active master key.
///
/// Which master key is active is decided by the store: a key is only made while the record that names it is as it was read. Of two who make
/// a key for one id, the loser takes the winner's. A key is stored before it is given to anybody, so a crash leaves at most a key
/// that nothing uses, and never an event without its key.
///
/// Cloning shares everything.
#[derive(Clone)]
pub struct DataKeys {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) store: Arc<KeyStore>,
    /// `None`: opened for reading, nothing is made.
    active: Option<Mutex<Active>>,
    pub(super) cache: KeyCache<Arc<Opened>>,
    pub(super) chain: OnceCell<KeyBytes>,
    /// `None`: opened for reading, and nobody waits for this process.
    pub(super) keeper: Option<Keeper>,
    pub(super) scopes: Option<ScopeOf>,
}

impl Shared {
    pub(super) fn active(&self) -> Option<Active> {
        let active = self.active.as_ref()?;
        Some(*active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_active(&self, active: Active) {
        if let Some(known) = &self.active {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = active;
        }
    }

    /// Keeps a scope's keys, unless they were forgotten since the note was taken, or newer ones are known.
    fn keep(&self, scope: Scope, note: Note, opened: Arc<Opened>) {
        let revision = opened.revision;
        self.cache.keep(scope, note, opened, |known| known.revision > revision);
    }

    /// Reads again which master key is active.
    pub(super) async fn read_active(&self) -> Result<Active, JournalError> {
        let active = self.store.active().await?.ok_or_else(|| {
            JournalError::key(
                "the active master key",
                "its record is gone; restore the records from a backup",
            )
        })?;
        self.set_active(active);
        Ok(active)
    }
}

/// A key that was in memory. It does not keep it there.
#[derive(Debug, Clone)]
pub(super) struct HeldKey {
    lookup: Lookup,
    key: Weak<DataKey>,
}

/// A scope's record and its keys.
pub(super) struct Opened {
    pub(super) record: ScopeKeys,
    pub(super) revision: Revision,
    keys: Vec<Arc<DataKey>>,
}

impl Opened {
    fn to_seal(&self, seq_nr: SeqNr) -> Option<&Arc<DataKey>> {
        self.keys.last().filter(|key| key.seals(seq_nr))
    }

    /// The id's answer when what is here was erased.
    fn erased(&self, id: &PersistenceId, seq_nr: SeqNr) -> Option<JournalError> {
        self.record
            .erased()
            .map(|_| JournalError::Erased { persistence_id: id.clone(), seq_nr: Some(seq_nr) })
    }

    /// The key that wraps for a scope.
    pub(super) fn newest(&self) -> Option<&Arc<DataKey>> {
        self.keys.last()
    }

    pub(super) fn to_open(&self, id: KeyId) -> Option<&Arc<DataKey>> {
        self.keys.iter().rfind(|key| key.id() == id)
    }

    /// Whether what this generation sealed was erased. Generations begin at 1: 0 is none.
    pub(super) fn was_erased(&self, id: KeyId) -> bool {
        (1..=self.record.erased_to).contains(&id.0)
    }
}

impl DataKeys {
    /// Checks that all master keys that are needed are here and are the right ones, and opens the keys. Where nothing was ever sealed, the
    /// active key of `masters` becomes the journal's.
    ///
    /// The process is registered: a rotation waits until it has the new master key. A task looks for newer master keys and keeps the
    /// registration, until [`DataKeys::close`] or the last clone is dropped.
    ///
    /// # Errors
    /// [`KeysError::MissingMasterKeys`], [`KeysError::WrongMasterKey`], and whatever the records and the master keys answer.
    ///
    /// # Cancel safety
    /// The process may stay registered until its lease ends.
    pub async fn open(
        records: Arc<dyn Records>,
        masters: Arc<dyn MasterKeys>,
        options: DataKeyOptions,
    ) -> Result<Self, KeysError> {
        let store = Arc::new(KeyStore::new(records, masters));
        let (registration, active) = Registration::begin(&store, &options).await?;
        let shared = Arc::new_cyclic(|shared| Shared {
            store,
            active: Some(Mutex::new(active)),
            cache: KeyCache::new(options.cached_ids),
            chain: OnceCell::new(),
            keeper: Some(Keeper::start(shared.clone(), registration, &options)),
            scopes: options.scopes.clone(),
        });
        Ok(Self { shared })
    }

    /// The same to read with: makes no key, writes no record and registers nobody. Opens records that can only be read, too.
    ///
    /// # Errors
    /// As [`DataKeys::open`].
    pub async fn open_for_reading(
        records: Arc<dyn Records>,
        masters: Arc<dyn MasterKeys>,
        options: DataKeyOptions,
    ) -> Result<Self, KeysError> {
        match Self::open_partly(records, masters, options).await? {
            (keys, None) => Ok(keys),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same with whatever master keys are here, and what [`DataKeys::open_for_reading`] would have refused: what needs another master key is
    /// [`JournalError::Key`] when it is wanted.
    ///
    /// # Errors
    /// Whatever the records answer, and master keys that cannot be asked.
    pub async fn open_partly(
        records: Arc<dyn Records>,
        masters: Arc<dyn MasterKeys>,
        options: DataKeyOptions,
    ) -> Result<(Self, Option<KeysError>), KeysError> {
        let store = Arc::new(KeyStore::new(records, masters));
        let lacks = match store.check_masters(&*store.masters()).await {
            Ok(()) => None,
            Err(
                error @ (KeysError::MissingMasterKeys { .. }
                | KeysError::WrongMasterKey { .. }
                | KeysError::Journal(JournalError::Corrupt { .. })),
            ) => Some(error),
            Err(error) => return Err(error),
        };
        let (cache, chain) = (KeyCache::new(options.cached_ids), OnceCell::new());
        let shared = Shared { store, active: None, cache, chain, keeper: None, scopes: options.scopes };
        Ok((Self { shared: Arc::new(shared) }, lacks))
    }

    /// Ends the registration, so that no rotation waits for this process; nothing may be sealed with these keys after it. Safe to call
    /// again.
    pub async fn close(&self) {
        if let Some(keeper) = &self.shared.keeper {
            keeper.stop(&self.shared.store).await;
        }
    }

    /// The key that seals an id's events from this number on, when it is in memory.
    pub fn to_seal_cached(&self, id: &PersistenceId, seq_nr: SeqNr) -> Option<Arc<DataKey>> {
        self.shared.cache.get(id.as_str())?.to_seal(seq_nr).cloned()
    }

    /// The same, to be held by who seals the id's next events.
    pub(super) fn to_seal_held(&self, id: &PersistenceId, seq_nr: SeqNr) -> Option<(Arc<DataKey>, HeldKey)> {
        let lookup = self.shared.cache.lookup(id.as_str());
        let key = self.to_seal_cached(id, seq_nr)?;
        let held = HeldKey { lookup, key: Arc::downgrade(&key) };
        Some((key, held))
    }

    /// A key that is held, when it is the one that a lookup would find.
    pub(super) fn held(&self, held: &HeldKey, seq_nr: SeqNr) -> Option<Arc<DataKey>> {
        let key = held.key.upgrade().filter(|key| key.seals(seq_nr))?;
        self.shared.cache.is_current(held.lookup).then_some(key)
    }

    /// The keys that seal each id's events from this number on, in the order of `wanted`. Those that are missing or used up are made,
    /// all in one change of the store.
    ///
    /// # Errors
    /// [`JournalError::Key`] when no master key can wrap or open a key, [`JournalError::Erased`] when the id's key was erased,
    /// [`JournalError::Rejected`] when the keys were opened for reading, and whatever the records answer. After
    /// [`JournalError::Unknown`] a key may be stored; asking again finds it.
    ///
    /// # Cancel safety
    /// A key that was being made may be stored; asking again finds it.
    pub async fn to_seal(
        &self,
        wanted: &[(&PersistenceId, SeqNr)],
    ) -> Vec<Result<Arc<DataKey>, JournalError>> {
        let mut answers: Vec<Option<Result<Arc<DataKey>, JournalError>>> =
            wanted.iter().map(|(id, seq_nr)| self.to_seal_cached(id, *seq_nr).map(Ok)).collect();
        for _ in 0..ATTEMPTS {
            let open: Vec<usize> = (0..wanted.len()).filter(|n| answers[*n].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let ids: Vec<&PersistenceId> = open.iter().map(|n| wanted[*n].0).collect();
            let notes: Vec<_> = ids.iter().map(|id| self.shared.cache.note(id.as_str())).collect();
            let found = self.load(&ids).await;
            let mut changes = Vec::new();
            let mut makes = Vec::new();
            for ((n, note), found) in open.into_iter().zip(notes).zip(found) {
                let (id, seq_nr) = wanted[n];
                let before = match found {
                    Ok(before) => before,
                    Err(error) => {
                        answers[n] = Some(Err(error));
                        continue;
                    }
                };
                if let Some(key) = before.as_ref().and_then(|opened| opened.to_seal(seq_nr)) {
                    answers[n] = Some(Ok(key.clone()));
                    continue;
                }
                if let Some(erased) = before.as_ref().and_then(|opened| opened.erased(id, seq_nr)) {
                    answers[n] = Some(Err(erased));
                    continue;
                }
                match self.make(id, seq_nr, before).await {
                    Ok((change, made, wrapping)) => {
                        changes.push(change);
                        makes.push((n, note, made, wrapping));
                    }
                    Err(KeysError::Journal(JournalError::Erased { persistence_id, .. })) => {
                        answers[n] = Some(Err(JournalError::Erased { persistence_id, seq_nr: Some(seq_nr) }));
                    }
                    Err(error) => answers[n] = Some(Err(error.into_journal(id.as_str()))),
                }
            }
            if changes.is_empty() {
                continue;
            }
            let mut verdicts = self.shared.store.records.change(changes).await.into_iter();
            let mut outdated = Vec::new();
            for (n, note, mut made, wrapping) in makes {
                match verdicts.next().unwrap_or_else(|| Err(no_answer())) {
                    Ok(Verdict::Set(revision)) => {
                        made.revision = revision;
                        answers[n] = made.keys.last().cloned().map(Ok);
                        self.shared.keep(wanted[n].0.into(), note, Arc::new(made));
                    }
                    // Somebody else made one: the next round reads it.
                    Ok(Verdict::Changed { .. }) => {}
                    Ok(Verdict::GuardChanged { .. }) => outdated.push(wrapping),
                    Err(error) => answers[n] = Some(Err(error)),
                }
            }
            outdated.dedup_by(|later, first| {
                matches!((later, first), (Wrapping::Master(_), Wrapping::Master(_)))
            });
            for wrapping in outdated {
                if let Err(error) = self.wrapped_otherwise(&wrapping).await {
                    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                        *answer = Some(Err(error.clone()));
                    }
                }
            }
        }
        let tried = |id: &PersistenceId| match scope_key(id.as_str()) {
            Ok(key) => busy(&key).into_journal(id.as_str()),
            Err(error) => error,
        };
        answers
            .into_iter()
            .zip(wanted)
            .map(|(answer, (id, _))| answer.unwrap_or_else(|| Err(tried(id))))
            .collect()
    }

    /// The key that opens what it sealed for an id, when it is in memory.
    pub fn to_open_cached(&self, id: &PersistenceId, key: KeyId) -> Option<Arc<DataKey>> {
        self.shared.cache.get(id.as_str())?.to_open(key).cloned()
    }

    /// What is known without a look at the store about what opens an id's event.
    pub(super) fn known_to_open(
        &self,
        id: &PersistenceId,
        key: KeyId,
    ) -> Option<Result<Arc<DataKey>, JournalError>> {
        let opened = self.shared.cache.get(id.as_str())?;
        if opened.was_erased(key) {
            return Some(Err(JournalError::Erased { persistence_id: id.clone(), seq_nr: None }));
        }
        opened.to_open(key).cloned().map(Ok)
    }

    /// The keys that open what they sealed for each id, in the order of `wanted`; all that are not in memory with one look at the store.
    ///
    /// # Errors
    /// [`JournalError::Key`] when there is no such key, or no master key opens it, [`JournalError::Erased`] (without a number) when it was
    /// erased, and whatever the records answer.
    pub async fn to_open(
        &self,
        wanted: &[(&PersistenceId, KeyId)],
    ) -> Vec<Result<Arc<DataKey>, JournalError>> {
        let cached: Vec<_> = wanted.iter().map(|(id, key)| self.known_to_open(id, *key)).collect();
        let missing: Vec<&PersistenceId> =
            wanted.iter().zip(&cached).filter(|(_, key)| key.is_none()).map(|((id, _), _)| *id).collect();
        let mut loaded = self.load(&missing).await.into_iter();
        wanted
            .iter()
            .zip(cached)
            .map(|((id, key), cached)| {
                if let Some(found) = cached {
                    return found;
                }
                let opened = loaded.next().unwrap_or_else(|| Err(no_answer()))?;
                if opened.as_ref().is_some_and(|opened| opened.was_erased(*key)) {
                    return Err(JournalError::Erased { persistence_id: (*id).clone(), seq_nr: None });
                }
                opened.as_ref().and_then(|opened| opened.to_open(*key)).cloned().ok_or_else(|| {
                    let reason = format!("there is no generation {key} of its data key; restore the records from a backup of the time when it was there");
                    JournalError::key(id, reason)
                })
            })
            .collect()
    }

    /// Has an id's keys read again when they are wanted next: call it when somebody else may have changed them.
    pub fn forget(&self, id: &PersistenceId) {
        self.shared.cache.forget(id.as_str());
    }

    pub(super) async fn records_of(
        &self,
        ids: &[&PersistenceId],
    ) -> Result<Vec<Option<Record>>, JournalError> {
        let keys = ids.iter().map(|id| scope_key(id.as_str())).collect::<Result<Vec<_>, _>>()?;
        self.shared.store.records.get_all(&keys).await
    }

    /// Where the keys are.
    pub(super) fn records(&self) -> Arc<dyn Records> {
        self.shared.store.records.clone()
    }

    /// Reads and opens what is stored for these ids, and keeps it.
    async fn load(&self, ids: &[&PersistenceId]) -> Vec<Result<Option<Arc<Opened>>, JournalError>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let notes: Vec<_> = ids.iter().map(|id| self.shared.cache.note(id.as_str())).collect();
        let records = match self.records_of(ids).await {
            Ok(records) => records,
            Err(error) => return ids.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut records = records.into_iter();
        let mut found = Vec::with_capacity(ids.len());
        for (id, note) in ids.iter().zip(notes) {
            found.push(match records.next().flatten() {
                None => Ok(None),
                Some(record) => self.opened(&Scope::from(*id), &record, note).await.map(Some),
            });
        }
        found
    }

    pub(super) async fn opened(
        &self,
        scope: &Scope,
        record: &Record,
        note: Note,
    ) -> Result<Arc<Opened>, JournalError> {
        // Counts of what a key has sealed go on while its record is the same.
        if let Some(known) =
            self.shared.cache.get(scope.as_str()).filter(|known| known.revision == record.revision)
        {
            return Ok(known);
        }
        let (mut record, revision) = ScopeKeys::read(&scope_key(scope.as_str())?, record)?;
        let mut keys = Vec::with_capacity(record.generations.len());
        let mut erased_to = 0;
        for generation in record.live() {
            let key = self.open_generation(scope, &record.scope, generation).await;
            match key.map_err(|error| error.into_journal(scope.as_str()))? {
                Some(key) => keys.push(data_key(scope, generation, &key)),
                None => erased_to = generation.number,
            }
        }
        if erased_to > 0 {
            // With its scope; whoever erases that is on the way to this record.
            (record.erased_to, record.lives_again) = (erased_to, false);
        }
        let opened = Arc::new(Opened { record, revision, keys });
        self.shared.keep(scope.clone(), note, opened.clone());
        Ok(opened)
    }

    /// The next generation of an id's key, and the change that stores it.
    async fn make(
        &self,
        id: &PersistenceId,
        seq_nr: SeqNr,
        before: Option<Arc<Opened>>,
    ) -> Result<(RecordChange, Opened, Wrapping), KeysError> {
        if self.shared.active().is_none() {
            return Err(JournalError::rejected(id, "the keys were opened for reading: none is made").into());
        }
        let scope = Scope::from(id);
        let (expected, mut record, mut keys) = match before {
            None => (None, ScopeKeys::in_scope(self.scope_of(id)), Vec::new()),
            Some(before) => (Some(before.revision), before.record.clone(), before.keys.clone()),
        };
        let number = record.next_number().ok_or_else(|| {
            JournalError::rejected(id, "its data key has the last generation there is".to_owned())
        })?;
        let key = KeyBytes::random()?;
        let wrapping = self.wrapping(id, &record.scope).await?;
        let generation = self.wrap_under(&wrapping, &scope, (number, seq_nr), &key).await?;
        keys.push(data_key(&scope, &generation, &key));
        record.generations.push(generation);
        let change = RecordChange::set(scope_key(id.as_str())?, expected, record.to_value());
        // The revision is known once it is stored.
        let made = Opened { record, revision: Revision(0), keys };
        Ok((wrapping.guard(change)?, made, wrapping))
    }
}

fn data_key(scope: &Scope, generation: &Generation, key: &KeyBytes) -> Arc<DataKey> {
    // A number that is none did not open.
    let from_seq = SeqNr::new(generation.from_seq).unwrap_or(SeqNr::MAX);
    Arc::new(DataKey::new(scope.clone(), KeyId(generation.number), from_seq, key))
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys")
            .field("store", &self.shared.store)
            .field("active", &self.shared.active())
            .field("cached_ids", &self.shared.cache.len())
            .finish_non_exhaustive()
    }
}
