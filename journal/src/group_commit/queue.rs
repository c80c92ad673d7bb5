use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::GroupCommitSettings;
use super::commit::Batch;
use crate::{Head, JournalError, NotStored, Write};

/// The answers to one call's list.
pub(super) type Answers = Vec<Result<Head, JournalError>>;

/// Calls that wait for a commit, in the order in which they came, and who commits meanwhile.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the committer, which is the only one that waits for it.
    work: Notify,
}

#[derive(Default)]
struct State {
    /// Calls with the numbers of their tickets, ascending; `None` where the caller has gone. Neither begins nor ends
    /// with `None`, so that callers that come and go leave nothing behind.
    calls: VecDeque<(u64, Option<Call>)>,
    /// Tickets given out so far. None is given out twice: a caller may give its ticket up when it is long answered.
    tickets: u64,
    /// How many entries the calls have.
    entries: usize,
    closed: bool,
    /// The committer is gone.
    abandoned: bool,
    commits: Commits,
    /// A commit that its caller began, for the committer.
    begun: Option<Batch>,
    /// The committer found nothing to do and waits.
    idle: bool,
}

/// Whose commit is on its way; there is one at a time.
#[derive(Default, PartialEq, Eq)]
enum Commits {
    #[default]
    None,
    /// A caller polls its own; it does not await meanwhile.
    Caller,
    Committer,
}

/// How a list gets to the backend.
pub(super) enum Entry<'a> {
    /// No commit is on its way: the caller begins one.
    Lead(Lead<'a>, Vec<Write>),
    /// It waits for its turn.
    Wait(Ticket<'a>),
}

/// A caller's right to commit; gives it back when dropped.
pub(super) struct Lead<'a> {
    queue: &'a Queue,
}

/// What the committer does next.
pub(super) enum Work {
    /// Finish what a caller began.
    Begun(Batch),
    Calls(Vec<Call>),
}

/// One call's list on its way.
pub(super) struct Call {
    /// What is left to be sent.
    pub(super) writes: Vec<Write>,
    /// What was refused in the queue, with its place in the list, lowest first.
    refused: Vec<(usize, JournalError)>,
    bytes: usize,
    answer: oneshot::Sender<Answers>,
}

/// A caller's place in the queue; gives it up when dropped.
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
    answer: oneshot::Receiver<Answers>,
    answered: bool,
}

/// Nothing is taken any more.
#[derive(Debug)]
pub(super) struct Closed;

