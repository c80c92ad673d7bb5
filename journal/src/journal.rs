use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Envelope, JournalError, Offset, PersistenceId, SeqNr, SliceRange, Tag, Token};

/// Stores events. Everything that a backend author implements, together with [`Records`](crate::Records).
///
/// Object safe, over bytes, and free of users' types: cross-cutting behaviour (group commit, encryption, telemetry) is
/// a journal around a journal. The conformance suite has a test for each sentence below.
///
/// What holds for every method:
/// - An id's sequence numbers are 1..n without gap or double (I2). Its head, its token and how far it was deleted are
///   never forgotten, not even when all its events are.
/// - Bytes from the store never panic: what cannot be read is [`JournalError::Corrupt`] with persistence id and number.
/// - A future that is dropped leaves what it was doing done or not done, never half done.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Decides each write in the order of the list, commits what was accepted, and answers them one by one.
    ///
    /// The answers have the order and the length of `writes`. All that one call stores may be one commit: this is where
    /// group commit comes from. Each entry is decided by itself, in this way:
    ///
    /// - [`Write::Append`]: stored when the id's head equals `expected` **and** the stored token is not newer than
    ///   `token`, both judged in the same atomic step that stores (I4). All of its events or none (I3). Raises the stored
    ///   token to `token`.
    /// - [`Write::Claim`]: raises the stored token to `token` when the stored one is not newer. What is stored from then
    ///   on is all that there will ever be from older tokens.
    /// - [`Write::Verify`]: like a claim, but only checks: answered `Ok` when the stored token is exactly `token`, at
    ///   some moment between call and answer.
    ///
    /// Once an entry is answered with an error, every later entry of the same id and token in this list is answered alike
    /// and not stored. Entries of other ids, and of other tokens of the same id, are still decided by themselves.
    ///
    /// `Ok`: the write is durable as the journal's durability setting promises, and the [`Head`] is the id's head right
    /// after this write. Concurrent readers that begin after the answer see it.
    ///
    /// # Errors
    /// Each entry its own: [`Conflict`](JournalError::Conflict) (append, head differs; also when both the head
    /// differs and the token is equal), [`Fenced`](JournalError::Fenced) and [`Superseded`](JournalError::Superseded)
    /// (the stored token is newer; this is said rather than a conflict when both are true; [`Write::Verify`] of an id
    /// whose stored token is older: `Superseded`),
    /// [`Rejected`](JournalError::Rejected) (empty, too large, or not numbered `expected + 1..`),
    /// [`Unavailable`](JournalError::Unavailable) (certainly not stored),
    /// [`Unknown`](JournalError::Unknown) (it may be stored, or become so at any later time, until a newer token has
    /// claimed the id), [`Corrupt`](JournalError::Corrupt).
    ///
    /// # Cancel safety
    /// A dropped call is an unknown outcome.
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>>;

    /// Streams an id's events from the lowest number to the highest, in bounded memory.
    ///
    /// The stream has the events with `from <= number <= to` that were stored when it began, at most `limit` of them, each
    /// once and in order. Numbers of the range that were deleted come first as one [`Replayed::Deleted`], which does not
    /// count against `limit`. An unknown id gives an empty stream. An event that is
    /// deleted while the stream runs is either given or part of a `Deleted` item, never silently missing.
    ///
    /// The stream ends after its first error.
    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>>;

    /// The id's head, token and how far it was deleted; for an id that was never written [`Head::EMPTY`].
    ///
    /// Linearizable: it sees every write that was answered before the call.
    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError>;

    /// Deletes the id's events up to a number. The head stays, offsets are not used again, and readers meet
    /// a typed item in place of what is gone.
    ///
    /// `Ok`: no read that begins afterwards gives an event at or below `to`. Deleting what was deleted is `Ok`.
    ///
    /// # Errors
    /// [`Rejected`](JournalError::Rejected) when `to` is above the head (nothing is deleted then).
    /// After [`Unknown`](JournalError::Unknown) the deletion may be done; do it again.
    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError>;

    /// Puts another envelope in the place of a stored event, only where its stored bytes are still `old`.
    ///
    /// For re-sealing and rewriting: persistence id, number, time stamp and offset stay; tags follow the new envelope.
    /// `Ok(true)`: readers that begin afterwards see the new envelope. `Ok(false)`: the event is not there or has other
    /// bytes; nothing changed. `old` is [`StoredEvent::bytes`].
    ///
    /// # Errors
    /// [`Rejected`](JournalError::Rejected) when `new` names another id, number or time stamp than `old`, or is too large.
    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError>;

    /// Events that carry a tag, after an offset, in the order of offsets.
    ///
    /// See [`Journal::events_by_slice`] for what a page promises. A deleted range of an id is given once for the page's tag when one
    /// of the deleted events carried it.
    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError>;

    /// Events of the ids in a range of slices, after an offset, in the order of offsets.
    ///
    /// At most `limit` items, all with an offset above `after`. [`Page::complete_to`] is the mark up to which nothing is missing
    /// and nothing will ever appear (I10): resume there. It is at least `after`, and at least the last item's offset; when a page has
    /// fewer than `limit` items everything that was committed when the call began is at or below it, except behind a transaction that
    /// is still open. Events of one id are in the order of their numbers. Where events were deleted, the page has one
    /// [`PageItem::Deleted`] an id, at the offset of the last deleted event.
    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError>;

    /// Persistence ids in the order of their text, after one, at most `limit`.
    ///
    /// An id is listed from its first claim or append on, for ever. Fewer than `limit`: there are no more.
    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError>;

    /// What the journal can take.
    fn limits(&self) -> Limits;
}

