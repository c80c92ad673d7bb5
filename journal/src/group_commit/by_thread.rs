use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, oneshot};
use tracing::Span;

use super::commit::SLOW;
use super::sent::{Answers, Sent};
use super::waiting::{Call, Waiting};
use super::{Closed, GroupCommitSettings, ended};
use crate::commit_path::{CommitSource, CommitThread, Locked, Turn};
use crate::encoded_write::EncodedWrite;
use crate::telemetry::JournalMetrics;
use crate::{JournalError, NotStored, Write};

/// Group commit in front of a backend that commits in a thread of its own.
///
/// ```text
/// lone caller ── nobody commits ──▶ commits in its own thread
/// callers ──▶ waiting ── the thread, when it can begin a commit ──▶ commit ──▶ answers, given by the thread
/// ```
pub(super) struct ByThread {
    thread: Arc<dyn CommitThread>,
    metrics: Arc<JournalMetrics>,
    settings: GroupCommitSettings,
    state: Mutex<State>,
    /// The thread's commit; nobody else's.
    flight: Mutex<Option<Flight>>,
    /// Told when nothing is on its way any more.
    idle: Notify,
}

#[derive(Default)]
struct State {
    waiting: Waiting<EncodedWrite>,
    commits: Commits,
    closed: bool,
    /// Calls of the thread's last commit.
    shared: usize,
    hope: Option<Hope>,
}

/// Who commits.
#[derive(Default, PartialEq, Eq)]
enum Commits {
    #[default]
    Nobody,
    Caller,
    Thread,
}

/// After a slow commit: how many entries the next one should have, once those that were just answered have written again.
#[derive(Clone, Copy)]
struct Hope {
    entries: usize,
    /// What the slow commit took.
    took: Duration,
    since: Instant,
}

/// A commit on its way.
struct Flight {
    sent: Sent,
    bytes: usize,
    /// Each call with the number of entries that it has in the commit.
    calls: Vec<(Call<EncodedWrite>, usize)>,
    hope: Option<Hope>,
    /// When entries came last.
    grown: Instant,
    _span: Span,
}

impl ByThread {
    pub(super) fn new(
        thread: Arc<dyn CommitThread>,
        metrics: Arc<JournalMetrics>,
        settings: GroupCommitSettings,
    ) -> Self {
        let (state, flight, idle) = Default::default();
        Self { thread, metrics, settings, state, flight, idle }
    }

    pub(super) async fn write(self: &Arc<Self>, writes: Vec<Write>) -> Answers {
        let entries = writes.len();
        let mut prepared = Vec::with_capacity(entries);
        prepared.extend(writes.into_iter().map(|write| self.thread.prepare(write)));
        match self.enter(prepared) {
            Ok(Entered::Answered(answers)) => answers,
            Ok(Entered::Waits(mut ticket)) => match (&mut ticket.answer).await {
                Ok(answers) => answers,
                Err(_) => vec![Err(ended()); entries],
            },
            Err(Closed) => vec![Err(Closed.into()); entries],
        }
    }

