//! The life of one entity as a state machine: recovering, running, persisting, stashing, snapshotting.
//!
//! No clock, randomness, task or socket: an [`Input`] goes in with the time, [`Action`]s come out, a driver performs them.
//!
//! ```text
//!            ┌────────────── lost race, unknown outcome, panic ──────────────┐
//!            ▼                                                               │
//! start ─→ Claiming ─→ Loading ⇄ (older snapshot) ─→ Replaying ─────────→ Running ─→ Stopped
//!            │  ▲                                        │                  ▲ ▲
//!            │  └─ Resting ◄── journal unavailable ──────┤     (after panic) │ │
//!            │                                           └─────→ Pausing ───┘ │
//!            ├───────────────── nothing stored ever ──────────────────────────┘
//!            └─→ Settling ─→ Stopped     (fenced while an outcome was unknown)
//! ```
//!
//! After a panic the state is replayed at once, because others may wait to learn what became of what they had stored; then commands
//! wait until the pause is over. An entity that panicked too often, or whose history cannot be read, stops and asks to be left alone.
//!
//! Commands that were decided and are not durable are *held*. When the state that they were decided on is thrown away, those
//! whose events may be stored are *lost* until recovery has read the journal: then they are answered with the reply
//! that they had, or decided again.
//!
//! Where each event is the whole state ([`DurableState`](crate::DurableState)) there are no snapshots: the newest event is replayed, and
//! those before it are deleted on the way.
//!
//! Who is told to stop gracefully gets [`Input::Drain`] after the last command of the mailbox. It goes on, through setbacks and
//! recoveries too, until nobody waits any more but in the stash, which nobody will open; then it stops.

mod action;
mod ending;
mod held;
mod loss;
mod recovery;
mod rules;
mod running;
mod supervision;
mod waiting;

#[cfg(test)]
mod model;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use annals_journal::{JournalError, PersistenceId, SeqNr, Timestamp, Token};

pub(crate) use action::{Action, Input, Report, RestartReason, StopReason, WorkOutput};
use held::Lost;
use recovery::{Claiming, Loading, Replaying, Settling};
pub(crate) use rules::{Activations, Bounds, Rules};
use running::{Revisions, Running, Setback};
pub(crate) use supervision::Supervision;
use waiting::{Stashed, Waiting};

use crate::PersistentActor;
use crate::context::Identity;
use crate::delivery::Delivery;
use crate::effect::Deed;

/// See the module.
pub(crate) struct Entity<A: PersistentActor> {
    identity: Arc<Identity>,
    rules: Arc<Rules<A>>,
    phase: Phase<A>,
    /// Commands to decide before any from the mailbox, oldest first.
    retry: VecDeque<Waiting<A>>,
    stash: VecDeque<Stashed<A>>,
    lost: Option<Box<Lost<A>>>,
    arrivals: u64,
    trouble: Option<Box<Trouble>>,
    setbacks: u32,
    /// Since it first panicked or could not recover.
    supervision: Option<Box<Supervision>>,
    /// A save, or a deletion of older revisions, is on its way.
    saving: bool,
    told: Told,
    out: Vec<Action<A>>,
}

/// Whether it, or its node, stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    GoOn,
    /// No command comes any more; it stops when those that wait are carried out.
    Finish,
    /// It stops, whatever waits.
    Stop,
}

/// What a recovery has met that is not over.
#[derive(Default)]
struct Trouble {
    /// The claimed head at which it found no cover for deleted events.
    uncovered: Option<(SeqNr, SeqNr)>,
    /// Since when the journal cannot be asked.
    since: Option<Timestamp>,
}

enum Phase<A: PersistentActor> {
    Claiming(Claiming),
    Resting,
    Loading(Box<Loading>),
    Replaying(Box<Replaying<A>>),
    Settling(Box<Settling>),
    Running(Box<Running<A>>),
    /// Recovered after a panic; commands wait.
    Pausing(Box<Running<A>>),
    Stopped,
}

