use bytes::Bytes;

use super::key_records::{ChainKey, KeyRecord as _, SCOPE_PREFIX, ScopeKeys, WrappedFor};
use super::key_store::KeyStore;
use super::scope::Scope;
use super::{KeysError, MasterKeyId};
use crate::{JournalError, RecordKey, SeqNr};

/// A record's value with every key under another master key.
#[derive(Debug)]
pub(super) struct Rewrapped {
    pub(super) value: Bytes,
    /// How many keys are under it that were not.
    pub(super) keys: u64,
}

impl KeyStore {
    /// Opens every key of a scope that another master key wrapped, and wraps it under this one; `None` when there is none. Nothing is stored.
    pub(super) async fn rewrap_scope(
        &self,
        name: &RecordKey,
        mut keys: ScopeKeys,
        to: MasterKeyId,
    ) -> Result<Option<Rewrapped>, KeysError> {
        let erased_to = keys.erased_to;
        // What was erased is not kept alive by it.
        let others = |generation: &&mut super::key_records::Generation| {
            generation.number > erased_to && generation.scope_key == 0 && generation.master != to.0
        };
        let mut count = 0;
        let mut scope = None;
        for generation in keys.generations.iter_mut().filter(others) {
            let scope: &Scope = match &scope {
                Some(scope) => scope,
                None => scope.insert(scope_of(name)?),
            };
            let key = self.unwrap_generation(scope, generation).await?;
            // One that is no number did not open.
            let from_seq = SeqNr::new(generation.from_seq).unwrap_or(SeqNr::MAX);
            let wrapped = self.wrap_generation(to, scope, (generation.number, from_seq), &key).await?;
            (generation.master, generation.wrapped) = (wrapped.master, wrapped.wrapped);
            count += 1;
        }
        Ok((count > 0).then(|| Rewrapped { value: keys.to_value(), keys: count }))
    }

    /// The key of the chains under another master key.
    pub(super) async fn rewrap_chain(
        &self,
        chain: &ChainKey,
        to: MasterKeyId,
    ) -> Result<ChainKey, KeysError> {
        let failed = |error| KeysError::MasterKey { what: super::chain_key::WHAT.to_owned(), error };
        let from = MasterKeyId(chain.master);
        let key = self.unwrap(from, WrappedFor::Chain, &chain.wrapped).await.map_err(failed)?;
        let wrapped = self.wrap(to, WrappedFor::Chain, &key).await.map_err(failed)?;
        Ok(ChainKey::new(to, wrapped))
    }
}

fn scope_of(name: &RecordKey) -> Result<Scope, JournalError> {
    name.as_str()
        .strip_prefix(SCOPE_PREFIX)
        .filter(|scope| !scope.is_empty())
        .map(Scope::from)
        .ok_or_else(|| JournalError::corrupt_record(name, "its name does not end with a scope"))
}
