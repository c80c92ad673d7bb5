use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::GroupCommitSettings;
use super::crowd::{ALWAYS_LET_IN, Crowd, Turn};
use super::sent::{Answers, Entry};
use crate::{JournalError, NotStored};

/// Calls that wait for a commit, in the order in which they came.
pub(super) struct Waiting<E> {
    /// Calls with the numbers of their tickets, ascending; `None` where the caller has gone. Neither begins nor ends
    /// with `None`, so that callers that come and go leave nothing behind.
    calls: VecDeque<(u64, Option<Call<E>>)>,
    /// Tickets given out so far. None is given out twice: a caller may give its ticket up when it is long answered.
    tickets: u64,
    /// How many entries the calls have.
    entries: usize,
}

/// One call's list on its way.
pub(super) struct Call<E> {
    /// What is left to be sent.
    pub(super) writes: Vec<E>,
    /// What was refused while it waited, with its place in the list, lowest first.
    refused: Vec<(usize, JournalError)>,
    bytes: usize,
    answer: oneshot::Sender<Answers>,
}

impl<E: Entry> Waiting<E> {
    /// Puts a list at the end; says the number of its ticket, and where its answers will be.
    pub(super) fn push(&mut self, writes: Vec<E>) -> (u64, oneshot::Receiver<Answers>) {
        let number = self.number();
        let (call, answer) = self.call(writes);
        self.calls.push_back((number, Some(call)));
        (number, answer)
    }

    /// The number of another ticket.
    pub(super) fn number(&mut self) -> u64 {
        let number = self.tickets;
        self.tickets += 1;
        number
    }

    #[cfg(feature = "sqlite")]
    /// Puts a list before all others; its [number](Self::number) is from before anything waited.
    pub(super) fn push_first(&mut self, number: u64, writes: Vec<E>) -> oneshot::Receiver<Answers> {
        let (call, answer) = self.call(writes);
        self.calls.push_front((number, Some(call)));
        answer
    }

    fn call(&mut self, writes: Vec<E>) -> (Call<E>, oneshot::Receiver<Answers>) {
        let (sender, answer) = oneshot::channel();
        let bytes = writes.iter().map(Entry::size).sum();
        self.entries += writes.len();
        (Call { writes, refused: Vec::new(), bytes, answer: sender }, answer)
    }

    /// Takes the calls of the next commit, of which `sent` entries and bytes are on their way already: in their order, but for those
    /// of a [`Crowd`] that stay behind.
    pub(super) fn take(&mut self, settings: &GroupCommitSettings, sent: (usize, usize)) -> Vec<Call<E>> {
        let (mut entries, mut bytes) = sent;
        let mut crowd = self.crowd();
        let mut stay = Vec::new();
        let mut batch = Vec::with_capacity(self.calls.len().min(settings.max_entries));
        while let Some((number, slot)) = self.calls.pop_front() {
            let Some(call) = slot else { continue };
            let turn = crowd.as_mut().map_or(Turn::Now, |crowd| crowd.turn(&call.writes));
            let (with_it, bytes_with_it) = (entries + call.writes.len(), bytes + call.bytes);
            let is_full =
                entries > 0 && (with_it > settings.max_entries || bytes_with_it > settings.max_bytes);
            if turn == Turn::Now && !is_full {
                (entries, bytes) = (with_it, bytes_with_it);
                batch.push(call);
                continue;
            }
            stay.push((number, Some(call)));
            if turn != Turn::Later {
                break;
            }
        }
        for call in stay.into_iter().rev() {
            self.calls.push_front(call);
        }
        self.entries -= batch.iter().map(|call: &Call<E>| call.writes.len()).sum::<usize>();
        batch
    }

    fn crowd(&self) -> Option<Crowd> {
        let calls = self.calls.iter().filter_map(|(_, call)| call.as_ref());
        let ids = calls.flat_map(|call| call.writes.iter().map(Entry::persistence_id));
        if self.entries > ALWAYS_LET_IN { Crowd::among(ids) } else { None }
    }

    /// Takes out what must be answered like an entry that was not stored; calls of which nothing is left come back.
    pub(super) fn refuse(&mut self, not_stored: &NotStored) -> Vec<Call<E>> {
        let (mut done, mut refused) = (Vec::new(), 0);
        for (_, slot) in &mut self.calls {
            if let Some(call) = slot.take() {
                let before = call.writes.len();
                let call = call.refuse(not_stored);
                refused += before - call.writes.len();
                if call.writes.is_empty() {
                    done.push(call);
                } else {
                    *slot = Some(call);
                }
            }
        }
        self.entries -= refused;
        self.trim();
        done
    }

    /// Takes out the call with this ticket, if it waits still.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<Call<E>> {
        let index = self.calls.binary_search_by_key(&number, |(number, _)| *number).ok();
        let call = index.and_then(|index| self.calls.get_mut(index)).and_then(|(_, slot)| slot.take());
        self.entries -= call.as_ref().map_or(0, |call| call.writes.len());
        self.trim();
        call
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many entries wait.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn into_calls(self) -> impl Iterator<Item = Call<E>> {
        self.calls.into_iter().filter_map(|(_, call)| call)
    }

    fn trim(&mut self) {
        while let Some((_, None)) = self.calls.front() {
            self.calls.pop_front();
        }
        while let Some((_, None)) = self.calls.back() {
            self.calls.pop_back();
        }
    }
}

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Self { calls: VecDeque::new(), tickets: 0, entries: 0 }
    }
}

impl<E: Entry> Call<E> {
    /// One whose entries are on their way.
    pub(super) fn sent(answer: oneshot::Sender<Answers>) -> Self {
        Self { writes: Vec::new(), refused: Vec::new(), bytes: 0, answer }
    }

    #[cfg(feature = "sqlite")]
    /// About how many its entries put into a commit.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves the entries that must be answered like an earlier one from `writes` to `refused`.
    fn refuse(mut self, not_stored: &NotStored) -> Self {
        let earlier = |entry: &E| not_stored.earlier_of(entry.persistence_id(), entry.token());
        if self.writes.iter().all(|entry| earlier(entry).is_none()) {
            return self;
        }
        let mut before = std::mem::take(&mut self.refused).into_iter().peekable();
        let mut place = 0;
        for entry in std::mem::take(&mut self.writes) {
            while let Some(refused) = before.next_if(|(at, _)| *at == place) {
                self.refused.push(refused);
                place += 1;
            }
            match earlier(&entry) {
                Some(error) => self.refused.push((place, error.clone())),
                None => self.writes.push(entry),
            }
            place += 1;
        }
        self.refused.extend(before);
        self
    }

    /// Tells the caller; `answers` are those of `writes`.
    pub(super) fn answer(self, mut answers: Answers) {
        for (place, error) in self.refused {
            answers.insert(place, Err(error));
        }
        // The caller may have gone.
        let _ = self.answer.send(answers);
    }

    /// What was refused while it waited.
    pub(super) fn refused(&self) -> impl Iterator<Item = &JournalError> {
        self.refused.iter().map(|(_, error)| error)
    }
}