impl<A: PersistentActor> Entity<A> {
    /// An entity that begins with a claim.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn start(identity: Arc<Identity>, rules: Arc<Rules<A>>) -> Self {
        Self::start_after(identity, rules, None)
    }

    /// The same, of an entity that was left alone.
    pub(crate) fn start_after(
        identity: Arc<Identity>,
        rules: Arc<Rules<A>>,
        supervision: Option<Box<Supervision>>,
    ) -> Self {
        let mut entity = Self {
            identity,
            rules,
            phase: Phase::Stopped,
            retry: VecDeque::new(),
            stash: VecDeque::new(),
            lost: None,
            arrivals: 0,
            trouble: None,
            setbacks: 0,
            supervision,
            saving: false,
            told: Told::GoOn,
            out: Vec::new(),
        };
        entity.claim();
        entity
    }

    /// Takes in what happened; [`Entity::actions`] has what is to be done.
    pub(crate) fn step(&mut self, now: Timestamp, input: Input<A>) {
        #[cfg(test)]
        let (from, by) = (table::state(self), table::input(&input));
        match input {
            Input::Command(delivery) => self.command(now, delivery),
            Input::Claimed(result) => self.claimed(now, result),
            Input::Rested => self.rested(),
            Input::Loaded(result) => self.loaded(now, result),
            Input::Replayed(result) => self.replayed(now, result),
            Input::Written(result) => self.written(now, result),
            Input::Worked(output) => self.worked(now, output),
            Input::ChildFailed(failure) => self.child_failed(now, &failure),
            Input::Saved { stored } => self.saved(now, stored),
            Input::Idle => self.idle(now),
            Input::Drain => self.told = self.told.max(Told::Finish),
            Input::Stop => self.stop(now),
            Input::WakeAgain => self.wake_again(),
        }
        self.decide_waiting(now);
        #[cfg(test)]
        table::record(from, by, table::state(self));
    }

    /// What is to be done since the last call, in this order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action<A>> {
        std::mem::take(&mut self.out)
    }

    /// Takes the emptied list back, for the next actions.
    pub(crate) fn reuse(&mut self, actions: Vec<Action<A>>) {
        if self.out.is_empty() {
            self.out = actions;
        }
    }

    /// Gives back memory that is not needed while nothing happens.
    pub(crate) fn shrink(&mut self) {
        self.retry.shrink_to_fit();
        self.stash.shrink_to_fit();
        self.out.shrink_to_fit();
        if let Phase::Running(running) = &mut self.phase {
            running.shrink();
        }
    }

    /// Which entity it is.
    pub(crate) fn id(&self) -> &PersistenceId {
        &self.identity.persistence_id
    }

    /// Whether something is to be done.
    pub(crate) fn has_actions(&self) -> bool {
        !self.out.is_empty()
    }

    /// The last event that the newest state has seen; `None` while recovering.
    pub(crate) fn decided(&self) -> Option<SeqNr> {
        match &self.phase {
            Phase::Running(running) => Some(running.decided()),
            _ => None,
        }
    }

    /// Whether a command may come in now; otherwise it waits in the mailbox.
    pub(crate) fn accepts_commands(&self) -> bool {
        self.retry.is_empty()
            && match &self.phase {
                Phase::Running(running) => running.accepts_commands(&self.rules.bounds),
                _ => false,
            }
    }

    /// Whether nothing is on its way and nobody waits: the entity may be passivated.
    pub(crate) fn is_idle(&self) -> bool {
        self.retry.is_empty()
            && self.stash.is_empty()
            && matches!(&self.phase, Phase::Running(running) if running.is_quiet() && !running.is_stopping())
    }

    /// How many commands are decided and wait for the disk.
    pub(crate) fn held(&self) -> usize {
        match &self.phase {
            Phase::Running(running) => running.held(),
            _ => self.lost.as_ref().map_or(0, |lost| lost.len()),
        }
    }

    /// Whether a command that is decided and not durable will do something like this.
    pub(crate) fn holds(&self, deed: impl Fn(&Deed<A>) -> bool) -> bool {
        matches!(&self.phase, Phase::Running(running) if running.holds(deed))
    }

    fn command(&mut self, now: Timestamp, delivery: Box<dyn Delivery<A>>) {
        self.arrivals += 1;
        let waiting = Waiting { delivery, arrival: self.arrivals };
        if self.accepts_commands() {
            self.decide(now, waiting);
        } else {
            self.retry.push_back(waiting);
        }
    }

    /// Decides what waits, as long as commands may come in.
    fn decide_waiting(&mut self, now: Timestamp) {
        while let Phase::Running(running) = &self.phase
            && running.accepts_commands(&self.rules.bounds)
            && let Some(waiting) = self.retry.pop_front()
        {
            self.decide(now, waiting);
        }
        if self.told == Told::Finish {
            self.stop_when_finished(now);
        }
        self.stop_when_quiet();
    }

    fn decide(&mut self, now: Timestamp, waiting: Waiting<A>) {
        let Phase::Running(running) = &mut self.phase else {
            self.retry.push_back(waiting);
            return;
        };
        if !waiting.delivery.begin() {
            self.out.push(Action::Report(Report::CallerGone));
            return;
        }
        let mut ground = Ground {
            identity: &self.identity,
            rules: &self.rules,
            retry: &mut self.retry,
            stash: &mut self.stash,
            saving: &mut self.saving,
            out: &mut self.out,
        };
        if let Err(setback) = running.decide(now, waiting, &mut ground) {
            self.throw_away(now, setback);
        }
    }

    fn written(&mut self, now: Timestamp, result: Result<annals_journal::Head, JournalError>) {
        let Phase::Running(running) = &mut self.phase else { return };
        match result {
            Ok(_) => {
                self.setbacks = 0;
                running.acknowledge(&mut self.saving, &mut self.out);
                running.delete_older(&self.rules, now, &mut self.saving, &mut self.out);
            }
            Err(error) => self.throw_away(now, Setback::Journal(error)),
        }
    }

    fn worked(&mut self, now: Timestamp, output: WorkOutput) {
        let Phase::Running(running) = &mut self.phase else { return };
        let mut ground = Ground {
            identity: &self.identity,
            rules: &self.rules,
            retry: &mut self.retry,
            stash: &mut self.stash,
            saving: &mut self.saving,
            out: &mut self.out,
        };
        if let Err(setback) = running.resume(now, output, &mut ground) {
            self.throw_away(now, setback);
        }
    }

    fn saved(&mut self, now: Timestamp, stored: bool) {
        self.saving = false;
        if let Phase::Running(running) | Phase::Pausing(running) = &mut self.phase {
            running.saved(now, stored);
        }
    }

    /// A pause is over.
    fn rested(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Resting => self.claim(),
            Phase::Pausing(running) => self.phase = Phase::Running(running),
            other => self.phase = other,
        }
    }

    fn token(&self) -> Token {
        self.rules.activations.next(self.rules.epoch)
    }
}

/// What a running entity may touch besides itself.
pub(crate) struct Ground<'a, A: PersistentActor> {
    identity: &'a Arc<Identity>,
    rules: &'a Rules<A>,
    retry: &'a mut VecDeque<Waiting<A>>,
    stash: &'a mut VecDeque<Stashed<A>>,
    saving: &'a mut bool,
    out: &'a mut Vec<Action<A>>,
}