/// One entry of [`Journal::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Store events.
    Append(AtomicWrite),
    /// Take an id over: raise its token without an event.
    Claim {
        /// Which id.
        persistence_id: PersistenceId,
        /// The new owner's token.
        token: Token,
    },
    /// Check that a token is still the newest.
    Verify {
        /// Which id.
        persistence_id: PersistenceId,
        /// The token that should be stored.
        token: Token,
    },
}

impl Write {
    /// The id that is written.
    pub fn persistence_id(&self) -> &PersistenceId {
        match self {
            Self::Append(append) => &append.persistence_id,
            Self::Claim { persistence_id, .. } | Self::Verify { persistence_id, .. } => persistence_id,
        }
    }

    /// The token under which it is written.
    pub fn token(&self) -> Token {
        match self {
            Self::Append(append) => append.token,
            Self::Claim { token, .. } | Self::Verify { token, .. } => *token,
        }
    }

    /// About how many bytes it puts into a commit.
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        match self {
            Self::Append(append) => append.events.iter().map(|event| event.payload.len() + OVERHEAD).sum(),
            Self::Claim { .. } | Self::Verify { .. } => OVERHEAD,
        }
    }
}

/// Events of one id that are stored all or none (I3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtomicWrite {
    /// Which id.
    pub persistence_id: PersistenceId,
    /// The head that this append builds on.
    pub expected: SeqNr,
    /// The writer's token.
    pub token: Token,
    /// At least one, numbered from `expected + 1`, each naming the id and the token above.
    pub events: Vec<Envelope>,
}

impl AtomicWrite {
    /// The number of the last event; `expected` when there is none.
    pub fn last(&self) -> SeqNr {
        self.expected.plus(self.events.len() as u64)
    }

    /// Checks what every backend must refuse before it looks at its store.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] with the reason.
    pub fn check(&self, limits: Limits) -> Result<(), JournalError> {
        let rejected = |reason: String| Err(JournalError::rejected(&self.persistence_id, reason));
        if self.events.is_empty() {
            return rejected("an append needs at least one event".into());
        }
        if self.events.len() > limits.max_events {
            return rejected(format!(
                "{} events in one append, at most {} are allowed",
                self.events.len(),
                limits.max_events
            ));
        }
        let mut number = self.expected;
        for event in &self.events {
            number = number.next();
            if event.seq_nr != number || number == self.expected {
                return rejected(format!("event {:?} stands where {number:?} belongs", event.seq_nr));
            }
            if event.persistence_id != self.persistence_id || event.token != self.token {
                return rejected(format!("event {number:?} names another id or token than its append"));
            }
            limits.check(event)?;
        }
        Ok(())
    }
}

/// What a journal can take in one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of one event, in bytes. Every backend takes at least 1 MiB.
    pub max_payload_bytes: usize,
    /// The most events in one append. Every backend takes at least 256.
    pub max_events: usize,
}

impl Limits {
    /// Checks what holds for each event by itself: the size of its payload and the count of its tags.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] with the limit that is exceeded.
    pub fn check(&self, event: &Envelope) -> Result<(), JournalError> {
        let rejected = |what: String| {
            let (number, manifest) = (event.seq_nr, &event.manifest);
            Err(JournalError::rejected(
                &event.persistence_id,
                format!("event {number:?} ({manifest}) has {what} are allowed"),
            ))
        };
        let (payload, tags) = (event.payload.len(), event.tags.len());
        if payload > self.max_payload_bytes {
            return rejected(format!("a payload of {payload} bytes, at most {}", self.max_payload_bytes));
        }
        if tags > Tag::MAX_PER_EVENT {
            return rejected(format!("{tags} tags, at most {}", Tag::MAX_PER_EVENT));
        }
        Ok(())
    }
}

/// Where an id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The highest number ever stored; [`SeqNr::ZERO`] when there is none.
    pub seq_nr: SeqNr,
    /// The newest token that claimed or wrote.
    pub token: Token,
    /// Events up to this number were deleted; [`SeqNr::ZERO`] when none was.
    pub deleted_to: SeqNr,
}

