use std::collections::BTreeMap;

use super::MasterKeyId;
use super::key_records::{
    ChainKey, KeyRecord as _, MASTER_PREFIX, MasterKeyUse, SCOPE_PREFIX, ScopeKeys, active_master, all_of,
    chain_record, is_scope, master_of,
};
use super::registration::{KeyProcess, all_processes};
use crate::{JournalError, RecordKey, Records};

/// Which master key is used by how much, as the records say; no key is needed to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key that wraps what is new; `None`: nothing was ever sealed here.
    pub active: Option<MasterKeyId>,
    /// Every master key that was ever active or wraps anything, by number.
    pub master_keys: BTreeMap<MasterKeyId, MasterKeyUsage>,
    /// Persistence ids that have data keys.
    pub ids: u64,
    /// Those of them that belong to a scope.
    pub in_scopes: u64,
    /// Persistence ids whose data keys were erased.
    pub erased: u64,
    /// Scopes of several ids that have keys.
    pub scopes: u64,
    /// Scopes whose keys were erased.
    pub erased_scopes: u64,
    /// Records that cannot be read.
    pub unreadable: Vec<RecordKey>,
    /// Processes that use the keys.
    pub processes: Vec<KeyProcess>,
}

/// What a master key is used by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MasterKeyUsage {
    /// Data keys, and keys of scopes, that it wraps.
    pub data_keys: u64,
    /// Whether it wraps the key of the chains.
    pub chain_key: bool,
    /// Whether its record says that something may need it: then it is asked for at each start. A complete rotation takes that away.
    pub in_use: bool,
}

impl KeyUsage {
    /// Reads every record of a key, a page at a time; `progress` is told how many were read.
    ///
    /// # Errors
    /// Whatever the records answer. A record that cannot be read is listed, and is no error.
    pub async fn read(records: &dyn Records, progress: impl Fn(u64)) -> Result<Self, JournalError> {
        let mut usage = Self {
            active: active_master(records).await?,
            master_keys: BTreeMap::new(),
            ids: 0,
            in_scopes: 0,
            erased: 0,
            scopes: 0,
            erased_scopes: 0,
            unreadable: Vec::new(),
            processes: all_processes(records).await?.0,
        };
        for (name, record) in all_of(records, MASTER_PREFIX).await? {
            match (master_of(&name), MasterKeyUse::read(&name, &record)) {
                (Ok(id), Ok((master, _))) => usage.master(id).in_use = master.in_use,
                _ => usage.unreadable.push(name),
            }
        }
        let chain = chain_record()?;
        if let Some(record) = records.get(&chain).await? {
            match ChainKey::read(&chain, &record) {
                Ok((key, _)) => usage.master(MasterKeyId(key.master)).chain_key = true,
                Err(_) => usage.unreadable.push(chain),
            }
        }
        let mut after: Option<RecordKey> = None;
        loop {
            let page = records.list(SCOPE_PREFIX, after.as_ref(), PAGE).await?;
            for (name, record) in &page {
                match ScopeKeys::read(name, record) {
                    Ok((keys, _)) => usage.add(name, &keys),
                    Err(_) => usage.unreadable.push(name.clone()),
                }
            }
            progress(usage.ids + usage.erased + usage.scopes + usage.erased_scopes);
            if page.len() < PAGE {
                return Ok(usage);
            }
            after = page.into_iter().next_back().map(|(name, _)| name);
        }
    }

    /// The key that wraps what is new; `None`: nothing was ever sealed here.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn active(records: &dyn Records) -> Result<Option<MasterKeyId>, JournalError> {
        active_master(records).await
    }

    /// How many ids and scopes have a record: what [`DataKeys::rotate`](super::DataKeys::rotate) is going to look at.
    ///
    /// # Errors
    /// Whatever the records answer.
    pub async fn count_scopes(records: &dyn Records) -> Result<u64, JournalError> {
        let (mut count, mut after) = (0, None::<RecordKey>);
        loop {
            let page = records.list(SCOPE_PREFIX, after.as_ref(), PAGE).await?;
            count += page.len() as u64;
            if page.len() < PAGE {
                return Ok(count);
            }
            after = page.into_iter().next_back().map(|(name, _)| name);
        }
    }

    fn add(&mut self, name: &RecordKey, keys: &ScopeKeys) {
        let count = match (is_scope(name), keys.erased().is_some()) {
            (false, false) => &mut self.ids,
            (false, true) => &mut self.erased,
            (true, false) => &mut self.scopes,
            (true, true) => &mut self.erased_scopes,
        };
        *count += 1;
        if keys.erased().is_some() {
            return;
        }
        self.in_scopes += u64::from(!keys.scope.is_empty());
        for generation in keys.live().filter(|generation| generation.scope_key == 0) {
            self.master(MasterKeyId(generation.master)).data_keys += 1;
        }
    }

    fn master(&mut self, id: MasterKeyId) -> &mut MasterKeyUsage {
        self.master_keys.entry(id).or_default()
    }
}

const PAGE: usize = 1_000;
