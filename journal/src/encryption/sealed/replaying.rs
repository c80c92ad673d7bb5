use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{BoxStream, Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ids::Stored;
use super::plain::{BEHIND_SEALED, REFUSED};
use super::record::{Links, Record};
use super::run::{Opened, Run};
use super::{Vault, events};
use crate::encryption::DataKey;
use crate::{Envelope, JournalError, KeyId, ReplayRange, Replayed, SeqNr, StoredEvent};

/// Opens a range of an id's events, and checks that each follows the one before, and the newest that it is what the mark says.
///
/// ```text
///  inner journal ─→ gather ─→ runs and other items, in order ─→ checked upon what came before ─→ given
///                   └ behind the first full run: in tasks of its own, a few runs before they are asked for ┘
/// ```
pub(super) fn replay(
    vault: Arc<Vault>,
    range: ReplayRange,
) -> BoxStream<'static, Result<Replayed, JournalError>> {
    let first = async move {
        match Replay::begin(vault, range).await {
            Ok(replay) => step(Box::new(replay)).await,
            Err(error) => (None, Err(error)),
        }
    };
    Given { from: From::Here(first.boxed()), events: Vec::new().into_iter() }.boxed()
}

/// One item after the other. Events of a run are given without a further look at what they come from.
struct Given {
    from: From,
    events: vec::IntoIter<StoredEvent>,
}

