use futures::StreamExt as _;

use super::deletions::Deletions;
use super::record::Links;
use super::{Vault, events};
use crate::encryption::KeyState;
use crate::{Envelope, JournalError, Mark, PersistenceId, ReplayRange, Replayed, SeqNr};

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
        if !self.may_be_plain(id, seq_nr).await? {
            return Err(JournalError::corrupt(id, seq_nr, BEHIND_SEALED));
        }
        let stored = self.stored(id).await?;
        // Encrypting begins with the mark of a head that is plain.
        if stored.newest.is_none_or(|newest| newest == self.begins(id, stored.head.seq_nr)) {
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

    /// Whether an event is older than all that its id's key sealed when it was written; nothing is any more, once the id was encrypted. This
    /// is authenticated with the key.
    pub(super) async fn may_be_plain(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<bool, JournalError> {
        Ok(match self.keys.state(&[id]).await.pop().unwrap_or(Ok(KeyState::None))? {
            KeyState::None => true,
            KeyState::Live { generations, erased_to: None, .. } => {
                generations.first().is_none_or(|(_, first)| seq_nr < *first)
            }
            // All that an erased life had was sealed.
            KeyState::Live { .. } | KeyState::Erased { .. } => false,
        })
    }

    /// Whether an event was sealed for certain.
    pub(super) async fn has_sealed(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<bool, JournalError> {
        Ok(self.keys.state(&[id]).await.pop().unwrap_or(Ok(KeyState::None))?.has_sealed(seq_nr))
    }

    /// Records what was deleted while an id was plain, up to a number, before all of it counts as sealed.
    pub(in crate::encryption) async fn record_plain_deletion(
        &self,
        id: &PersistenceId,
        plain_to: SeqNr,
    ) -> Result<(), JournalError> {
        let deleted_to = self.stored(id).await?.head.deleted_to;
        if deleted_to < SeqNr::FIRST || deleted_to > plain_to || self.deletions(id).await?.allow(deleted_to) {
            return Ok(());
        }
        let entry = (deleted_to, self.plain_links(id, deleted_to));
        Deletions::add(&self.records, &self.chain, id, entry, deleted_to).await
    }

    /// Whether an event is gone, with its place in the chain.
    pub(super) async fn is_deleted(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<bool, JournalError> {
        Ok(self.stored(id).await?.head.deleted_to >= seq_nr)
    }

    /// The mark of an id whose events are all plain, or were when they were written.
    pub(in crate::encryption) fn plain_mark(&self, id: &PersistenceId, head: SeqNr) -> Mark {
        self.chain.mark(id, head, &self.begins(id, head))
    }

    /// Checks that an event is the first sealed one of its id.
    fn check_first_sealed(&self, event: &Envelope) -> Result<(), JournalError> {
        let record = events::record(event)?;
        let before = Links::only(self.begins(&event.persistence_id, event.seq_nr.previous()));
        if record.follows(&before) { Ok(()) } else { Err(events::corrupt(event, events::DOES_NOT_FOLLOW)) }
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
