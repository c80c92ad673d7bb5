use std::sync::Arc;

use futures::TryStreamExt as _;

use super::Vault;
use crate::encryption::DataKey;
use crate::{JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

impl Vault {
    /// The key that opens a sealed event, and the event. One whose key is gone is read again: a rekeying may have sealed it under another
    /// one, and have destroyed that key, since it was read.
    pub(super) async fn with_key(
        &self,
        mut event: StoredEvent,
    ) -> Result<(StoredEvent, Arc<DataKey>), JournalError> {
        let (id, seq_nr) = (event.envelope.persistence_id.clone(), event.envelope.seq_nr);
        loop {
            let Some(generation) = event.envelope.key_id else {
                return Err(JournalError::corrupt(&id, seq_nr, "it was sealed, and is in the clear now"));
            };
            let missing = match self.key_to_open(&id, generation).await {
                Ok(key) => return Ok((event, key)),
                Err(missing @ JournalError::Key { .. }) => missing,
                Err(error) => return Err(error),
            };
            match self.read_again(&id, seq_nr).await? {
                // Generations only rise, so this ends.
                Some(now) if now.envelope.key_id.is_some_and(|now| now > generation) => event = now,
                _ => return Err(missing),
            }
        }
    }

    /// An event that was read in the clear, when it is sealed now.
    pub(super) async fn sealed_since(
        &self,
        id: &PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<Option<StoredEvent>, JournalError> {
        Ok(self.read_again(id, seq_nr).await?.filter(|event| event.envelope.key_id.is_some()))
    }

    /// An event as it is stored now; `None`: it was cut off.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when it was deleted meanwhile: whoever reads again does not meet it.
    pub(super) async fn read_again(
        &self,
        id: &PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<Option<StoredEvent>, JournalError> {
        let one = ReplayRange::all(id).from(seq_nr).to(seq_nr);
        match self.inner.replay(one).try_next().await? {
            Some(Replayed::Event(event)) => Ok(Some(event)),
            Some(Replayed::Deleted { .. } | Replayed::Erased { .. }) => Err(JournalError::Unavailable {
                reason: format!("event {seq_nr:?} of {id} was deleted while it was read; read again"),
                source: None,
            }),
            None => Ok(None),
        }
    }
}