impl Head {
    /// The head of an id that nobody has claimed or written.
    pub const EMPTY: Self = Self { seq_nr: SeqNr::ZERO, token: Token::NONE, deleted_to: SeqNr::ZERO };
}

/// Which events to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRange {
    /// Which id.
    pub persistence_id: PersistenceId,
    /// The lowest number.
    pub from: SeqNr,
    /// The highest number.
    pub to: SeqNr,
    /// The most events.
    pub limit: u64,
}

impl ReplayRange {
    /// All events of an id.
    pub fn all(persistence_id: &PersistenceId) -> Self {
        Self { persistence_id: persistence_id.clone(), from: SeqNr::FIRST, to: SeqNr::MAX, limit: u64::MAX }
    }

    /// The same from a number on.
    #[must_use]
    pub fn from(self, from: SeqNr) -> Self {
        Self { from, ..self }
    }

    /// The same up to a number.
    #[must_use]
    pub fn to(self, to: SeqNr) -> Self {
        Self { to, ..self }
    }

    /// The same with at most this many events.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }
}

/// An item of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would cost each an allocation")]
pub enum Replayed {
    /// An event.
    Event(StoredEvent),
    /// These numbers of the range that was asked for were deleted.
    Deleted {
        /// The first.
        from: SeqNr,
        /// The last.
        to: SeqNr,
    },
}

/// An event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the journal.
    pub offset: Offset,
    /// What it says.
    pub envelope: Envelope,
    /// The bytes that are stored, for [`Journal::replace`].
    pub bytes: Bytes,
}

impl StoredEvent {
    /// Checks what every backend must refuse in [`Journal::replace`] before it looks at its store.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] when `new` is another event than this one, or too large.
    pub fn check_replacement(&self, new: &Envelope, limits: Limits) -> Result<(), JournalError> {
        let old = &self.envelope;
        let same = |envelope: &Envelope| (envelope.seq_nr, envelope.timestamp);
        if old.persistence_id != new.persistence_id || same(old) != same(new) {
            return Err(JournalError::rejected(
                &old.persistence_id,
                format!(
                    "event {:?} of {} cannot be replaced by event {:?} of {}: id, number and time stamp must stay",
                    old.seq_nr, old.timestamp, new.seq_nr, new.timestamp
                ),
            ));
        }
        limits.check(new)
    }
}

/// A piece of the journal in the order of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub items: Vec<PageItem>,
    /// Nothing at or below is missing, and nothing will appear there: go on from here.
    pub complete_to: Offset,
}

/// An item of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would cost each an allocation")]
pub enum PageItem {
    /// An event.
    Event(StoredEvent),
    /// Events of an id that were deleted; some of them may have been read before.
    Deleted {
        /// The offset of the last one.
        offset: Offset,
        /// Which id.
        persistence_id: PersistenceId,
        /// The first, always 1.
        from: SeqNr,
        /// The last.
        to: SeqNr,
    },
}

impl PageItem {
    /// The place in the journal.
    pub fn offset(&self) -> Offset {
        match self {
            Self::Event(event) => event.offset,
            Self::Deleted { offset, .. } => *offset,
        }
    }
}

/// Single writes, for callers that have only one.
pub trait JournalExt: Journal {
    /// Appends one list of events, see [`Journal::write`].
    ///
    /// # Errors
    /// As [`Journal::write`].
    fn append(&self, append: AtomicWrite) -> impl Future<Output = Result<Head, JournalError>> + Send {
        self.write_one(Write::Append(append))
    }

    /// Claims an id for a token, see [`Journal::write`].
    ///
    /// # Errors
    /// As [`Journal::write`].
    fn claim(
        &self,
        id: &PersistenceId,
        token: Token,
    ) -> impl Future<Output = Result<Head, JournalError>> + Send {
        self.write_one(Write::Claim { persistence_id: id.clone(), token })
    }

    /// Checks that a token is the newest of its id, see [`Journal::write`].
    ///
    /// # Errors
    /// As [`Journal::write`].
    fn verify(
        &self,
        id: &PersistenceId,
        token: Token,
    ) -> impl Future<Output = Result<Head, JournalError>> + Send {
        self.write_one(Write::Verify { persistence_id: id.clone(), token })
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// As [`Journal::write`].
    fn write_one(&self, write: Write) -> impl Future<Output = Result<Head, JournalError>> + Send {
        async move {
            self.write(vec![write]).await.pop().unwrap_or_else(|| {
                Err(JournalError::Unknown { reason: "the journal gave no answer".into(), source: None })
            })
        }
    }
}

impl<J: Journal + ?Sized> JournalExt for J {}

#[async_trait]
impl<J: Journal + ?Sized> Journal for Arc<J> {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        (**self).write(writes).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        (**self).replay(range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        (**self).head(id).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        (**self).delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        (**self).replace(old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        (**self).events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        (**self).events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        (**self).persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        (**self).limits()
    }
}