impl Queue {
    /// Lets a list through when no commit is on its way, else puts it at the end.
    pub(super) fn enter(&self, writes: Vec<Write>) -> Result<Entry<'_>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        if state.commits == Commits::None && state.calls.is_empty() {
            state.commits = Commits::Caller;
            return Ok(Entry::Lead(Lead { queue: self }, writes));
        }
        let (sender, answer) = oneshot::channel();
        let bytes = writes.iter().map(Write::size).sum();
        let call = Call { writes, refused: Vec::new(), bytes, answer: sender };
        let number = state.tickets;
        state.tickets += 1;
        state.entries += call.writes.len();
        state.calls.push_back((number, Some(call)));
        // A caller that commits looks behind itself when it is done.
        let wake = state.commits == Commits::None && std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Entry::Wait(Ticket { queue: self, number, answer, answered: false }))
    }

    /// What the committer does next, which is done with what it did before; `None` when there will be nothing any more.
    pub(super) async fn next(&self, settings: &GroupCommitSettings) -> Option<Work> {
        loop {
            {
                let mut state = self.lock();
                if let Some(batch) = state.begun.take() {
                    return Some(Work::Begun(batch));
                }
                if state.commits != Commits::Caller {
                    let batch = state.take(settings);
                    if !batch.is_empty() {
                        state.commits = Commits::Committer;
                        return Some(Work::Calls(batch));
                    }
                    state.commits = Commits::None;
                    if state.closed {
                        return None;
                    }
                }
                state.idle = true;
            }
            self.work.notified().await;
        }
    }

    /// What the committer commits next, when something waits; before it is done with the commit before, which
    /// keeps callers from beginning one.
    pub(super) fn next_batch(&self, settings: &GroupCommitSettings) -> Option<Vec<Call>> {
        let batch = self.lock().take(settings);
        (!batch.is_empty()).then_some(batch)
    }

    fn leader_gone(&self, begun: Option<Batch>) {
        let mut state = self.lock();
        if state.abandoned {
            drop(state);
            // Callers learn it as their senders are dropped.
            return drop(begun);
        }
        state.commits = if begun.is_some() { Commits::Committer } else { Commits::None };
        state.begun = begun;
        let needed = state.begun.is_some() || !state.calls.is_empty() || state.closed;
        let wake = needed && std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes out what must be answered like an entry that was not stored; calls of which nothing is left come back.
    pub(super) fn refuse(&self, not_stored: &NotStored) -> Vec<Call> {
        let mut state = self.lock();
        let (mut done, mut refused) = (Vec::new(), 0);
        for (_, slot) in &mut state.calls {
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
        state.entries -= refused;
        state.trim();
        done
    }

    /// Takes no further calls; those that wait are still committed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// Takes no further calls and drops those that wait, so that their callers learn it.
    pub(super) fn abandon(&self) {
        let calls = {
            let mut state = self.lock();
            state.closed = true;
            state.abandoned = true;
            state.entries = 0;
            (std::mem::take(&mut state.calls), state.begun.take())
        };
        drop(calls);
    }

    /// How many entries wait.
    pub(super) fn entries(&self) -> usize {
        self.lock().entries
    }

    fn withdraw(&self, number: u64) {
        let mut state = self.lock();
        let index = state.calls.binary_search_by_key(&number, |(number, _)| *number).ok();
        let call = index.and_then(|index| state.calls.get_mut(index)).and_then(|(_, slot)| slot.take());
        state.entries -= call.as_ref().map_or(0, |call| call.writes.len());
        state.trim();
        drop(state);
        // Outside of the lock: a list can be long.
        drop(call);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; would it, the queue is still whole calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, settings: &GroupCommitSettings) -> Vec<Call> {
        let (mut batch, mut entries, mut bytes) = (Vec::new(), 0, 0);
        while let Some((_, slot)) = self.calls.front() {
            if let Some(call) = slot {
                entries += call.writes.len();
                bytes += call.bytes;
                if !batch.is_empty() && (entries > settings.max_entries || bytes > settings.max_bytes) {
                    break;
                }
            }
            batch.extend(self.calls.pop_front().and_then(|(_, slot)| slot));
        }
        self.entries -= batch.iter().map(|call: &Call| call.writes.len()).sum::<usize>();
        batch
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

impl Call {
    /// One whose entries are on their way.
    pub(super) fn sent(answer: oneshot::Sender<Answers>) -> Self {
        Self { writes: Vec::new(), refused: Vec::new(), bytes: 0, answer }
    }

    /// Moves the entries that must be answered like an earlier one from `writes` to `refused`.
    fn refuse(mut self, not_stored: &NotStored) -> Self {
        if self.writes.iter().all(|write| not_stored.earlier(write).is_none()) {
            return self;
        }
        let mut before = std::mem::take(&mut self.refused).into_iter().peekable();
        let mut place = 0;
        for write in std::mem::take(&mut self.writes) {
            while let Some(refused) = before.next_if(|(at, _)| *at == place) {
                self.refused.push(refused);
                place += 1;
            }
            match not_stored.earlier(&write) {
                Some(error) => self.refused.push((place, error.clone())),
                None => self.writes.push(write),
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

    /// What was refused in the queue.
    pub(super) fn refused(&self) -> impl Iterator<Item = &JournalError> {
        self.refused.iter().map(|(_, error)| error)
    }
}

impl Lead<'_> {
    /// The commit is concluded: the next batch, if calls came meanwhile; else the right is given back.
    pub(super) fn next(self, settings: &GroupCommitSettings) -> Option<(Self, Vec<Call>)> {
        let batch = self.queue.lock().take(settings);
        (!batch.is_empty()).then_some((self, batch))
    }

    /// The committer goes on with the commit.
    pub(super) fn hand_over(self, batch: Batch) {
        self.queue.leader_gone(Some(batch));
        std::mem::forget(self);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.queue.leader_gone(None);
    }
}

impl Ticket<'_> {
    /// Waits for the answers; `None` when there will be none.
    pub(super) async fn answer(mut self) -> Option<Answers> {
        let answers = (&mut self.answer).await;
        self.answered = true;
        answers.ok()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.queue.withdraw(self.number);
        }
    }
}
