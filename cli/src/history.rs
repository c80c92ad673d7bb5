use std::sync::Arc;

use annals_journal::encryption::{HistoryCheck, KeyState, Sound};
use annals_journal::{Head, Journal, JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, StoredEvent};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::stores::Stores;

/// An id's events from the lowest number to the highest, also behind those that cannot be read.
///
/// A replay ends at its first error. This goes on: behind the number that the error names; where it names none (a page of
/// the file is damaged), event by event.
pub(crate) struct History {
    journal: Arc<dyn Journal>,
    id: PersistenceId,
    next: SeqNr,
    to: SeqNr,
    replay: Option<BoxStream<'static, Result<Replayed, JournalError>>>,
    /// Numbers that are still read one by one.
    careful: u64,
    /// Of these, how many in a row could not be read.
    in_vain: u64,
    /// Opens what is sealed.
    check: Option<HistoryCheck>,
    /// What comes behind a range that was given before.
    held: Option<Chapter>,
}

/// What a history has.
pub(crate) enum Chapter {
    /// What a replay gives.
    Item(Replayed),
    /// An event that is missing or cannot be read. The number is that of the place, if not of the error.
    Unreadable(SeqNr, JournalError),
    /// The journal cannot be asked any further.
    Broken(JournalError),
}

impl History {
    /// The events of an id between two numbers; `to` must not be above the head.
    pub(crate) fn of(journal: Arc<dyn Journal>, id: &PersistenceId, from: SeqNr, to: SeqNr) -> Self {
        let next = from.max(SeqNr::FIRST);
        Self {
            journal,
            id: id.clone(),
            next,
            to,
            replay: None,
            careful: 0,
            in_vain: 0,
            check: None,
            held: None,
        }
    }

    /// The same with sealed events opened and their places checked, where there are keys. Those that cannot be opened are unreadable.
    pub(crate) async fn opened(
        stores: &Stores,
        id: &PersistenceId,
        head: Head,
        from: SeqNr,
        to: SeqNr,
    ) -> Self {
        let history = Self::of(stores.stored_journal().clone(), id, from, to);
        let Some(sealed) = stores.sealed() else { return history };
        let keys = KeyState::read(&*stores.records, &[id]).await.pop();
        let mut check = sealed.check(id, head, keys.and_then(Result::ok));
        if history.next > SeqNr::FIRST {
            check.missing();
        }
        Self { check: Some(check), ..history }
    }

    /// What comes next; `None` at the end, and after [`Chapter::Broken`].
    pub(crate) async fn next(&mut self) -> Option<Chapter> {
        let mut erased: Option<(SeqNr, SeqNr)> = None;
        loop {
            let chapter = match self.held.take() {
                Some(held) => Some(held),
                None => self.one().await,
            };
            match (erased, chapter) {
                // Erased events are told as one range, as a replay does.
                (range, Some(Chapter::Item(Replayed::Erased { from, to }))) => {
                    erased = Some((range.map_or(from, |(first, _)| first), to));
                }
                (None, chapter) => return chapter,
                (Some((from, to)), chapter) => {
                    self.held = chapter;
                    return Some(Chapter::Item(Replayed::Erased { from, to }));
                }
            }
        }
    }

    async fn one(&mut self) -> Option<Chapter> {
        let chapter = self.stored().await;
        let Some(check) = &mut self.check else { return chapter };
        let unreadable = |at, error| Some(Chapter::Unreadable(at, error));
        match chapter {
            Some(Chapter::Item(Replayed::Event(event))) => {
                let at = event.envelope.seq_nr;
                match check.event(&event.envelope).await {
                    Ok(Sound::Opened(envelope)) => {
                        Some(Chapter::Item(Replayed::Event(StoredEvent { envelope: *envelope, ..event })))
                    }
                    Ok(Sound::Erased) => Some(Chapter::Item(Replayed::Erased { from: at, to: at })),
                    Err(faults) if !faults.is_empty() => {
                        faults.into_iter().next().and_then(|fault| unreadable(at, fault.error))
                    }
                    _ => Some(Chapter::Item(Replayed::Event(event))),
                }
            }
            Some(Chapter::Item(Replayed::Deleted { from, to })) => match check.deleted(to).await {
                Ok(()) => Some(Chapter::Item(Replayed::Deleted { from, to })),
                Err(fault) => unreadable(to, fault.error),
            },
            Some(Chapter::Unreadable(at, error)) => {
                check.missing();
                unreadable(at, error)
            }
            None => {
                let check = self.check.take().filter(|check| check.head().seq_nr == self.to)?;
                let at = self.to;
                check.end().await.err().and_then(|fault| unreadable(at, fault.error))
            }
            other => other,
        }
    }

    /// What is stored next.
    async fn stored(&mut self) -> Option<Chapter> {
        loop {
            if self.replay.is_none() {
                if self.next > self.to {
                    return None;
                }
                let range = ReplayRange::all(&self.id).from(self.next).to(self.to);
                let range = if self.careful > 0 { range.limit(1) } else { range };
                self.replay = Some(self.journal.replay(range));
            }
            let item = match &mut self.replay {
                Some(replay) => replay.next().await,
                None => None,
            };
            match item {
                None => {
                    self.replay = None;
                    if self.careful == 0 {
                        return self.ended_early();
                    }
                    // One event was asked for, and was given before.
                    self.careful -= 1;
                }
                Some(Ok(item)) => {
                    self.in_vain = 0;
                    let last = match &item {
                        Replayed::Event(event) => event.envelope.seq_nr,
                        Replayed::Deleted { to, .. } | Replayed::Erased { to, .. } => *to,
                        _ => self.next,
                    };
                    self.next = last.next();
                    return Some(Chapter::Item(item));
                }
                Some(Err(JournalError::Corrupt { seq_nr: Some(at), persistence_id, reason })) => {
                    self.replay = None;
                    let at = at.max(self.next);
                    self.next = at.next();
                    let error = JournalError::Corrupt { seq_nr: Some(at), persistence_id, reason };
                    return Some(Chapter::Unreadable(at, error));
                }
                Some(Err(error @ JournalError::Corrupt { .. })) => {
                    self.replay = None;
                    if self.careful == 0 {
                        // A replay reads many events at a time: look which of them it is.
                        self.careful = CAREFUL;
                        continue;
                    }
                    self.in_vain += 1;
                    if self.in_vain > IN_VAIN {
                        self.next = self.to.next();
                        return Some(Chapter::Broken(error));
                    }
                    let at = self.next;
                    self.next = at.next();
                    self.careful = CAREFUL;
                    return Some(Chapter::Unreadable(at, error));
                }
                Some(Err(error)) => {
                    self.replay = None;
                    self.next = self.to.next();
                    return Some(Chapter::Broken(error));
                }
            }
        }
    }

    /// A replay ends at the head; one that ends before it has lost the rest.
    fn ended_early(&mut self) -> Option<Chapter> {
        let at = self.next;
        if at > self.to {
            return None;
        }
        self.next = at.next();
        Some(Chapter::Unreadable(
            at,
            JournalError::missing_event(&self.id, at, format_args!("the head is {:?}", self.to)),
        ))
    }
}

/// As many events as one read of a backend may have.
const CAREFUL: u64 = 2_048;
/// A damaged page of a file has fewer events.
const IN_VAIN: u64 = 4_096;
