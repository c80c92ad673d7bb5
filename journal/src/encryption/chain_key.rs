use super::key_records::{ChainKey, KeyRecord as _, WrappedFor, chain_record};
use super::key_store::{ATTEMPTS, Active, KeyStore, busy};
use super::{DataKeys, KeyBytes, KeysError, MasterKeyId};
use crate::{JournalError, RecordChange, Verdict};

impl DataKeys {
    /// The key of the journal's chains, made by whoever asks first; it stays the same for the journal's life.
    ///
    /// # Errors
    /// [`JournalError::Key`] when no master key opens it, or there is none and the keys were opened for reading; and whatever the
    /// records answer.
    pub async fn chain_key(&self) -> Result<KeyBytes, JournalError> {
        self.shared.chain.get_or_try_init(|| self.stored_chain_key()).await.cloned()
    }

    async fn stored_chain_key(&self) -> Result<KeyBytes, JournalError> {
        let failed = |error: KeysError| error.into_journal(WHAT);
        for _ in 0..ATTEMPTS {
            if let Some(key) = self.shared.store.chain_key().await.map_err(failed)? {
                return Ok(key);
            }
            let Some(active) = self.shared.active() else {
                let reason = "there is none: nothing was ever sealed here, or its record is gone; restore the records from a backup then";
                return Err(JournalError::key(WHAT, reason));
            };
            match self.shared.store.make_chain_key(active).await.map_err(failed)? {
                (key, Verdict::Set(_)) => return Ok(key),
                (_, Verdict::Changed { .. }) => {}
                (_, Verdict::GuardChanged { .. }) => drop(self.shared.read_active().await?),
            }
        }
        Err(failed(busy(&chain_record()?)))
    }
}

impl KeyStore {
    /// The key of the journal's chains; `None` when there is none yet.
    async fn chain_key(&self) -> Result<Option<KeyBytes>, KeysError> {
        let name = chain_record()?;
        let Some(record) = self.records.get(&name).await? else { return Ok(None) };
        let (chain, _) = ChainKey::read(&name, &record)?;
        self.unwrap(MasterKeyId(chain.master), WrappedFor::Chain, &chain.wrapped)
            .await
            .map(Some)
            .map_err(|error| KeysError::MasterKey { what: WHAT.to_owned(), error })
    }

    /// Stores a new one, where there is none and the active master key is this one.
    async fn make_chain_key(&self, active: Active) -> Result<(KeyBytes, Verdict), KeysError> {
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
