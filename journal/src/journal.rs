use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

#[cfg(doc)]
use crate::PageItem;
use crate::{
    AtomicWrite, CommitListener, CommitPath, Envelope, Head, JournalError, Limits, Offset, Page,
    PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Token, Write,
};

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
/// - While the record [`Gate::key`](crate::Gate::key) has a value, what its gate refuses is
///   [`Rejected`](JournalError::Rejected) ([`Gate::check`](crate::Gate::check)): judged in the same atomic step as each write.
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
    /// - [`Write::Mark`]: changes the id's [mark](crate::Mark) when the stored token is exactly `token` and the stored mark is what the
    ///   change builds on, both judged in the step that stores.
    ///
    /// An append with a change of the mark is stored, and the mark changed, in one step or not at all; where the stored mark is another
    /// than the change builds on, the append is a conflict.
    ///
    /// Once an entry is answered with an error, every later entry of the same id and token in this list is answered alike
    /// and not stored. Entries of other ids, and of other tokens of the same id, are still decided by themselves.
    ///
    /// `Ok`: the write is durable as the journal's durability setting promises, and the [`Head`] is the id's head right
    /// after this write. Concurrent readers that begin after the answer see it.
    ///
    /// # Errors
    /// Each entry its own: [`Conflict`](JournalError::Conflict) (append, head differs, also when
    /// the token is equal; the stored mark is another than a change builds on), [`Fenced`](JournalError::Fenced) and [`Superseded`](JournalError::Superseded)
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
    /// deleted while the stream runs is either given or part of a `Deleted` item, never silently missing. Neighbours whose key was
    /// destroyed come as one [`Replayed::Erased`], which counts against `limit` as the events that it stands for.
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

    /// As [`Journal::replace`] for many events, each decided by itself and answered in the order of the list.
    ///
    /// A backend commits the whole list at once; this is where a rewriting gets its speed.
    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        let mut answers = Vec::with_capacity(replacements.len());
        for (old, new) in replacements {
            answers.push(self.replace(&old, new).await);
        }
        answers
    }

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

    /// Tells readers in this process of appends; `None`: they look from time to time. A journal around a journal passes it on.
    fn commits(&self) -> Option<CommitListener> {
        None
    }

    /// A shorter way than [`Journal::write`] that [`GroupCommit`](crate::GroupCommit) takes instead, with the same promises. Only
    /// backends of this crate have one; a journal around a journal that changes or watches writes must not pass it on.
    fn commit_path(&self) -> Option<CommitPath> {
        None
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
    // Written out, because every append passes here: an `async fn` would put a second box around the inner one.
    fn write<'life0, 'async_trait>(
        &'life0 self,
        writes: Vec<Write>,
    ) -> BoxFuture<'async_trait, Vec<Result<Head, JournalError>>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        (**self).write(writes)
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

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        (**self).replace_all(replacements).await
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

    fn commits(&self) -> Option<CommitListener> {
        (**self).commits()
    }

    fn commit_path(&self) -> Option<CommitPath> {
        (**self).commit_path()
    }
}
