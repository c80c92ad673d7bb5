use std::sync::Arc;

use futures::TryStreamExt as _;

use super::record::Links;
use super::{Vault, events, replaying};
use crate::{Envelope, JournalError, KeyId, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};

/// Which events are sealed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::encryption) enum Due {
    /// Those under a generation before this one.
    Before(KeyId),
    /// Those in the clear, which is where nothing is sealed before them, or encrypting has begun.
    Plain,
}

/// A part of an id's events, looked at to be sealed again.
#[derive(Debug)]
pub(in crate::encryption) struct Part {
    /// Each of those that are due, in its place in the chain.
    replacements: Vec<(StoredEvent, Envelope)>,
    /// How many events it has.
    pub(in crate::encryption) events: u64,
    /// Where the next part begins; `None`: this is the last.
    pub(in crate::encryption) next: Option<SeqNr>,
}

impl Part {
    /// How many events of it are due.
    pub(in crate::encryption) fn to_do(&self) -> u64 {
        self.replacements.len() as u64
    }
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::encryption) struct Stored {
    /// How many events are under the new key that were not.
    pub(in crate::encryption) events: u64,
    /// The first that somebody else changed or deleted meanwhile: go on there.
    pub(in crate::encryption) changed: Option<SeqNr>,
}

impl Vault {
    /// Opens and checks a part of an id's events, from a number up to another, and seals those that are due under the newest key. Each
    /// keeps what its successor was written upon, so that the chain holds whichever of them are stored: for a plain one that is what stands for
    /// it in the chain.
    pub(in crate::encryption) async fn sealed_again(
        self: &Arc<Self>,
        id: &PersistenceId,
        (from, to): (SeqNr, SeqNr),
        due: Due,
    ) -> Result<Part, JournalError> {
        let mut part = Part { replacements: Vec::new(), events: 0, next: None };
        let mut before = match self.links_at(id, from.previous()).await? {
            Some(links) => links,
            None => match self.stored(id).await?.head.deleted_to {
                deleted_to if deleted_to >= from => {
                    part.next = (deleted_to < to).then(|| deleted_to.next());
                    return Ok(part);
                }
                // Deleted when nothing of the id was sealed.
                _ => self.plain_links(id, from.previous()),
            },
        };
        let (mut key, mut context) = (None, Vec::with_capacity(256));
        let range = ReplayRange::all(id).from(from).to(to).limit(EVENTS_A_PART);
        let mut items = replaying::replay(self.clone(), range);
        let mut bytes = 0;
        while let Some(item) = items.try_next().await? {
            let opened = match item {
                Replayed::Event(event) => event,
                // What is behind builds on what is stored there.
                Replayed::Deleted { to: last, .. } | Replayed::Erased { to: last, .. } => {
                    part.next = (last < to).then(|| last.next());
                    return Ok(part);
                }
            };
            let seq_nr = opened.envelope.seq_nr;
            part.events += 1;
            part.next = (seq_nr < to).then(|| seq_nr.next());
            let stored = Envelope::decode_as(&opened.bytes, id, seq_nr)
                .map_err(|error| events::corrupt(&opened.envelope, error))?;
            let (out, is_due) = match (stored.key_id, due) {
                (None, due) => (*self.plain_links(id, seq_nr).out(), due == Due::Plain),
                (Some(generation), Due::Before(target)) => {
                    (*events::links_of(&self.chain, &stored)?.out(), generation < target)
                }
                (Some(_), Due::Plain) => (*events::links_of(&self.chain, &stored)?.out(), false),
            };
            if is_due {
                let key = match &mut key {
                    Some(key) => key,
                    None => key.insert(self.key_to_seal(id, seq_nr).await?),
                };
                let (payload, _) =
                    self.seal_event(key, before.out(), Some(out), &opened.envelope, &mut context).await?;
                bytes += payload.len();
                let new = Envelope { key_id: Some(key.id()), payload, ..opened.envelope.clone() };
                part.replacements.push((opened, new));
            }
            before = Links::only(out);
            if bytes >= BYTES_A_PART {
                break;
            }
        }
        Ok(part)
    }

    /// Stores what was sealed again, each where it still is what was read.
    pub(in crate::encryption) async fn store_again(&self, part: Part) -> Result<Stored, JournalError> {
        let numbers: Vec<_> = part.replacements.iter().map(|(old, _)| old.envelope.seq_nr).collect();
        let mut stored = Stored { events: 0, changed: None };
        for (seq_nr, answer) in numbers.into_iter().zip(self.inner.replace_all(part.replacements).await) {
            match answer? {
                true => stored.events += 1,
                false => stored.changed = stored.changed.or(Some(seq_nr)),
            }
        }
        Ok(stored)
    }
}

const EVENTS_A_PART: u64 = 256;
/// Events may be large: a part is held in memory twice.
const BYTES_A_PART: usize = 4 * 1024 * 1024;
