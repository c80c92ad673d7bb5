use std::fmt;

use annals_journal::Timestamp;
use annals_migrations::Command;
use annals_snapshot::Snapshot;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::bench::Bench;
use super::difference::{difference, pretty};
use super::findings::Findings;
use super::shown::{self, value};
use super::work::{Ended, drive};
use crate::effect::{Deed, SideEffect};
use crate::entity::StopReason;
use crate::{AskError, Failure, Handle, Lists};

/// What came of a command; each `then_…` checks one thing and panics with the difference when it is not so.
///
/// A command that failed (its handler panicked, its events cannot be stored) fails every check but
/// [`then_fails`](Self::then_fails).
pub struct Then<A: Handle<C>, C: Command> {
    bench: Bench<A>,
    answer: Answer<A, C>,
    /// How many events there were before.
    before: usize,
    snapshot: Option<Snapshot>,
    side_effects: Vec<BoxFuture<'static, ()>>,
    /// What was asked of timers, watches and children.
    pub(super) deeds: Vec<Deed<A>>,
    state: A,
}

enum Answer<A: Handle<C>, C: Command> {
    Reply(A::Reply),
    Rejection(A::Rejection),
    Failure(Failure),
    Stashed,
}

impl<A: Handle<C>, C: Command> Then<A, C> {
    #[track_caller]
    pub(super) fn of(mut bench: Bench<A>, command: C) -> Self {
        let (before, snapshots) = (bench.stored.len(), bench.snapshots.len());
        bench.findings.lock().live = None;
        let mut receiver = bench.send(command);
        bench.acknowledge_all();
        panic_when_broken(&bench.findings);
        let answer = match receiver.try_recv() {
            Ok(Ok(reply)) => Answer::Reply(reply),
            Ok(Err(AskError::Rejected(rejection))) => Answer::Rejection(rejection),
            Ok(Err(AskError::Failed(failure))) => Answer::Failure(failure),
            Ok(Err(AskError::Unknown(unknown))) => panic!("{unknown}"),
            Err(_) if bench.findings.lock().stashed => Answer::Stashed,
            Err(_) => panic!("the command got no answer"),
        };
        let live = bench.findings.lock().live.clone();
        if let Some(live) = live {
            bench.check_recovery(&live);
            panic_when_broken(&bench.findings);
        }
        let state = bench.fold().unwrap_or_else(|error| panic!("replay fails: {error}"));
        let snapshot = bench.snapshots.get(snapshots..).and_then(<[_]>::last).cloned();
        let (mut side_effects, mut deeds) = (Vec::new(), Vec::new());
        for effect in std::mem::take(&mut bench.side_effects) {
            match effect {
                SideEffect::Run(effect) => side_effects.push(effect),
                SideEffect::Do(deed) => deeds.push(*deed),
            }
        }
        Self { bench, answer, before, snapshot, side_effects, deeds, state }
    }

