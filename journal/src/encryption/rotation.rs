use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use metrics::Counter;
use tokio::task::JoinSet;

use super::key_records::{
    ChainKey, KeyRecord as _, MasterKeyUse, SCOPE_PREFIX, ScopeKeys, chain_record, master_key,
};
use super::key_store::{ATTEMPTS, Active, KeyStore, busy, no_answer};
use super::pace::Pace;
use super::rewrap::Rewrapped;
use super::{DataKeys, KeysError, MasterKeyId};
use crate::telemetry::REWRAPPED_KEYS;
use crate::{Record, RecordChange, RecordKey, Revision, Verdict};

/// How a rotation goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationOptions {
    /// Moves also when processes that are running have not announced the new key. One of them that does not get the key cannot make
    /// or open data keys any more, and says so.
    pub force: bool,
    /// How many data keys are rewrapped in a second at most; `None`, the default, as many as can be.
    pub rate: Option<NonZeroU32>,
    /// How many records are read, rewrapped and written together; 1,000 by default.
    pub batch: usize,
    /// How many batches are under way at once; as many as there are processors by default.
    pub parallel: usize,
}

impl Default for RotationOptions {
    fn default() -> Self {
        let parallel = std::thread::available_parallelism().map_or(2, usize::from);
        Self { force: false, rate: None, batch: 1_000, parallel }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationProgress {
    /// Scopes whose keys were looked at.
    pub scopes: u64,
    /// Data keys that were rewrapped.
    pub rewrapped: u64,
    /// Scopes whose keys could not be rewrapped.
    pub failed: u64,
}

/// What a rotation did.
#[derive(Debug, Clone)]
pub struct RotationSummary {
    /// The master key that wraps everything now, but for what failed.
    pub to: MasterKeyId,
    /// The one that was active before, when this rotation moved.
    pub moved_from: Option<MasterKeyId>,
    /// How many there were of everything.
    pub total: RotationProgress,
    /// Master keys that the journal knew and that nothing needs any more, neither events nor snapshots: they may be removed from every ring.
    /// Backups of the records still need them.
    pub unused: Vec<MasterKeyId>,
    /// Master keys, other than the active one, that something may still need: because a key of theirs failed, or another rotation runs.
    pub still_used: Vec<MasterKeyId>,
    /// The first of those that failed, each with the reason.
    pub failures: Vec<RotationFailure>,
}

/// A scope's keys that could not be rewrapped; they are as they were.
#[derive(Debug, Clone)]
pub struct RotationFailure {
    /// Whose: the record's name.
    pub record: RecordKey,
    /// Why.
    pub error: KeysError,
}

impl DataKeys {
    /// Makes the active key of the master keys here the journal's, and rewraps under it every data key and the key of the chains, while
    /// others read and write. Events and snapshots are not touched.
    ///
    /// It has no state of its own: one that was killed at any moment is begun again, and one that has nothing to do does nothing.
    ///
    /// # Errors
    /// [`KeysError::NotAnnounced`] and nothing is changed; [`KeysError::RotatedElsewhere`]; [`KeysError::ForReading`]; and whatever the
    /// records and the master keys answer. What was rewrapped stays so, and the next rotation goes on.
    ///
    /// # Cancel safety
    /// May be dropped at any moment, as it may be killed.
    pub async fn rotate(
        &self,
        options: &RotationOptions,
        progress: impl Fn(RotationProgress) + Send + Sync,
    ) -> Result<RotationSummary, KeysError> {
        let keeper = self.shared.keeper.as_ref().ok_or(KeysError::ForReading)?;
        keeper.look(&self.shared).await?;
        let store = &self.shared.store;
        let to = store.masters().active();
        let (active, moved_from) = store.move_to(to, options.force).await?;
        self.shared.set_active(active);
        store.forget_old_processes().await?;
        // Before anything is listed: what is taken into use later has another revision.
        let known = store.master_keys().await?;
        let sweep = Arc::new(Sweep::new(store.clone(), active, options));
        sweep.chain_key().await?;
        sweep.scopes(options, progress).await?;
        let (total, failures) = sweep.done();
        let mut summary =
            RotationSummary { to, moved_from, total, unused: Vec::new(), still_used: Vec::new(), failures };
        for (id, usage, revision) in known.into_iter().filter(|(id, ..)| *id != to) {
            let unused = !usage.in_use || (total.failed == 0 && sweep.clear(id, usage, revision).await?);
            if unused { &mut summary.unused } else { &mut summary.still_used }.push(id);
        }
        if let Ok(active) = self.shared.read_active().await
            && active.id != to
        {
            return Err(KeysError::RotatedElsewhere { to, active: active.id });
        }
        Ok(summary)
    }
}

impl KeyStore {
    /// Makes a master key the active one when every running process has it; answers also the one before, if it was another.
    async fn move_to(
        &self,
        to: MasterKeyId,
        force: bool,
    ) -> Result<(Active, Option<MasterKeyId>), KeysError> {
        for _ in 0..ATTEMPTS {
            let active = self.active_or_first().await?;
            if active.id == to {
                return Ok((active, None));
            }
            let mut missing = self.processes().await?;
            missing.retain(|process| !process.master_keys.contains(&to));
            if !missing.is_empty() && !force {
                let missing = missing.into_iter().map(|process| (process.id, process.until)).collect();
                return Err(KeysError::NotAnnounced { id: to, missing });
            }
            for process in &missing {
                tracing::warn!(process = %process.id, key = %to, "moving to a master key that a running process has not announced");
            }
            if let Some(moved) = self.activate(Some(active), to).await? {
                tracing::info!(from = %active.id, to = %to, "another master key is active");
                return Ok((moved, Some(active.id)));
            }
        }
        Err(busy(&super::key_records::active_key()?))
    }
}

/// One look at every key of the journal.
struct Sweep {
    store: Arc<KeyStore>,
    to: MasterKeyId,
    moves: u64,
    /// Its revision rises as processes start.
    active: Mutex<Active>,
    so_far: Mutex<(RotationProgress, Vec<RotationFailure>)>,
    pace: Option<Pace>,
    rewrapped: Counter,
}

impl Sweep {
    fn new(store: Arc<KeyStore>, active: Active, options: &RotationOptions) -> Self {
        Self {
            store,
            to: active.id,
            moves: active.moves,
            active: Mutex::new(active),
            so_far: Mutex::default(),
            pace: options.rate.map(Pace::new),
            rewrapped: metrics::counter!(REWRAPPED_KEYS),
        }
    }

    fn active(&self) -> Active {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that started has written the record that guards us; one that rotates has written another key there.
    async fn read_active(&self) -> Result<(), KeysError> {
        let active = self.store.active().await?.ok_or_else(no_answer)?;
        if active.id != self.to || active.moves != self.moves {
            return Err(KeysError::RotatedElsewhere { to: self.to, active: active.id });
        }
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        Ok(())
    }

    fn done(&self) -> (RotationProgress, Vec<RotationFailure>) {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        (so_far.0, std::mem::take(&mut so_far.1))
    }

    async fn chain_key(&self) -> Result<(), KeysError> {
        let name = chain_record()?;
        for _ in 0..ATTEMPTS {
            let Some(record) = self.store.records.get(&name).await? else { return Ok(()) };
            let (chain, revision) = ChainKey::read(&name, &record)?;
            if chain.master == self.to.0 {
                return Ok(());
            }
            let value = self.store.rewrap_chain(&chain, self.to).await?.to_value();
            let change = self.active().guard(RecordChange::set(name.clone(), Some(revision), value))?;
            match self.store.change(change).await? {
                Verdict::Set(_) => return Ok(()),
                Verdict::Changed { .. } => {}
                Verdict::GuardChanged { .. } => self.read_active().await?,
            }
        }
        Err(busy(&name))
    }

    async fn scopes(
        self: &Arc<Self>,
        options: &RotationOptions,
        progress: impl Fn(RotationProgress) + Send + Sync,
    ) -> Result<(), KeysError> {
        // A slow rotation shall not do a second's work at once.
        let most = options.rate.map_or(usize::MAX, |rate| rate.get() as usize);
        let batch = options.batch.clamp(1, most);
        // Dropped with this call, and its tasks with it.
        let mut under_way = JoinSet::new();
        let mut after: Option<RecordKey> = None;
        loop {
            let page = self.store.records.list(SCOPE_PREFIX, after.as_ref(), batch).await?;
            // Fewer than asked for: there are no more.
            let last = page.len() < batch;
            after = page.last().map(|(key, _)| key.clone());
            if under_way.len() >= options.parallel.max(1) {
                self.one_ended(&mut under_way, &progress).await?;
            }
            if !page.is_empty() {
                under_way.spawn(self.clone().page(page));
            }
            if last {
                break;
            }
        }
        while !under_way.is_empty() {
            self.one_ended(&mut under_way, &progress).await?;
        }
        Ok(())
    }

    async fn one_ended(
        &self,
        under_way: &mut JoinSet<Result<(), KeysError>>,
        progress: &(impl Fn(RotationProgress) + Send + Sync),
    ) -> Result<(), KeysError> {
        match under_way.join_next().await {
            Some(Ok(done)) => done?,
            Some(Err(panic)) => return Err(KeysError::Unread { reason: panic.to_string() }),
            None => {}
        }
        progress(self.so_far.lock().unwrap_or_else(PoisonError::into_inner).0);
        Ok(())
    }

    async fn page(self: Arc<Self>, page: Vec<(RecordKey, Record)>) -> Result<(), KeysError> {
        let mut so_far = RotationProgress { scopes: page.len() as u64, ..RotationProgress::default() };
        let mut failures = Vec::new();
        let mut open = page;
        for _ in 0..ATTEMPTS {
            let Rewraps { done, failed } = rewrap_all(&self.store, open, self.to).await;
            so_far.failed += failed.len() as u64;
            failures.extend(failed);
            if done.is_empty() {
                self.add(so_far, failures);
                return Ok(());
            }
            let keys: u64 = done.iter().map(|(.., rewrapped)| rewrapped.keys).sum();
            if let Some(pace) = &self.pace {
                pace.wait(keys).await;
            }
            (open, so_far.rewrapped) = self.store_all(done, so_far.rewrapped).await?;
            if open.is_empty() {
                self.add(so_far, failures);
                return Ok(());
            }
        }
        Err(busy(&open.swap_remove(0).0))
    }

    /// Stores what was rewrapped; answers what others changed meanwhile, as it is now.
    async fn store_all(
        &self,
        mut done: Vec<(RecordKey, Revision, Rewrapped)>,
        mut count: u64,
    ) -> Result<(Vec<(RecordKey, Record)>, u64), KeysError> {
        let mut changed = Vec::new();
        for _ in 0..ATTEMPTS {
            let active = self.active();
            let changes = done.iter().map(|(key, revision, rewrapped)| {
                active.guard(RecordChange::set(key.clone(), Some(*revision), rewrapped.value.clone()))
            });
            let changes = changes.collect::<Result<Vec<_>, _>>()?;
            let mut verdicts = self.store.records.change(changes).await.into_iter();
            let mut again = Vec::new();
            for (key, revision, rewrapped) in done {
                match verdicts.next().unwrap_or_else(|| Err(no_answer()))? {
                    Verdict::Set(_) => count += rewrapped.keys,
                    Verdict::Changed { current: Some(record) } => changed.push((key, record)),
                    Verdict::Changed { current: None } => {}
                    Verdict::GuardChanged { .. } => again.push((key, revision, rewrapped)),
                }
            }
            if again.is_empty() {
                return Ok((changed, count));
            }
            self.read_active().await?;
            done = again;
        }
        Err(busy(&super::key_records::active_key()?))
    }

    fn add(&self, more: RotationProgress, failures: Vec<RotationFailure>) {
        for RotationFailure { record, error } in &failures {
            tracing::error!(%record, %error, "a data key was not rewrapped");
        }
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        so_far.0.scopes += more.scopes;
        so_far.0.rewrapped += more.rewrapped;
        self.rewrapped.increment(more.rewrapped);
        so_far.0.failed += more.failed;
        let room = MAX_FAILURES.saturating_sub(so_far.1.len());
        so_far.1.extend(failures.into_iter().take(room));
    }

    /// Says that nothing needs a master key, if it was not taken into use since the sweep began and the active key is the sweep's.
    async fn clear(
        &self,
        id: MasterKeyId,
        mut usage: MasterKeyUse,
        seen: Revision,
    ) -> Result<bool, KeysError> {
        usage.in_use = false;
        let value = usage.to_value();
        for _ in 0..ATTEMPTS {
            let change = RecordChange::set(master_key(id)?, Some(seen), value.clone());
            match self.store.change(self.active().guard(change)?).await? {
                Verdict::Set(_) => return Ok(true),
                // Another rotation was faster, or took it into use.
                Verdict::Changed { current: Some(record) } => {
                    return Ok(!MasterKeyUse::read(&master_key(id)?, &record)?.0.in_use);
                }
                Verdict::Changed { current: None } => return Ok(true),
                Verdict::GuardChanged { .. } => self.read_active().await?,
            }
        }
        Err(busy(&master_key(id)?))
    }
}

struct Rewraps {
    done: Vec<(RecordKey, Revision, Rewrapped)>,
    failed: Vec<RotationFailure>,
}

async fn rewrap_all(store: &KeyStore, page: Vec<(RecordKey, Record)>, to: MasterKeyId) -> Rewraps {
    // A service of master keys is asked for several at once; a ring answers at once.
    let mut rewrapped = stream::iter(page)
        .map(|(key, record)| async move {
            let done = rewrap(store, &key, &record, to).await;
            (key, record.revision, done)
        })
        .buffer_unordered(ASKED_AT_ONCE);
    let mut all = Rewraps { done: Vec::new(), failed: Vec::new() };
    while let Some((key, revision, result)) = rewrapped.next().await {
        match result {
            Ok(Some(done)) => all.done.push((key, revision, done)),
            Ok(None) => {}
            Err(error) => all.failed.push(RotationFailure { record: key, error }),
        }
    }
    all
}

async fn rewrap(
    store: &KeyStore,
    key: &RecordKey,
    record: &Record,
    to: MasterKeyId,
) -> Result<Option<Rewrapped>, KeysError> {
    let (keys, _) = ScopeKeys::read(key, record)?;
    store.rewrap_scope(key, keys, to).await
}

const ASKED_AT_ONCE: usize = 32;
const MAX_FAILURES: usize = 100;
