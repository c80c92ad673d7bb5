use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::commit::Batch;
use super::sent::Answers;
use super::waiting::{Call, Waiting};
use super::{Closed, GroupCommitSettings};
use crate::{NotStored, Write};

/// Calls that wait for a commit, in the order in which they came, and who commits meanwhile.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the committer, which is the only one that waits for it.
    work: Notify,
}

#[derive(Default)]
struct State {
    waiting: Waiting<Write>,
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
pub(super) enum Place<'a> {
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
    Calls(Vec<Call<Write>>),
}

/// A caller's place in the queue; gives it up when dropped.
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
    answer: oneshot::Receiver<Answers>,
    answered: bool,
}

impl Queue {
    /// Lets a list through when no commit is on its way, else puts it at the end.
    pub(super) fn enter(&self, writes: Vec<Write>) -> Result<Place<'_>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        if state.commits == Commits::None && state.waiting.is_empty() {
            state.commits = Commits::Caller;
            return Ok(Place::Lead(Lead { queue: self }, writes));
        }
        let (number, answer) = state.waiting.push(writes);
        // A caller that commits looks behind itself when it is done.
        let wake = state.commits == Commits::None && std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Place::Wait(Ticket { queue: self, number, answer, answered: false }))
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
                    let batch = state.waiting.take(settings, NOTHING_SENT);
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
    pub(super) fn next_batch(&self, settings: &GroupCommitSettings) -> Option<Vec<Call<Write>>> {
        let batch = self.lock().waiting.take(settings, NOTHING_SENT);
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
        let needed = state.begun.is_some() || !state.waiting.is_empty() || state.closed;
        let wake = needed && std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes out what must be answered like an entry that was not stored; calls of which nothing is left come back.
    pub(super) fn refuse(&self, not_stored: &NotStored) -> Vec<Call<Write>> {
        self.lock().waiting.refuse(not_stored)
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
            (std::mem::take(&mut state.waiting), state.begun.take())
        };
        drop(calls);
    }

    /// How many entries wait.
    pub(super) fn entries(&self) -> usize {
        self.lock().waiting.entries()
    }

    fn withdraw(&self, number: u64) {
        let call = self.lock().waiting.withdraw(number);
        // Outside of the lock: a list can be long.
        drop(call);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; would it, the queue is still whole calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// The commit is concluded: the next batch, if calls came meanwhile; else the right is given back.
    pub(super) fn next(self, settings: &GroupCommitSettings) -> Option<(Self, Vec<Call<Write>>)> {
        let batch = self.queue.lock().waiting.take(settings, NOTHING_SENT);
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

/// A commit takes all that it has at once.
const NOTHING_SENT: (usize, usize) = (0, 0);