    /// Exactly these events were stored by the command, in this order.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = A::Event>) -> Self {
        self.succeeded();
        let expected: Vec<A::Event> = expected.into_iter().collect();
        let expected = shown::events(&expected, &*self.bench.rules().adapter)
            .unwrap_or_else(|error| panic!("an expected event cannot be stored: {error}"));
        let found = shown::envelopes(&self.bench.stored[self.before..]);
        expect("the events are others than expected", &expected, &found);
        self
    }

    /// The command stored nothing.
    #[track_caller]
    pub fn then_no_events(self) -> Self {
        self.then_events([])
    }

    /// The reply, compared by its JSON.
    #[track_caller]
    pub fn then_reply(self, expected: A::Reply) -> Self {
        expect("the answer is another than expected", &json!({ "reply": value(&expected) }), &self.shown());
        self
    }

    /// There was a reply; the closure looks at it with assertions of its own.
    #[track_caller]
    pub fn then_reply_is(self, look: impl FnOnce(&A::Reply)) -> Self {
        match &self.answer {
            Answer::Reply(reply) => look(reply),
            _ => panic!("expected a reply, found:\n{}", pretty(&self.shown())),
        }
        self
    }

    /// The domain's no, compared by its JSON; nothing was stored.
    #[track_caller]
    pub fn then_rejected(self, expected: A::Rejection) -> Self {
        expect(
            "the answer is another than expected",
            &json!({ "rejected": value(&expected) }),
            &self.shown(),
        );
        self.then_no_events()
    }

    /// The command was certainly not carried out, and the failure's message contains this text.
    #[track_caller]
    pub fn then_fails(self, text: &str) -> Self {
        match &self.answer {
            Answer::Failure(failure) if failure.to_string().contains(text) => self,
            _ => panic!("expected a failure that says {text:?}, found:\n{}", pretty(&self.shown())),
        }
    }

    /// The command was put aside until another one unstashes.
    #[track_caller]
    pub fn then_stashed(self) -> Self {
        match &self.answer {
            Answer::Stashed => self,
            _ => panic!("expected that the command is stashed, found:\n{}", pretty(&self.shown())),
        }
    }

    /// The state afterwards, as replay gives it; the closure looks at it with assertions of its own.
    #[track_caller]
    pub fn then_state(self, look: impl FnOnce(&A)) -> Self {
        self.succeeded();
        look(&self.state);
        self
    }

    /// A snapshot was taken right after the command, as the policy says; the closure looks at the state that it gives back.
    #[track_caller]
    pub fn then_snapshot(self, look: impl FnOnce(&A)) -> Self {
        self.succeeded();
        let Some(snapshot) = &self.snapshot else {
            panic!("expected a snapshot after event {}, the policy took none", self.bench.stored.len());
        };
        let states = &self.bench.rules().states;
        let (manifest, version) = (&snapshot.manifest, snapshot.schema_version);
        match states.decode(manifest, version, snapshot.codec, &snapshot.payload) {
            Ok(state) => look(&state),
            Err(error) => panic!("the snapshot cannot be read: {error}"),
        }
        self
    }

    /// No snapshot was taken.
    #[track_caller]
    pub fn then_no_snapshot(self) -> Self {
        if let Some(snapshot) = &self.snapshot {
            panic!("expected no snapshot, the policy took one at {:?}", snapshot.seq_nr);
        }
        self
    }

    /// This many side effects (`then_run`) were released.
    #[track_caller]
    pub fn then_side_effects(self, expected: usize) -> Self {
        let found = self.side_effects.len();
        assert!(found == expected, "expected {expected} side effects, found {found}");
        self
    }

    /// Runs the side effects that were released, one after the other on this thread, at most 10 s each.
    #[track_caller]
    pub fn run_side_effects(mut self) -> Self {
        for (at, effect) in std::mem::take(&mut self.side_effects).into_iter().enumerate() {
            match drive(effect, SIDE_EFFECT_LIMIT) {
                Ended::Done(()) => {}
                Ended::TimedOut => panic!("side effect number {} did not end in 10 s", at + 1),
                Ended::Panicked(message) => panic!("side effect number {} panicked: {message}", at + 1),
            }
        }
        self
    }

    /// The entity leaves memory, because the command said `passivate()` or `stop()`.
    #[track_caller]
    pub fn then_leaves(self) -> Self {
        assert!(
            matches!(self.bench.stopped, Some(StopReason::Passivated | StopReason::Stopped)),
            "expected that the entity leaves memory, it stays"
        );
        self
    }

    /// Hands the entity another command, at the same moment.
    #[track_caller]
    pub fn when<D, Place>(mut self, command: D) -> Then<A, D>
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, Place>,
    {
        if self.bench.stopped.is_some() {
            self.bench.restart();
        }
        Then::of(self.bench, command)
    }

    /// The same at a later (or earlier) moment.
    #[track_caller]
    pub fn when_at<D, Place>(mut self, now: Timestamp, command: D) -> Then<A, D>
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, Place>,
    {
        self.bench.now = now;
        self.when(command)
    }

    #[track_caller]
    pub(super) fn succeeded(&self) {
        if let Answer::Failure(failure) = &self.answer {
            panic!("the command failed: {failure}");
        }
    }

    fn shown(&self) -> Value {
        match &self.answer {
            Answer::Reply(reply) => json!({ "reply": value(reply) }),
            Answer::Rejection(rejection) => json!({ "rejected": value(rejection) }),
            Answer::Failure(failure) => json!({ "failed": failure.to_string() }),
            Answer::Stashed => json!("stashed"),
        }
    }
}

impl<A: Handle<C>, C: Command> fmt::Debug for Then<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then")
            .field("answer", &self.shown().to_string())
            .field("events", &(self.bench.stored.len() - self.before))
            .finish_non_exhaustive()
    }
}

#[track_caller]
fn expect(what: &str, expected: &Value, found: &Value) {
    if let Some(lines) = difference(expected, found) {
        panic!("{what} (- expected, + found):\n{lines}");
    }
}

/// The first broken promise explains those after it.
#[track_caller]
pub(super) fn panic_when_broken(findings: &Findings) {
    let first = findings.lock().broken.first().cloned();
    if let Some(first) = first {
        panic!("{first}");
    }
}

const SIDE_EFFECT_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
