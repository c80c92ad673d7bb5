use std::ops::RangeInclusive;

use annals_journal::{
    Codec, Envelope, Head, JournalError, Manifest, PersistenceId, ReplayRange, Replayed, SeqNr, Timestamp,
    Token, WriterId,
};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::stores::Stores;

/// An id as the lines tell it, beside what the journal has of it.
pub(super) struct Entity {
    id: PersistenceId,
    /// Where it stood when its lines began.
    head: Head,
    /// The number that the next line must have.
    next: SeqNr,
    /// The token of the line before.
    token: Token,
    /// What the journal has, to be compared; `None` where it has nothing.
    stored: Option<BoxStream<'static, Result<Replayed, JournalError>>>,
    /// Up to here the journal's events were deleted: there is nothing to compare with.
    deleted_to: SeqNr,
    refused: bool,
}

/// What to do about a line.
pub(super) enum Next {
    /// The journal has the event.
    Known,
    /// Append it.
    Write(Box<Envelope>),
    /// The journal has what a line about deleted events says.
    Nothing,
    /// Append placeholders for these numbers, if any, then delete up to the last.
    Delete(RangeInclusive<u64>),
    /// The lines and the journal have two histories.
    Refuse(String),
}

impl Entity {
    pub(super) async fn begin(stores: &Stores, id: PersistenceId) -> Result<Self, JournalError> {
        let head = stores.journal.head(&id).await?;
        let stored =
            (head.seq_nr > SeqNr::ZERO).then(|| stores.journal.replay(ReplayRange::all(&id).to(head.seq_nr)));
        Ok(Self {
            id,
            head,
            next: SeqNr::FIRST,
            token: Token::NONE,
            stored,
            deleted_to: SeqNr::ZERO,
            refused: false,
        })
    }

    pub(super) fn id(&self) -> &PersistenceId {
        &self.id
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Its other lines are passed over.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// An event's line.
    pub(super) async fn event(&mut self, event: Box<Envelope>) -> Result<Next, JournalError> {
        let seq_nr = event.seq_nr;
        if event.key_id.is_some() {
            return Ok(Next::Refuse(format!(
                "{seq_nr:?} is sealed under a key of the journal that it comes from; export it so that its payload is plain"
            )));
        }
        if seq_nr != self.next {
            return Ok(Next::Refuse(format!(
                "its lines have {seq_nr:?} where {:?} follows; lines are ordered by number, from 1 or behind a deleted_to",
                self.next
            )));
        }
        if event.token < self.token {
            return Ok(Next::Refuse(format!(
                "{seq_nr:?} has token {} behind {}; tokens never fall, so a line was changed",
                event.token, self.token
            )));
        }
        self.token = event.token;
        self.next = seq_nr.next();
        if seq_nr > self.head.seq_nr {
            if event.token < self.head.token {
                return Ok(Next::Refuse(format!(
                    "the journal's owner has token {}, newer than {} of {seq_nr:?}: it went on elsewhere",
                    self.head.token, event.token
                )));
            }
            return Ok(Next::Write(event));
        }
        Ok(match self.stored(seq_nr).await? {
            Some(stored) if stored == *event => Next::Known,
            None => Next::Known,
            Some(stored) => Next::Refuse(format!(
                "its {seq_nr:?} in the journal is another event ({}, {})",
                stored.manifest, stored.timestamp
            )),
        })
    }

    /// The line that says that events were deleted.
    pub(super) async fn deleted(&mut self, to: SeqNr) -> Result<Next, JournalError> {
        if self.next != SeqNr::FIRST || to < SeqNr::FIRST {
            return Ok(Next::Refuse("a deleted_to stands before all events of an id, and from 1 on".into()));
        }
        if to.get() > MOST_PLACEHOLDERS {
            return Ok(Next::Refuse(format!(
                "events up to {to:?} are said to be deleted, at most {MOST_PLACEHOLDERS} are taken"
            )));
        }
        self.next = to.next();
        if self.head.seq_nr == SeqNr::ZERO {
            return Ok(Next::Delete(1..=to.get()));
        }
        if self.head.deleted_to >= to {
            self.deleted_to = self.head.deleted_to;
            return Ok(Next::Nothing);
        }
        // Events that are still there are not thrown away; placeholders of an import that was broken off are.
        match self.stored(SeqNr::FIRST).await? {
            Some(first) if first.manifest.as_str() != PLACEHOLDER => {
                if self.head.seq_nr < to {
                    let head = self.head.seq_nr;
                    return Ok(Next::Refuse(format!(
                        "the journal has its events up to {head:?}, and {to:?} was deleted"
                    )));
                }
                Ok(Next::Nothing)
            }
            _ => {
                self.deleted_to = to;
                Ok(Next::Delete(self.head.seq_nr.next().get()..=to.get()))
            }
        }
    }

    /// The line that says that events were erased: nothing of them is left but their numbers.
    pub(super) async fn erased(&mut self, to: SeqNr) -> Result<Next, JournalError> {
        if self.next == SeqNr::FIRST {
            return self.deleted(to).await;
        }
        let from = self.next.max(self.head.seq_nr.next());
        if to < self.next || to.get() - self.next.get() > MOST_PLACEHOLDERS {
            return Ok(Next::Refuse(format!("an erased_to of {to:?} stands where {:?} follows", self.next)));
        }
        self.next = to.next();
        Ok(if from > to { Next::Nothing } else { Next::Delete(from.get()..=to.get()) })
    }

    /// The event that the journal has at a number; `None` when it was deleted there.
    async fn stored(&mut self, seq_nr: SeqNr) -> Result<Option<Envelope>, JournalError> {
        if seq_nr <= self.deleted_to {
            return Ok(None);
        }
        let Some(stored) = &mut self.stored else { return Ok(None) };
        while let Some(item) = stored.next().await {
            match item? {
                Replayed::Deleted { to, .. } => {
                    self.deleted_to = to;
                    if seq_nr <= to {
                        return Ok(None);
                    }
                }
                Replayed::Event(event) if event.envelope.seq_nr >= seq_nr => return Ok(Some(event.envelope)),
                _ => {}
            }
        }
        Err(JournalError::missing_event(&self.id, seq_nr, "the replay ended"))
    }

    /// An event in the place of one that was deleted: an append has no number but the next.
    pub(super) fn placeholder(&self, seq_nr: SeqNr) -> anyhow::Result<Envelope> {
        Ok(Envelope {
            persistence_id: self.id.clone(),
            seq_nr,
            token: self.head.token,
            writer: WriterId::from_bytes([0; 16]),
            timestamp: Timestamp::from_micros(0),
            manifest: Manifest::new(PLACEHOLDER)?,
            schema_version: 1,
            codec: Codec::Json,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: Bytes::from_static(b"null"),
        })
    }
}

/// More are more likely a wrong line.
const MOST_PLACEHOLDERS: u64 = 10_000_000;
/// What stands in the place of deleted events for a moment.
const PLACEHOLDER: &str = "annals.deleted";
