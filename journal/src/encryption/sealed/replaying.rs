use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};

use super::ids::Stored;
use super::plain::{BEHIND_SEALED, REFUSED};
use super::record::{Links, Record};
use super::{Vault, events};
use crate::encryption::DataKey;
use crate::{Envelope, JournalError, KeyId, ReplayRange, Replayed, SeqNr, StoredEvent};

/// Opens a range of an id's events, and checks that each follows the one before, and the newest that it is what the mark says.
pub(super) fn replay(
    vault: Arc<Vault>,
    range: ReplayRange,
) -> BoxStream<'static, Result<Replayed, JournalError>> {
    let begin = async move { Replay::begin(vault, range).await };
    stream::once(begin)
        .flat_map(|begun| match begun {
            Ok(replay) => stream::unfold(Some(replay), |replay| async {
                let mut replay = replay?;
                match replay.next_gathered().await {
                    Ok(Some(item)) => Some((Ok(item), Some(replay))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            })
            .left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
        .boxed()
}

struct Replay {
    vault: Arc<Vault>,
    asked: ReplayRange,
    items: BoxStream<'static, Result<Replayed, JournalError>>,
    /// A head that was there before the first event was read.
    stored: Stored,
    before: Before,
    /// The last number that was met.
    seen: SeqNr,
    /// Events that may still be given.
    left: u64,
    key: Option<Arc<DataKey>>,
    context: Vec<u8>,
    /// What came behind a range of erased events.
    held: Option<Result<Option<Replayed>, JournalError>>,
}

/// What the next event must build on.
#[derive(Debug, Clone, Copy)]
enum Before {
    Plain(Links),
    Sealed(Links),
    /// It was deleted while we read.
    Deleted,
}

impl Replay {
    async fn begin(vault: Arc<Vault>, asked: ReplayRange) -> Result<Self, JournalError> {
        let id = &asked.persistence_id;
        let known = vault.ids.get(id).and_then(|known| known.known().head);
        let stored = match known {
            Some(stored) => stored,
            None => vault.stored(id).await?,
        };
        // The event before the first: what the first builds on.
        let from = asked.from.previous().max(SeqNr::FIRST);
        let more = u64::from(from < asked.from);
        let range = ReplayRange { from, limit: asked.limit.saturating_add(more), ..asked.clone() };
        let items = vault.inner.replay(range);
        let before = Before::Plain(Links::only(vault.begins(id, SeqNr::ZERO)));
        let (seen, left) = (from.previous(), asked.limit);
        Ok(Self {
            vault,
            asked,
            items,
            stored,
            before,
            seen,
            left,
            key: None,
            context: Vec::with_capacity(256),
            held: None,
        })
    }

    /// The next item, erased neighbours as one.
    async fn next_gathered(&mut self) -> Result<Option<Replayed>, JournalError> {
        let next = match self.held.take() {
            Some(held) => held?,
            None => self.next().await?,
        };
        let Some(Replayed::Erased { from, mut to }) = next else { return Ok(next) };
        loop {
            match self.next().await {
                Ok(Some(Replayed::Erased { to: more, .. })) => to = more,
                other => {
                    self.held = Some(other);
                    return Ok(Some(Replayed::Erased { from, to }));
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Replayed>, JournalError> {
        while self.left > 0 {
            match self.items.next().await.transpose()? {
                None => {
                    self.check_end().await?;
                    return Ok(None);
                }
                Some(Replayed::Deleted { from, to }) => {
                    self.before = self.before_deleted(to).await?;
                    self.seen = to;
                    if to >= self.asked.from {
                        return Ok(Some(Replayed::Deleted { from: from.max(self.asked.from), to }));
                    }
                }
                Some(Replayed::Event(event)) => {
                    let seq_nr = event.envelope.seq_nr;
                    self.seen = seq_nr;
                    if seq_nr < self.asked.from {
                        self.before = self.links_of(&event.envelope)?;
                        self.check_newest(seq_nr).await?;
                        continue;
                    }
                    self.left -= 1;
                    let item = self.open(event).await?;
                    self.check_newest(seq_nr).await?;
                    return Ok(Some(item));
                }
                Some(erased) => return Ok(Some(erased)),
            }
        }
        self.check_plain_end().await?;
        Ok(None)
    }

    async fn open(&mut self, event: StoredEvent) -> Result<Replayed, JournalError> {
        let StoredEvent { offset, envelope, bytes } = event;
        let envelope = match envelope.key_id {
            None => {
                self.check_plain(&envelope)?;
                envelope
            }
            Some(key) => {
                let record = events::record(&envelope)?;
                let key = match self.key(key).await {
                    Ok(key) => Some(key),
                    // Its place in the chain is checked all the same.
                    Err(JournalError::Erased { .. }) => None,
                    Err(error) => return Err(error),
                };
                self.check_follows(&envelope, &record).await?;
                self.before = Before::Sealed(record.links);
                let Some(key) = key else {
                    return Ok(Replayed::Erased { from: envelope.seq_nr, to: envelope.seq_nr });
                };
                events::open_within(&key, envelope, &record, &self.context)?
            }
        };
        Ok(Replayed::Event(StoredEvent { offset, envelope, bytes }))
    }

    async fn key(&mut self, id: KeyId) -> Result<Arc<DataKey>, JournalError> {
        if let Some(key) = self.key.as_ref().filter(|key| key.id() == id) {
            return Ok(key.clone());
        }
        let key = self.vault.key_to_open(&self.asked.persistence_id, id).await?;
        Ok(self.key.insert(key).clone())
    }

    fn check_plain(&mut self, event: &Envelope) -> Result<(), JournalError> {
        if self.vault.options.refuse_plaintext {
            return Err(events::corrupt(event, REFUSED));
        }
        if matches!(self.before, Before::Sealed(_)) {
            return Err(events::corrupt(event, BEHIND_SEALED));
        }
        self.before = Before::Plain(self.vault.plain_links(&event.persistence_id, event.seq_nr));
        Ok(())
    }

    async fn check_follows(&mut self, event: &Envelope, record: &Record) -> Result<(), JournalError> {
        let (id, before) = (&self.asked.persistence_id, event.seq_nr.previous());
        let chain = &self.vault.chain;
        if let Before::Plain(links) | Before::Sealed(links) = self.before
            && events::follows(chain, &links, event, record, &mut self.context)
        {
            if matches!(self.before, Before::Plain(_)) && before > SeqNr::ZERO {
                let known = self.vault.ids.id(id);
                let mut known = known.known();
                known.plain_to = known.plain_to.max(before);
            }
            return Ok(());
        }
        // Somebody may have put a new seal in the place of the one before, or have deleted it, since we read it.
        if let Some(links) = self.vault.links_at(id, before).await?
            && events::follows(chain, &links, event, record, &mut self.context)
        {
            return Ok(());
        }
        if self.vault.stored(id).await?.head.deleted_to >= event.seq_nr {
            // Gone meanwhile: nobody can say any more what it was built on. Its seal is still its own.
            events::context_of(event, &mut self.context);
            return Ok(());
        }
        Err(events::corrupt(event, events::DOES_NOT_FOLLOW))
    }

    /// What stands behind deleted events.
    async fn before_deleted(&mut self, to: SeqNr) -> Result<Before, JournalError> {
        let id = &self.asked.persistence_id;
        let plain = self.vault.plain_links(id, to);
        if self.stored.newest.is_none() {
            return Ok(Before::Plain(plain));
        }
        let deletions = self.vault.deletions(id).await?;
        match deletions.at(to) {
            Some(links) if links == plain => Ok(Before::Plain(plain)),
            Some(links) => Ok(Before::Sealed(links)),
            None if deletions.allow(to) => Ok(Before::Deleted),
            // Plain events that were deleted before anything was sealed.
            None if to < self.stored.head.seq_nr => Ok(Before::Plain(plain)),
            None => Err(JournalError::corrupt(id, to, NOT_DELETED_BY_US)),
        }
    }

    fn links_of(&self, event: &Envelope) -> Result<Before, JournalError> {
        Ok(match event.key_id {
            None => Before::Plain(self.vault.plain_links(&event.persistence_id, event.seq_nr)),
            Some(_) => Before::Sealed(events::record(event)?.links),
        })
    }

    /// Checks the event that the mark is about, when this is it.
    async fn check_newest(&mut self, seq_nr: SeqNr) -> Result<(), JournalError> {
        for fresh in [false, true] {
            if seq_nr != self.stored.head.seq_nr {
                return Ok(());
            }
            let right = match (self.before, self.stored.newest) {
                (Before::Plain(_), newest) => newest.is_none(),
                (Before::Sealed(links), Some(newest)) => links.link == newest || *links.out() == newest,
                (Before::Sealed(_), None) | (Before::Deleted, _) => false,
            };
            if right {
                return Ok(());
            }
            // It may have been sealed anew since we asked.
            if !fresh {
                self.stored = self.vault.stored(&self.asked.persistence_id).await?;
            }
        }
        Err(JournalError::corrupt(&self.asked.persistence_id, seq_nr, NOT_THE_NEWEST))
    }

    /// Checks that nothing was cut off.
    async fn check_end(&mut self) -> Result<(), JournalError> {
        let end = self.asked.to.min(self.stored.head.seq_nr);
        if self.seen < end {
            let found = format!("and the id's mark is that of event {}", self.stored.head.seq_nr);
            return Err(JournalError::missing_event(&self.asked.persistence_id, self.seen.next(), found));
        }
        self.check_plain_end().await
    }

    /// Checks that plain events at the end of a part are older than the first sealed one.
    async fn check_plain_end(&mut self) -> Result<(), JournalError> {
        if matches!(self.before, Before::Plain(_))
            && self.seen >= self.asked.from
            && self.seen < self.stored.head.seq_nr
        {
            return self.vault.check_plain(&self.asked.persistence_id, self.seen).await;
        }
        Ok(())
    }
}

const NOT_DELETED_BY_US: &str =
    "the events up to this one are gone, and no record says that they were deleted: they were cut off";
const NOT_THE_NEWEST: &str = "it is not the event that the id's mark is about: it was changed, or an older one was put back in its place";