    fn enter(self: &Arc<Self>, writes: Vec<EncodedWrite>) -> Result<Entered<'_>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        // Callers that shared a commit come together again: who is first waits for the others rather than commit alone.
        let is_lone = state.commits == Commits::Nobody && state.shared <= 1 && writes.len() == 1;
        if is_lone
            && may_block()
            && let Some(turn) = self.thread.turn()
        {
            state.commits = Commits::Caller;
            let number = state.waiting.number();
            drop(state);
            return Ok(self.commit_here(turn, number, writes));
        }
        let (number, answer) = state.waiting.push(writes);
        let begin = state.commits == Commits::Nobody;
        if begin {
            state.commits = Commits::Thread;
        }
        drop(state);
        let ticket = Ticket { commits: self, number, answer };
        if begin {
            self.begin();
        }
        Ok(Entered::Waits(ticket))
    }

    fn begin(self: &Arc<Self>) {
        if let Err(error) = self.thread.begin(Arc::clone(self) as Arc<dyn CommitSource>) {
            self.abandon(error);
        }
    }

    /// Commits in the caller's thread. Others wait meanwhile; the thread does their commit, and this one too when it would have to wait
    /// for a lock.
    fn commit_here(
        self: &Arc<Self>,
        turn: Box<dyn Turn + '_>,
        number: u64,
        writes: Vec<EncodedWrite>,
    ) -> Entered<'_> {
        let _leading = Leading(self);
        let mut sent = Sent::begin();
        sent.extend(&writes);
        let committed = {
            let _entered = sent.span(&writes).entered();
            turn.commit(writes)
        };
        match committed {
            Ok(answers) => Entered::Answered(self.answers(&sent, answers)),
            Err(Locked(writes)) => {
                let answer = self.lock().waiting.push_first(number, writes);
                Entered::Waits(Ticket { commits: self, number, answer })
            }
        }
    }

    /// Counts what became of entries, and refuses what waits behind those that were not stored.
    ///
    /// Before anyone is answered: who hears of a failure must find its later entries refused.
    fn answers(&self, sent: &Sent, answers: Result<Answers, JournalError>) -> Answers {
        let answers = match answers {
            Ok(answers) => sent.one_for_each(Ok(answers)),
            Err(error) => vec![Err(error); sent.len()],
        };
        let not_stored = sent.count(&answers, &self.metrics);
        if !not_stored.is_empty() {
            self.refuse(&not_stored);
        }
        answers
    }

    fn refuse(&self, not_stored: &NotStored) {
        let refused = self.lock().waiting.refuse(not_stored);
        for call in refused {
            call.refused().for_each(|error| self.metrics.failed(error));
            call.answer(Vec::new());
        }
    }

    /// Refuses further writes, and waits until all others are answered.
    pub(super) async fn shutdown(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // Before it is looked, so that nothing is missed.
            idle.as_mut().enable();
            {
                let mut state = self.lock();
                state.closed = true;
                if state.commits == Commits::Nobody {
                    return;
                }
            }
            idle.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; would it, what waits is still whole calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flight(&self) -> MutexGuard<'_, Option<Flight>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommitSource for ByThread {
    fn is_needed(&self) -> bool {
        let mut state = self.lock();
        let needed = !state.waiting.is_empty();
        if !needed {
            state.commits = Commits::Nobody;
            self.idle.notify_waiters();
        }
        needed
    }

    fn take(&self) -> Vec<EncodedWrite> {
        let (calls, hope, left) = {
            let mut state = self.lock();
            (state.waiting.take(&self.settings, (0, 0)), state.hope.take(), state.waiting.entries())
        };
        self.metrics.queue_entries.set(left as f64);
        let mut flight = Flight {
            sent: Sent::begin(),
            bytes: 0,
            calls: Vec::with_capacity(calls.len()),
            hope,
            grown: Instant::now(),
            _span: Span::none(),
        };
        let writes = flight.add(calls);
        flight._span = flight.sent.span(&writes);
        *self.flight() = Some(flight);
        writes
    }

    fn more(&self) -> Vec<EncodedWrite> {
        let mut slot = self.flight();
        let Some((flight, hope)) = slot.as_mut().and_then(|flight| flight.hope.map(|hope| (flight, hope)))
        else {
            return Vec::new();
        };
        let hoped = hope.entries.min(self.settings.max_entries);
        while flight.sent.len() < hoped {
            let calls = self.lock().waiting.take(&self.settings, (flight.sent.len(), flight.bytes));
            if !calls.is_empty() {
                flight.grown = Instant::now();
                return flight.add(calls);
            }
            // The first ones come long before the others: answering hundreds takes a while, and so does what they do next.
            let most_came = flight.sent.len() > hoped - hoped / 8;
            if hope.since.elapsed() > hope.took / 5 || most_came && flight.grown.elapsed() > hope.took / 32 {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Vec::new()
    }

    fn conclude(&self, answers: Result<Answers, JournalError>) -> bool {
        if answers.is_err() && self.flight().is_none() {
            // It could not even begin: those who wait hear why, else they would wait for as long as it cannot.
            drop(self.take());
        }
        let Some(flight) = self.flight().take() else { return self.is_needed() };
        let mut answers = self.answers(&flight.sent, answers).into_iter();
        let took = flight.sent.began().elapsed();
        {
            let mut state = self.lock();
            state.shared = flight.calls.len();
            // Counted before they are told: some write again at once.
            let entries = state.waiting.entries() + flight.calls.len();
            // Also after a commit of one: who waited meanwhile should not be half of them from now on.
            let slow = took >= SLOW && entries > 1;
            state.hope = slow.then(|| Hope { entries, took, since: Instant::now() });
        }
        for (call, entries) in flight.calls {
            call.answer(answers.by_ref().take(entries).collect());
        }
        self.is_needed()
    }

    fn close(&self) {
        self.lock().closed = true;
    }

    fn abandon(&self, error: JournalError) {
        let calls = {
            let mut state = self.lock();
            state.commits = Commits::Nobody;
            self.idle.notify_waiters();
            std::mem::take(&mut state.waiting).into_calls()
        };
        let sent = self.flight().take().map(|flight| flight.calls).unwrap_or_default();
        let waiting = calls.map(|call| {
            let entries = call.writes.len();
            (call, entries)
        });
        for (call, entries) in sent.into_iter().chain(waiting) {
            call.answer(vec![Err(error.clone()); entries]);
        }
    }
}

impl Flight {
    /// Puts calls into the commit; their entries are to be sent.
    fn add(&mut self, calls: Vec<Call<EncodedWrite>>) -> Vec<EncodedWrite> {
        let mut writes = Vec::with_capacity(calls.iter().map(|call| call.writes.len()).sum());
        for mut call in calls {
            let entries = call.writes.len();
            self.bytes += call.bytes();
            writes.append(&mut call.writes);
            self.calls.push((call, entries));
        }
        self.sent.extend(&writes);
        writes
    }
}

enum Entered<'a> {
    Answered(Answers),
    Waits(Ticket<'a>),
}

/// A caller's place among those that wait; gives it up when dropped.
struct Ticket<'a> {
    commits: &'a ByThread,
    number: u64,
    answer: oneshot::Receiver<Answers>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            let call = self.commits.lock().waiting.withdraw(self.number);
            // Outside of the lock: a list can be long.
            drop(call);
        }
    }
}

/// A caller that commits; lets others go on when it is dropped.
struct Leading<'a>(&'a Arc<ByThread>);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.waiting.is_empty() {
            state.commits = Commits::Nobody;
            self.0.idle.notify_waiters();
        } else {
            state.commits = Commits::Thread;
            drop(state);
            self.0.begin();
        }
    }
}

/// Whether the calling thread may wait for a short commit: there is another one that does the runtime's work meanwhile.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1
    })
}

/// How long the thread sleeps while it waits for callers.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests;
