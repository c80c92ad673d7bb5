use std::collections::BTreeMap;

use super::MasterKeyId;
use super::key_records::{
    ChainKey, KeyRecord as _, MASTER_PREFIX, MasterKeyUse, SCOPE_PREFIX, ScopeKeys, active_master, all_of,
    chain_record, master_of,
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
    /// Scopes that have data keys: persistence ids, and what ids were mapped to.
    pub scopes: u64,
    /// Scopes whose data keys were erased.
    pub erased: u64,
    /// Records that cannot be read.
    pub unreadable: Vec<RecordKey>,
    /// Processes that use the keys.
    pub processes: Vec<KeyProcess>,
}

/// What a master key is used by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MasterKeyUsage {
    /// Data keys that it wraps.
    pub data_keys: u64,
    /// Whether it wraps the key of the chains.
    pub chain_key: bool,
    /// Whether its record says that something may need it: then it is asked for at each start. A complete rotation takes that away.
    pub in_use: bool,
}

impl KeyUsage {
    /// Reads every record of a key, a page at a time; `progress` is told how many scopes were read.
    ///
    /// # Errors
    /// Whatever the records answer. A record that cannot be read is listed, and is no error.
    pub async fn read(records: &dyn Records, progress: impl Fn(u64)) -> Result<Self, JournalError> {
        let mut usage = Self {
            active: active_master(records).await?,
            master_keys: BTreeMap::new(),
            scopes: 0,
            erased: 0,
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
                    Ok((keys, _)) => usage.add(&keys),
                    Err(_) => usage.unreadable.push(name.clone()),
                }
            }
            progress(usage.scopes + usage.erased);
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

    /// How many scopes have a record: what [`DataKeys::rotate`](super::DataKeys::rotate) is going to look at.
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

    fn add(&mut self, keys: &ScopeKeys) {
        if keys.erased().is_some() {
            self.erased += 1;
            return;
        }
        self.scopes += 1;
        for generation in keys.live() {
            self.master(MasterKeyId(generation.master)).data_keys += 1;
        }
    }

    fn master(&mut self, id: MasterKeyId) -> &mut MasterKeyUsage {
        self.master_keys.entry(id).or_default()
    }
}

const PAGE: usize = 1_000;
