use futures::StreamExt as _;

use super::record::Links;
use super::{Vault, events};
use crate::{Envelope, JournalError, PersistenceId, ReplayRange, Replayed, SeqNr};

impl Vault {
    /// Checks that a plain event may be one: nothing of its id was sealed before it.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] with id and number.
    pub(super) async fn check_plain(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<(), JournalError> {
        if self.options.refuse_plaintext {
            return Err(JournalError::corrupt(id, seq_nr, REFUSED));
        }
        let known = self.ids.id(id);
        if seq_nr <= known.known().plain_to {
            return Ok(());
        }
        if self.stored(id).await?.newest.is_none() {
            return Ok(());
        }
        // The first sealed event says how many plain ones it was written behind.
        let mut behind = self.inner.replay(ReplayRange::all(id).from(seq_nr.next()));
        while let Some(item) = behind.next().await {
            match item? {
                Replayed::Event(later) if later.envelope.key_id.is_none() => {}
                Replayed::Event(later) => {
                    self.check_first_sealed(&later.envelope)?;
                    let mut known = known.known();
                    known.plain_to = known.plain_to.max(later.envelope.seq_nr.previous());
                    return Ok(());
                }
                // Gone while we looked, and this one with it.
                Replayed::Deleted { .. } | Replayed::Erased { .. } => return Ok(()),
            }
        }
        Err(JournalError::corrupt(id, seq_nr, BEHIND_SEALED))
    }

    /// Checks that an event is the first sealed one of its id.
    fn check_first_sealed(&self, event: &Envelope) -> Result<(), JournalError> {
        let record = events::record(event)?;
        let before = Links::only(self.begins(&event.persistence_id, event.seq_nr.previous()));
        if events::follows(&self.chain, &before, event, &record, &mut Vec::new()) {
            Ok(())
        } else {
            Err(events::corrupt(event, events::DOES_NOT_FOLLOW))
        }
    }

    /// The place of a plain event in the chain.
    pub(super) fn plain_links(&self, id: &PersistenceId, seq_nr: SeqNr) -> Links {
        Links::only(self.begins(id, seq_nr))
    }

    /// What stands for a plain event in the chain.
    pub(super) fn begins(&self, id: &PersistenceId, before: SeqNr) -> super::record::Link {
        self.chain.begins(id, before)
    }
}

pub(super) const REFUSED: &str = "it is plain, and the journal is set to refuse plain events";
pub(super) const BEHIND_SEALED: &str =
    "it is plain, and events before it were sealed: it was put in the place of a sealed one";