/// Where the next items come from.
enum From {
    /// Whoever asks for them.
    Here(BoxFuture<'static, (Option<Box<Replay>>, Answer)>),
    /// A task.
    Ahead(mpsc::Receiver<Answer>),
    Ended,
}

/// `None`: that was all.
type Answer = Result<Option<Items>, JournalError>;

async fn step(mut replay: Box<Replay>) -> (Option<Box<Replay>>, Answer) {
    let answer = replay.next_gathered().await;
    (Some(replay), answer)
}

/// Has the next items made and sent, and then those behind them. Each are made in a task of its own: the spawning one ends, and so whoever
/// was woken by what it sent is not kept waiting behind it, but taken by another thread.
fn go_ahead(runtime: &Handle, mut replay: Box<Replay>, items: mpsc::Sender<Answer>) {
    let handle = runtime.clone();
    runtime.spawn(async move {
        // Nobody listens any more.
        let Ok(room) = items.reserve_owned().await else { return };
        let answer = replay.next_gathered().await;
        let more = matches!(answer, Ok(Some(_)));
        let items = room.send(answer);
        if more {
            go_ahead(&handle, replay, items);
        }
    });
}

impl Stream for Given {
    type Item = Result<Replayed, JournalError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let given = &mut *self;
        loop {
            if let Some(event) = given.events.next() {
                return Poll::Ready(Some(Ok(Replayed::Event(event))));
            }
            let answer = match &mut given.from {
                From::Ended => return Poll::Ready(None),
                From::Here(items) => {
                    let (replay, answer) = ready!(items.poll_unpin(context));
                    given.from = match (replay, Handle::try_current()) {
                        (Some(replay), Ok(runtime)) if replay.was_full && matches!(answer, Ok(Some(_))) => {
                            let (sender, receiver) = mpsc::channel(RUNS_AHEAD);
                            go_ahead(&runtime, replay, sender);
                            From::Ahead(receiver)
                        }
                        (Some(replay), _) => From::Here(step(replay).boxed()),
                        (None, _) => From::Ended,
                    };
                    answer
                }
                From::Ahead(items) => ready!(items.poll_recv(context)).unwrap_or_else(|| Err(stopped())),
            };
            match answer {
                Ok(Some(Items::Events(events))) => given.events = events,
                Ok(Some(Items::One(item))) => return Poll::Ready(Some(Ok(item))),
                Ok(None) => given.from = From::Ended,
                Err(error) => {
                    given.from = From::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

fn stopped() -> JournalError {
    JournalError::Unavailable { reason: "the runtime stopped while events were opened".into(), source: None }
}

struct Replay {
    vault: Arc<Vault>,
    asked: ReplayRange,
    items: BoxStream<'static, Result<Replayed, JournalError>>,
    /// It was taken from `items`, and does not belong to the run before it.
    pulled: Option<Result<Replayed, JournalError>>,
    ended: bool,
    ahead: VecDeque<Ahead>,
    /// Whether the last run was as long as one may be.
    was_full: bool,
    /// A head that was there before the first event was read.
    stored: Stored,
    before: Before,
    /// The last number that was met.
    seen: SeqNr,
    /// Events that may still be given.
    left: u64,
    key: Option<Arc<DataKey>>,
    context: Vec<u8>,
    /// What came behind a range of erased events, or behind those of a run that were right.
    held: Option<Result<Option<Items>, JournalError>>,
}

/// What was read and not given yet.
enum Ahead {
    Item(Result<Replayed, JournalError>),
    Run(Run),
}

/// Given one after the other.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is not moved while it is given")]
enum Items {
    One(Replayed),
    Events(vec::IntoIter<StoredEvent>),
}

/// A sealed event, and whether it opens.
#[allow(clippy::large_enum_variant, reason = "nearly all open")]
enum WithKey {
    Opens(StoredEvent, Arc<DataKey>),
    Erased(StoredEvent),
}

/// What the next event must build on.
#[derive(Debug, Clone, Copy)]
enum Before {
    Plain(Links),
    /// Deleted when it was plain; or nothing is before it.
    Gone(Links),
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
        let before = Before::Gone(Links::only(vault.begins(id, SeqNr::ZERO)));
        let (seen, left) = (from.previous(), asked.limit);
        Ok(Self {
            vault,
            asked,
            items,
            pulled: None,
            ended: false,
            ahead: VecDeque::new(),
            was_full: false,
            stored,
            before,
            seen,
            left,
            key: None,
            context: Vec::with_capacity(events::CONTEXT_BYTES),
            held: None,
        })
    }

    /// The next items, erased neighbours as one.
    async fn next_gathered(&mut self) -> Result<Option<Items>, JournalError> {
        let next = self.next_held().await?;
        let Some(Items::One(Replayed::Erased { from, mut to })) = next else { return Ok(next) };
        loop {
            match self.next_held().await {
                Ok(Some(Items::One(Replayed::Erased { to: more, .. }))) => to = more,
                other => {
                    self.held = Some(other);
                    return Ok(Some(Items::One(Replayed::Erased { from, to })));
                }
            }
        }
    }

    async fn next_held(&mut self) -> Result<Option<Items>, JournalError> {
        match self.held.take() {
            Some(held) => held,
            None => self.next().await,
        }
    }

    async fn next(&mut self) -> Result<Option<Items>, JournalError> {
        while self.left > 0 {
            self.read_ahead().await;
            let items = match self.ahead.pop_front() {
                None => {
                    self.check_end().await?;
                    return Ok(None);
                }
                Some(Ahead::Item(item)) => self.item(item?).await?.map(Items::One),
                Some(Ahead::Run(run)) => match self.before {
                    Before::Sealed(before) => self.opened(run.open(before)).await?,
                    // The first that is sealed is looked at by itself.
                    Before::Plain(_) | Before::Gone(_) | Before::Deleted => {
                        let (first, others) = run.split();
                        if let Some(others) = others {
                            self.ahead.push_front(Ahead::Run(others));
                        }
                        self.one_by_one(first);
                        None
                    }
                },
            };
            if items.is_some() {
                return Ok(items);
            }
        }
        self.check_plain_end().await?;
        Ok(None)
    }

    /// Has at least one item ahead, unless there is none.
    async fn read_ahead(&mut self) {
        if !self.ahead.is_empty() {
            return;
        }
        let item = match self.pull_now() {
            None if !self.ended => self.items.next().await,
            there => there,
        };
        match item {
            Some(item) => self.gather(item).await,
            None => self.ended = true,
        }
    }

    /// The next item of the inner journal, if it is there already.
    fn pull_now(&mut self) -> Option<Result<Replayed, JournalError>> {
        if self.pulled.is_some() || self.ended {
            return self.pulled.take();
        }
        let next = self.items.next().now_or_never()?;
        self.ended = next.is_none();
        next
    }

    /// Puts an item ahead, with those that are there already and belong to its run.
    async fn gather(&mut self, first: Result<Replayed, JournalError>) {
        let mut run = match self.begin_run(first).await {
            Ok(run) => run,
            Err(item) => return self.ahead.push_back(Ahead::Item(item)),
        };
        while !run.is_full() {
            match self.pull_now() {
                Some(Ok(Replayed::Event(event))) if run.takes(&event) => run.push(event),
                other => {
                    self.pulled = other;
                    break;
                }
            }
        }
        self.was_full = run.is_full();
        self.ahead.push_back(Ahead::Run(run));
    }

    /// A run that begins with a sealed event whose key is there; anything else comes back.
    async fn begin_run(
        &mut self,
        first: Result<Replayed, JournalError>,
    ) -> Result<Run, Result<Replayed, JournalError>> {
        let event = match first {
            Ok(Replayed::Event(event)) if event.envelope.seq_nr >= self.asked.from => event,
            other => return Err(other),
        };
        let Some(key) = event.envelope.key_id else { return Err(Ok(Replayed::Event(event))) };
        match self.key(key).await {
            Ok(key) => Ok(Run::begin(self.vault.clone(), key, event, self.was_full)),
            // It is said where the event is.
            Err(_) => Err(Ok(Replayed::Event(event))),
        }
    }

    /// Has events looked at one by one, before all else that is ahead.
    fn one_by_one(&mut self, events: impl IntoIterator<Item = StoredEvent, IntoIter: DoubleEndedIterator>) {
        for event in events.into_iter().rev() {
            self.ahead.push_front(Ahead::Item(Ok(Replayed::Event(event))));
        }
    }

    /// Gives the events of a run that are right.
    async fn opened(&mut self, opened: Opened) -> Result<Option<Items>, JournalError> {
        let Opened { mut events, mut reach, rest } = opened;
        self.one_by_one(rest);
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if events.len() > left {
            events.truncate(left);
            reach = None;
        }
        let mut looked_at = 0;
        while let Some(at) = position(&events[looked_at..], self.stored.head.seq_nr) {
            let at = looked_at + at;
            self.before = Before::Sealed(self.links_of_opened(&events[at])?);
            if let Err(error) = self.check_newest(events[at].envelope.seq_nr).await {
                self.held = Some(Err(error));
                events.truncate(at);
                reach = None;
            }
            looked_at = events.len().min(at + 1);
        }
        let Some(last) = events.last() else { return self.held.take().unwrap_or(Ok(None)) };
        self.seen = last.envelope.seq_nr;
        self.before = Before::Sealed(match reach {
            Some(links) => links,
            None => self.links_of_opened(last)?,
        });
        self.left -= events.len() as u64;
        Ok(Some(Items::Events(events.into_iter())))
    }

    /// Where an event stands that was opened.
    fn links_of_opened(&self, event: &StoredEvent) -> Result<Links, JournalError> {
        let StoredEvent { envelope, bytes, .. } = event;
        let stored = Envelope::decode_as(bytes, &envelope.persistence_id, envelope.seq_nr)
            .map_err(|error| events::corrupt(envelope, error))?;
        events::links_of(&self.vault.chain, &stored)
    }

    /// Looks at an item by itself; `None` when it is not given.
    async fn item(&mut self, item: Replayed) -> Result<Option<Replayed>, JournalError> {
        match item {
            Replayed::Deleted { from, to } => {
                self.before = self.before_deleted(to).await?;
                self.seen = to;
                let asked = to >= self.asked.from;
                Ok(asked.then(|| Replayed::Deleted { from: from.max(self.asked.from), to }))
            }
            Replayed::Event(event) => {
                let seq_nr = event.envelope.seq_nr;
                self.seen = seq_nr;
                if seq_nr < self.asked.from {
                    self.before = self.links_of(&event.envelope)?;
                    self.check_newest(seq_nr).await?;
                    return Ok(None);
                }
                self.left -= 1;
                let item = self.open(event).await?;
                self.check_newest(seq_nr).await?;
                Ok(Some(item))
            }
            erased => Ok(Some(erased)),
        }
    }

    async fn open(&mut self, event: StoredEvent) -> Result<Replayed, JournalError> {
        let event = match event.envelope.key_id {
            Some(_) => event,
            None => match self.check_plain(&event.envelope).await {
                Ok(()) => return Ok(Replayed::Event(event)),
                // It may have been sealed in its place since it was read.
                Err(error) => {
                    let (id, seq_nr) = (&self.asked.persistence_id, event.envelope.seq_nr);
                    self.vault.sealed_since(id, seq_nr).await?.ok_or(error)?
                }
            },
        };
        let (event, key) = match self.with_key(event).await? {
            WithKey::Opens(event, key) => (event, Some(key)),
            // Its place in the chain is checked all the same.
            WithKey::Erased(event) => (event, None),
        };
        let StoredEvent { offset, envelope, bytes } = event;
        let record = events::record(&envelope)?;
        self.check_follows(&envelope, &record, key.as_deref()).await?;
        let links = events::links(&self.vault.chain, &envelope, &record, &mut self.context);
        self.before = Before::Sealed(links);
        let Some(key) = key else {
            return Ok(Replayed::Erased { from: envelope.seq_nr, to: envelope.seq_nr });
        };
        let envelope = events::open_within(&key, envelope, &record, &self.context)?;
        Ok(Replayed::Event(StoredEvent { offset, envelope, bytes }))
    }

    async fn key(&mut self, id: KeyId) -> Result<Arc<DataKey>, JournalError> {
        if let Some(key) = self.key.as_ref().filter(|key| key.id() == id) {
            return Ok(key.clone());
        }
        let key = self.vault.key_to_open(&self.asked.persistence_id, id).await?;
        Ok(self.key.insert(key).clone())
    }

    async fn with_key(&mut self, event: StoredEvent) -> Result<WithKey, JournalError> {
        if let Some(key) = self.key.as_ref().filter(|key| Some(key.id()) == event.envelope.key_id) {
            return Ok(WithKey::Opens(event, key.clone()));
        }
        match self.vault.with_key(event.clone()).await {
            Ok((event, key)) => Ok(WithKey::Opens(event, self.key.insert(key).clone())),
            Err(JournalError::Erased { .. }) => Ok(WithKey::Erased(event)),
            Err(error) => Err(error),
        }
    }

    async fn check_plain(&mut self, event: &Envelope) -> Result<(), JournalError> {
        let (id, seq_nr) = (&event.persistence_id, event.seq_nr);
        if self.vault.options.refuse_plaintext {
            return Err(events::corrupt(event, REFUSED));
        }
        // Encrypting seals in its place what is in the clear: then one before it is sealed already.
        if matches!(self.before, Before::Sealed(_)) && !self.vault.may_be_plain(id, seq_nr).await? {
            return Err(events::corrupt(event, BEHIND_SEALED));
        }
        self.before = Before::Plain(self.vault.plain_links(id, seq_nr));
        Ok(())
    }

    async fn check_follows(
        &mut self,
        event: &Envelope,
        record: &Record,
        key: Option<&DataKey>,
    ) -> Result<(), JournalError> {
        let (id, before) = (&self.asked.persistence_id, event.seq_nr.previous());
        let may_be_plain = key.is_none_or(|key| before < key.from_seq());
        if let Before::Plain(links) | Before::Gone(links) | Before::Sealed(links) = self.before
            && (may_be_plain || !matches!(self.before, Before::Plain(_)))
            && record.follows(&links)
        {
            match self.before {
                Before::Plain(_) => {
                    let known = self.vault.ids.id(id);
                    let mut known = known.known();
                    known.plain_to = known.plain_to.max(before);
                }
                // The id was encrypted.
                Before::Gone(_) => {
                    if let Some(known) = self.vault.ids.get(id) {
                        let mut known = known.known();
                        known.plain_to = known.plain_to.min(before);
                    }
                }
                Before::Sealed(_) | Before::Deleted => {}
            }
            return Ok(());
        }
        // Plain events that were deleted have no entry, and somebody who wanted to delete more was killed before it was done.
        let plain = self.vault.plain_links(id, before);
        if matches!(self.before, Before::Deleted) && record.follows(&plain) {
            return Ok(());
        }
        // Somebody may have put a new seal in the place of the one before, or have deleted it, since we read it.
        if let Some(links) = self.vault.links_at(id, before).await?
            && (may_be_plain || links != plain || self.vault.is_deleted(id, before).await?)
            && record.follows(&links)
        {
            return Ok(());
        }
        if self.vault.stored(id).await?.head.deleted_to >= event.seq_nr {
            // Gone meanwhile: nobody can say any more what it was built on. Its seal is still its own.
            return Ok(());
        }
        Err(events::corrupt(event, events::DOES_NOT_FOLLOW))
    }

    /// What stands behind deleted events.
    async fn before_deleted(&mut self, to: SeqNr) -> Result<Before, JournalError> {
        let id = &self.asked.persistence_id;
        let plain = self.vault.plain_links(id, to);
        if self.stored.newest.is_none() {
            return Ok(Before::Gone(plain));
        }
        let deletions = self.vault.deletions(id).await?;
        match deletions.at(to) {
            Some(links) if links == plain => Ok(Before::Gone(plain)),
            Some(links) => Ok(Before::Sealed(links)),
            None if deletions.allow(to) => Ok(Before::Deleted),
            None if self.vault.has_sealed(id, to).await? => {
                Err(JournalError::corrupt(id, to, NOT_DELETED_BY_US))
            }
            // Plain events that were deleted before anything was sealed.
            None if to < self.stored.head.seq_nr => Ok(Before::Gone(plain)),
            None if self.stored.newest == Some(plain.link) => Ok(Before::Gone(plain)),
            None => Err(JournalError::corrupt(id, to, NOT_DELETED_BY_US)),
        }
    }

    fn links_of(&self, event: &Envelope) -> Result<Before, JournalError> {
        Ok(match event.key_id {
            None => Before::Plain(self.vault.plain_links(&event.persistence_id, event.seq_nr)),
            Some(_) => Before::Sealed(events::links_of(&self.vault.chain, event)?),
        })
    }

    /// Checks the event that the mark is about, when this is it.
    async fn check_newest(&mut self, seq_nr: SeqNr) -> Result<(), JournalError> {
        for fresh in [false, true] {
            if seq_nr != self.stored.head.seq_nr {
                return Ok(());
            }
            let right = match (self.before, self.stored.newest) {
                (Before::Plain(_) | Before::Gone(_), None) => true,
                // Encrypting begins with the mark of a head that is plain, and ends where nothing may be.
                (Before::Plain(links) | Before::Gone(links), Some(newest)) => {
                    let id = &self.asked.persistence_id;
                    links.link == newest && self.vault.may_be_plain(id, seq_nr).await?
                }
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

/// Where an event with this number is; most have none, and are asked at their ends.
fn position(events: &[StoredEvent], seq_nr: SeqNr) -> Option<usize> {
    let last = events.last()?.envelope.seq_nr;
    if last < seq_nr {
        return None;
    }
    events.iter().position(|event| event.envelope.seq_nr == seq_nr)
}

/// So many are opened before they are asked for.
const RUNS_AHEAD: usize = 4;
pub(super) const NOT_DELETED_BY_US: &str =
    "the events up to this one are gone, and no record says that they were deleted: they were cut off";
pub(super) const NOT_THE_NEWEST: &str = "it is not the event that the id's mark is about: it was changed, or an older one was put back in its place";
