use std::time::Duration;

use super::key_records::{KeyRecord as _, PROCESS_PREFIX, Process, all_of, process_key, process_of};
use super::key_store::{ATTEMPTS, Active, KeyStore, busy};
use super::{DataKeyOptions, KeysError, MasterKeyId};
use crate::{JournalError, RecordChange, RecordKey, Records, Revision, Timestamp, Verdict, WriterId};

/// This process, as a rotation sees it.
///
/// ```text
///  a process starts    1. writes encryption/process/<id>: its master keys    2. writes `active` as it was read
///  a rotation          1. reads `active`     2. reads all processes          3. writes `active`, the new key
/// ```
///
/// If the process's 2 comes before the rotation's 3, that fails, and the processes are read again; if after, it fails itself and the
/// process sees the new key. So no process is missed.
#[derive(Debug)]
pub(super) struct Registration {
    process: WriterId,
    name: RecordKey,
    lease: Duration,
    revision: Option<Revision>,
    announced: Vec<MasterKeyId>,
}

impl Registration {
    /// Announces this process; answers also which master key is active.
    pub(super) async fn begin(
        store: &KeyStore,
        options: &DataKeyOptions,
    ) -> Result<(Self, Active), KeysError> {
        let process = options.process.unwrap_or_else(WriterId::random);
        let (name, lease) = (process_key(process)?, options.lease);
        let mut registration = Self { process, name, lease, revision: None, announced: Vec::new() };
        match registration.announce(store).await {
            Ok(active) => Ok((registration, active)),
            Err(error) => {
                registration.end(store).await;
                Err(error)
            }
        }
    }

    pub(super) fn announced(&self) -> &[MasterKeyId] {
        &self.announced
    }

    /// Says which keys there are, and sees that those which are needed are among them.
    async fn announce(&mut self, store: &KeyStore) -> Result<Active, KeysError> {
        for _ in 0..ATTEMPTS {
            let masters = store.masters();
            // A ring that is wrong must not become active first.
            store.check_masters(&*masters).await?;
            let active = store.active_or_first().await?;
            self.write(store, masters.ids()).await?;
            if let Some(active) = store.touch(active).await? {
                return Ok(active);
            }
        }
        Err(busy(&self.name))
    }

    /// Says that the process is still there. Answers the active key, which may be another by now.
    pub(super) async fn renew(&mut self, store: &KeyStore) -> Result<Option<Active>, KeysError> {
        let masters = store.masters().ids();
        // A rotation may count on a key that it has no more.
        if !self.announced.iter().all(|id| masters.contains(id)) {
            return self.announce(store).await.map(Some);
        }
        let before = self.revision;
        let alone = self.write(store, masters).await?;
        if before.is_none() || !alone {
            // It counted as gone.
            return self.announce(store).await.map(Some);
        }
        Ok(store.active().await?)
    }

    /// Answers whether the record was as this process had left it.
    async fn write(&mut self, store: &KeyStore, masters: Vec<MasterKeyId>) -> Result<bool, KeysError> {
        let mut alone = true;
        for _ in 0..ATTEMPTS {
            let until = store.records.now().await?.plus(self.lease);
            let value = Process::new(until, &masters).to_value();
            match store.change(RecordChange::set(self.name.clone(), self.revision, value)).await? {
                Verdict::Set(revision) => {
                    (self.revision, self.announced) = (Some(revision), masters);
                    return Ok(alone);
                }
                Verdict::Changed { current } | Verdict::GuardChanged { current } => {
                    (self.revision, alone) = (current.map(|record| record.revision), false);
                }
            }
        }
        Err(busy(&self.name))
    }

    /// Takes it back; where that cannot be done, the lease ends by itself.
    pub(super) async fn end(&mut self, store: &KeyStore) {
        let Some(revision) = self.revision.take() else { return };
        if let Err(error) = store.change(RecordChange::delete(self.name.clone(), revision)).await {
            tracing::warn!(process = %self.process, %error, "the process counts as a user of keys until its lease ends");
        }
    }
}

/// A process that uses the journal's keys, as it last said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProcess {
    /// Which.
    pub id: WriterId,
    /// It counts as running until then, by the store's clock.
    pub until: Timestamp,
    /// The master keys that it has.
    pub master_keys: Vec<MasterKeyId>,
}

impl KeyStore {
    /// All processes that count as running.
    pub(super) async fn processes(&self) -> Result<Vec<KeyProcess>, JournalError> {
        Ok(all_processes(&*self.records).await?.0)
    }

    /// Removes the records of those that were not heard of for long.
    pub(super) async fn forget_old_processes(&self) -> Result<(), JournalError> {
        let (_, old) = all_processes(&*self.records).await?;
        if !old.is_empty() {
            // One that wakes up registers again; what is not removed now is by the next.
            drop(self.records.change(old).await);
        }
        Ok(())
    }
}

/// Those that count as running, and the changes that remove those that were not heard of for long.
pub(super) async fn all_processes(
    records: &dyn Records,
) -> Result<(Vec<KeyProcess>, Vec<RecordChange>), JournalError> {
    let now = records.now().await?;
    let (mut running, mut old) = (Vec::new(), Vec::new());
    for (name, record) in all_of(records, PROCESS_PREFIX).await? {
        let (process, revision) = Process::read(&name, &record)?;
        let until = Timestamp::from_micros(process.until);
        if until > now {
            let master_keys = process.masters.into_iter().map(MasterKeyId).collect();
            running.push(KeyProcess { id: process_of(&name)?, until, master_keys });
        } else if now.since(until) > FORGOTTEN_AFTER {
            old.push(RecordChange::delete(name, revision));
        }
    }
    Ok((running, old))
}

const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
