use futures::TryStreamExt as _;

use super::deletions::Deletions;
use super::record::Links;
use super::{Vault, events};
use crate::{Envelope, JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

impl Vault {
    /// Seals an envelope in the place of another, upon the same event; what follows it need not change.
    pub(super) async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        match self.sealed_in_place(old, new).await? {
            Some(new) => self.inner.replace(old, new).await,
            None => Ok(false),
        }
    }

    /// The same of many, stored together.
    pub(super) async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        let (mut sent, mut answers) = (Vec::with_capacity(replacements.len()), Vec::new());
        for (old, new) in replacements {
            answers.push(match self.sealed_in_place(&old, new).await {
                Ok(Some(new)) => {
                    sent.push((old, new));
                    None
                }
                Ok(None) => Some(Ok(false)),
                Err(error) => Some(Err(error)),
            });
        }
        let mut answered = self.inner.replace_all(sent).await.into_iter();
        let mut next = || {
            answered.next().unwrap_or_else(|| {
                Err(JournalError::Unknown { reason: "the journal gave no answer".into(), source: None })
            })
        };
        answers.into_iter().map(|answer| answer.unwrap_or_else(&mut next)).collect()
    }

    /// What takes the place of an event; `None` when it is not there any more.
    async fn sealed_in_place(
        &self,
        old: &StoredEvent,
        new: Envelope,
    ) -> Result<Option<Envelope>, JournalError> {
        old.check_replacement(&new, self.limits())?;
        if new.key_id.is_some() {
            return Err(JournalError::rejected(&new.persistence_id, "the new envelope is sealed already"));
        }
        // Bytes of another event are not those that are stored.
        let Ok(stored) = Envelope::decode_as(&old.bytes, &new.persistence_id, new.seq_nr) else {
            return Ok(None);
        };
        if stored.key_id.is_none() {
            // A sealed one between plain ones would be no beginning of a chain.
            return Ok(Some(new));
        }
        let out = *events::links_of(&self.chain, &stored)?.out();
        // What was deleted meanwhile is not there to be replaced.
        let Some(before) = self.links_at(&new.persistence_id, new.seq_nr.previous()).await? else {
            return Ok(None);
        };
        let mut key = self.key_to_seal(&new.persistence_id, new.seq_nr).await?;
        let (payload, _) = self
            .seal_event(
                &mut key,
                before.out(),
                Some(out),
                &new,
                &mut Vec::with_capacity(events::CONTEXT_BYTES),
            )
            .await?;
        Ok(Some(Envelope { key_id: Some(key.id()), payload, ..new }))
    }

    /// Deletes events; what authenticates that, and what the rest builds on, is stored first.
    pub(super) async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        let stored = self.stored(id).await?;
        let news = to > stored.head.deleted_to && to <= stored.head.seq_nr;
        // Of an id that is still plain as well: it may be encrypted before they are gone.
        if news {
            let links = match stored.newest {
                Some(newest) if to == stored.head.seq_nr => Some(Links::only(newest)),
                Some(_) => self.links_at(id, to).await?,
                None => Some(self.plain_links(id, to)),
            };
            // `None`: somebody else has deleted them.
            if let Some(links) = links {
                let deleted_to = stored.head.deleted_to;
                Deletions::add(&self.records, &self.chain, id, (to, links), deleted_to).await?;
            }
        }
        self.inner.delete_to(id, to).await
    }

    /// The links of an event, checked by its successor or the mark when they are used; `None` when it is not known any more.
    pub(super) async fn links_at(
        &self,
        id: &PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<Option<Links>, JournalError> {
        if seq_nr == SeqNr::ZERO {
            return Ok(Some(self.plain_links(id, seq_nr)));
        }
        let range = ReplayRange::all(id).from(seq_nr).to(seq_nr);
        let found: Vec<_> = self.inner.replay(range).try_collect().await?;
        match found.into_iter().next() {
            Some(Replayed::Event(event)) if event.envelope.key_id.is_some() => {
                events::links_of(&self.chain, &event.envelope).map(Some)
            }
            Some(Replayed::Event(_)) => Ok(Some(self.plain_links(id, seq_nr))),
            Some(Replayed::Deleted { .. }) => Ok(self.deletions(id).await?.at(seq_nr)),
            // The journal inside has no keys.
            Some(Replayed::Erased { .. }) => Ok(None),
            None => Err(JournalError::missing_event(id, seq_nr, "and the id's head is behind it")),
        }
    }
}
