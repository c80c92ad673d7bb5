use super::key_records::{ChainKey, KeyRecord as _, WrappedFor, chain_record};
use super::key_store::{Active, KeyStore};
use super::{KeyBytes, KeysError, MasterKeyId};
use crate::{RecordChange, Verdict};

impl KeyStore {
    /// The key of the journal's chains; `None` when there is none yet.
    pub(super) async fn chain_key(&self) -> Result<Option<KeyBytes>, KeysError> {
        let name = chain_record()?;
        let Some(record) = self.records.get(&name).await? else { return Ok(None) };
        let (chain, _) = ChainKey::read(&name, &record)?;
        self.unwrap(MasterKeyId(chain.master), WrappedFor::Chain, &chain.wrapped)
            .await
            .map(Some)
            .map_err(|error| KeysError::MasterKey { what: WHAT.to_owned(), error })
    }

    /// Stores a new one, where there is none and the active master key is this one.
    pub(super) async fn make_chain_key(&self, active: Active) -> Result<(KeyBytes, Verdict), KeysError> {
        let key = KeyBytes::random()?;
        let wrapped = self
            .wrap(active.id, WrappedFor::Chain, &key)
            .await
            .map_err(|error| KeysError::MasterKey { what: WHAT.to_owned(), error })?;
        let value = ChainKey::new(active.id, wrapped).to_value();
        let verdict = self.change(active.guard(RecordChange::set(chain_record()?, None, value))?).await?;
        Ok((key, verdict))
    }
}

pub(super) const WHAT: &str = "the key of the journal's chains";
