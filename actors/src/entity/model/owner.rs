//! A process that may own the entity: what the driver, the mailbox and the map of entities do, one step at a time.

mod perform;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use annals_journal::{Epoch, Head, JournalError, Replayed, SeqNr, Timestamp};
use annals_snapshot::{Snapshot, SnapshotError};

use super::ledger::Ledger;
use super::link::{Answer, Link, Ticket};
use super::store::Flaw;
use crate::Failure;
use crate::context::Identity;
use crate::delivery::Delivery;
use crate::effect::{SideEffect, Work};
use crate::entity::{Entity, Input, Phase, Report, Rules, StopReason, Supervision, WorkOutput};
use crate::plain::ActorFailure;

pub(super) struct Owner {
    pub(super) epoch: Epoch,
    pub(super) link: Link,
    identity: Arc<Identity>,
    rules: Arc<Rules<Ledger>>,
    entity: Option<Entity<Ledger>>,
    mailbox: VecDeque<Box<dyn Delivery<Ledger>>>,
    mailbox_capacity: usize,
    /// Writes of the present state, oldest first, with their answers.
    writes: VecDeque<Slot>,
    tickets: u64,
    step: Step,
    work: Option<Work>,
    save: Option<Snapshot>,
    side_effects: VecDeque<SideEffect<Ledger>>,
    leaving: Option<StopReason>,
    failure: Option<Failure>,
    left_alone_until: Option<Timestamp>,
    /// When the entity panicked and was restarted, since it last began afresh.
    panics: Vec<Timestamp>,
    pauses_until: Option<Timestamp>,
    /// As `LeftAlone` remembers it.
    left_alone: Option<(Failure, Timestamp, Option<Box<Supervision>>)>,
    /// Told to stop: takes no more commands.
    pub(super) stopping: bool,
    draining: Draining,
    /// What its clock differs by, in microseconds.
    skew: u64,
    flaw: Flaw,
    pub(super) seen: Vec<Happened>,
}

/// How far it is with what it finishes before it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draining {
    No,
    Mailbox,
    Entity,
    CutShort,
}

/// What the world must know.
#[derive(Debug)]
pub(super) enum Happened {
    Released,
    Answered,
    Ready {
        snapshot: SeqNr,
    },
    Save {
        number: u64,
    },
    Report(Report),
    Settling,
    Stopped(StopReason),
    Verify,
    SnapshotThrownAway,
    /// The entity gave up finding out.
    Unknown,
    /// A command was refused because the entity is left alone.
    LeftAlone,
}

fn has_snapshot_in_hand(entity: &Entity<Ledger>) -> bool {
    matches!(&entity.phase, Phase::Running(running) if running.has_snapshot_in_hand())
}

/// A write that the entity waits for.
struct Slot {
    ticket: u64,
    events: usize,
    answer: Option<Result<Head, JournalError>>,
}

/// What recovery waits for.
enum Step {
    None,
    Claim(u64, Option<Result<Head, JournalError>>),
    Load(SeqNr),
    /// Not begun: what is stored is looked up when it begins.
    Replay(SeqNr, SeqNr),
    Replaying(VecDeque<Replayed>),
    Rest(Timestamp),
}

/// What a step of recovery needs from outside.
pub(super) enum Needs {
    Nothing,
    Load(SeqNr),
    Replay(SeqNr, SeqNr),
}

impl Owner {
    pub(super) fn new(
        identity: Arc<Identity>,
        rules: Arc<Rules<Ledger>>,
        mailbox: usize,
        skew: u64,
        flaw: Flaw,
    ) -> Self {
        Self {
            epoch: rules.epoch,
            link: Link::default(),
            identity,
            rules,
            entity: None,
            mailbox: VecDeque::new(),
            mailbox_capacity: mailbox,
            writes: VecDeque::new(),
            tickets: 0,
            step: Step::None,
            work: None,
            save: None,
            side_effects: VecDeque::new(),
            leaving: None,
            failure: None,
            left_alone_until: None,
            panics: Vec::new(),
            pauses_until: None,
            left_alone: None,
            stopping: false,
            draining: Draining::No,
            skew,
            flaw,
            seen: Vec::new(),
        }
    }

    /// As `Entities::deliver`.
    pub(super) fn deliver(
        &mut self,
        now: Timestamp,
        delivery: Box<dyn Delivery<Ledger>>,
    ) -> Result<(), Failure> {
        let persistence_id = self.identity.persistence_id.clone();
        if self.stopping {
            return Err(Failure::Stopping { persistence_id });
        }
        if self.mailbox.len() >= self.mailbox_capacity {
            return Err(Failure::MailboxFull { persistence_id, capacity: self.mailbox_capacity });
        }
        if self.entity.is_none() {
            let supervision = match self.left_alone.take() {
                Some((failure, until, supervision)) if self.clock(now) < until => {
                    let refused = failure.clone().after(until.since(self.clock(now)));
                    self.left_alone = Some((failure, until, supervision));
                    self.seen.push(Happened::LeftAlone);
                    return Err(refused);
                }
                other => other.and_then(|(_, _, supervision)| supervision),
            };
            let (identity, rules) = (Arc::clone(&self.identity), Arc::clone(&self.rules));
            self.mailbox.push_back(delivery);
            self.entity = Some(Entity::start_after(identity, rules, supervision));
            self.perform(now);
        } else {
            self.mailbox.push_back(delivery);
        }
        Ok(())
    }

    /// Until when its commands are refused, in the world's time.
    pub(super) fn left_alone_until(&self) -> Option<u64> {
        self.left_alone.as_ref().map(|(_, until, _)| until.as_micros().saturating_sub(self.skew))
    }

    pub(super) fn has_entity(&self) -> bool {
        self.entity.is_some()
    }

    pub(super) fn stop_node(&mut self) {
        self.stopping = true;
    }

    /// Whether the entity has yet to hear that the node stops.
    pub(super) fn must_tell(&self) -> bool {
        self.stopping && self.draining == Draining::No && self.entity.is_some()
    }

    pub(super) fn tell_to_stop(&mut self) {
        self.draining = Draining::Mailbox;
    }

    /// Whether nothing is left in the mailbox, and the entity has yet to hear of that.
    pub(super) fn can_finish(&self) -> bool {
        self.draining == Draining::Mailbox && self.mailbox.is_empty() && self.entity.is_some()
    }

    pub(super) fn finish(&mut self, now: Timestamp) {
        self.draining = Draining::Entity;
        self.input(now, Input::Drain);
    }

    pub(super) fn can_be_cut_short(&self) -> bool {
        matches!(self.draining, Draining::Mailbox | Draining::Entity) && self.entity.is_some()
    }

    /// Its time is up.
    pub(super) fn cut_short(&mut self, now: Timestamp) {
        self.draining = Draining::CutShort;
        self.input(now, Input::Stop);
    }

    pub(super) fn is_cut_short(&self) -> bool {
        self.draining == Draining::CutShort
    }

    pub(super) fn answered(&mut self, answers: Vec<Answer>) {
        for (ticket, answer) in answers {
            match ticket {
                Ticket::Write(number) => {
                    if let Some(slot) =
                        self.writes.iter_mut().find(|slot| slot.ticket == number && slot.answer.is_none())
                    {
                        slot.answer = Some(answer);
                    }
                }
                Ticket::Claim(number) => {
                    if let Step::Claim(mine, slot @ None) = &mut self.step
                        && *mine == number
                    {
                        *slot = Some(answer);
                    }
                }
            }
        }
    }

    pub(super) fn can_hear(&self) -> bool {
        self.writes.front().is_some_and(|slot| slot.answer.is_some())
    }

    /// The oldest write's answer.
    pub(super) fn hear(&mut self, now: Timestamp) {
        if let Some(Slot { answer: Some(answer), .. }) =
            self.writes.pop_front_if(|slot| slot.answer.is_some())
        {
            self.input(now, Input::Written(answer));
        }
    }

    pub(super) fn can_recover(&self, now: Timestamp) -> bool {
        match &self.step {
            Step::None | Step::Claim(_, None) => false,
            Step::Rest(until) => self.clock(now) >= *until,
            _ => true,
        }
    }

    /// When a pause ends, in the world's time.
    pub(super) fn rests_until(&self) -> Option<u64> {
        match self.step {
            Step::Rest(until) => Some(until.as_micros().saturating_sub(self.skew)),
            _ => None,
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self.step {
            Step::Load(at_most) => Needs::Load(at_most),
            Step::Replay(from, to) => Needs::Replay(from, to),
            _ => Needs::Nothing,
        }
    }

    pub(super) fn loaded(&mut self, now: Timestamp, result: Result<Option<Snapshot>, SnapshotError>) {
        self.step = Step::None;
        self.input(now, Input::Loaded(result));
    }

    pub(super) fn begin_replay(&mut self, items: Vec<Replayed>) {
        self.step = Step::Replaying(items.into());
    }

    pub(super) fn is_replaying(&self) -> bool {
        matches!(self.step, Step::Replaying(_))
    }

    pub(super) fn fail_replay(&mut self, now: Timestamp, error: JournalError) {
        self.step = Step::None;
        self.input(now, Input::Replayed(Err(error)));
    }

    /// The next thing that recovery waits for is there.
    pub(super) fn recover(&mut self, now: Timestamp) {
        match std::mem::replace(&mut self.step, Step::None) {
            Step::Claim(_, Some(result)) => self.input(now, Input::Claimed(result)),
            Step::Rest(_) => self.input(now, Input::Rested),
            Step::Replaying(mut items) => match items.pop_front() {
                Some(item) => {
                    self.step = Step::Replaying(items);
                    self.input(now, Input::Replayed(Ok(Some(item))));
                }
                None => self.input(now, Input::Replayed(Ok(None))),
            },
            other => self.step = other,
        }
    }

    pub(super) fn can_work(&self) -> bool {
        self.work.is_some()
    }

    pub(super) fn work(&mut self, now: Timestamp, in_time: bool) {
        let Some(mut work) = self.work.take() else { return };
        let output = if in_time {
            let mut context = TaskContext::from_waker(Waker::noop());
            let polled =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Ready(output)) => WorkOutput::Done(output),
                Ok(Poll::Pending) => WorkOutput::TimedOut,
                Err(_) => WorkOutput::Panicked("on purpose".into()),
            }
        } else {
            WorkOutput::TimedOut
        };
        self.input(now, Input::Worked(output));
    }

    /// A child fails, in whatever state the entity is.
    pub(super) fn fail_child(&mut self, now: Timestamp) {
        let failure = ActorFailure::Panicked { message: "on purpose".into() };
        self.input(now, Input::ChildFailed(failure));
    }

    pub(super) fn can_save(&self) -> bool {
        self.save.is_some()
    }

    pub(super) fn saving(&self) -> Option<&Snapshot> {
        self.save.as_ref()
    }

    pub(super) fn saved(&mut self, now: Timestamp, stored: bool) -> Option<Snapshot> {
        let snapshot = self.save.take();
        self.input(now, Input::Saved { stored });
        snapshot
    }

    pub(super) fn can_take(&self) -> bool {
        !self.mailbox.is_empty()
            && self.leaving.is_none()
            && self.entity.as_ref().is_some_and(Entity::accepts_commands)
    }

    pub(super) fn take(&mut self, now: Timestamp) {
        if let Some(delivery) = self.mailbox.pop_front() {
            self.input(now, Input::Command(delivery));
        }
    }

    pub(super) fn can_passivate(&self) -> bool {
        self.mailbox.is_empty()
            && self.leaving.is_none()
            && self.entity.as_ref().is_some_and(|entity| entity.accepts_commands() && entity.is_idle())
    }

    pub(super) fn passivate(&mut self, now: Timestamp) {
        self.input(now, Input::Idle);
    }

    pub(super) fn can_run_effect(&self) -> bool {
        !self.side_effects.is_empty()
    }

    pub(super) fn run_effect(&mut self) {
        if let Some(SideEffect::Run(mut effect)) = self.side_effects.pop_front() {
            let mut context = TaskContext::from_waker(Waker::noop());
            assert!(effect.as_mut().poll(&mut context).is_ready(), "the ledger's side effects do not wait");
        }
    }

    pub(super) fn can_leave(&self) -> bool {
        self.leaving.is_some() && self.side_effects.is_empty()
    }

    /// As the driver's.
    pub(super) fn leave(&mut self, now: Timestamp) {
        let Some(reason) = self.leaving.take() else { return };
        let passivated = matches!(reason, StopReason::Passivated | StopReason::PassivatedWhileNeeded);
        if passivated && (reason == StopReason::PassivatedWhileNeeded || !self.mailbox.is_empty()) {
            self.input(now, Input::WakeAgain);
            return;
        }
        let persistence_id = self.identity.persistence_id.clone();
        let failure = self.failure.take().unwrap_or(Failure::Stopping { persistence_id });
        for delivery in self.mailbox.drain(..) {
            delivery.fail(failure.clone());
        }
        self.pauses_until = None;
        if let Some(until) = self.left_alone_until.take() {
            let supervision = self.entity.as_mut().and_then(Entity::take_supervision);
            let supervision = supervision.filter(|_| self.flaw != Flaw::Forgets);
            self.left_alone = Some((failure, until, supervision));
        } else {
            self.panics.clear();
        }
        self.entity = None;
        self.writes.clear();
        self.save = None;
        self.work = None;
        self.seen.push(Happened::Answered);
    }

    /// Everyone in the mailbox and the entity is gone; what is on its way is not.
    pub(super) fn crash(self) -> (Link, Option<Snapshot>) {
        (self.link, self.save)
    }

    fn clock(&self, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_micros(self.skew))
    }

    fn input(&mut self, now: Timestamp, input: Input<Ledger>) {
        let clock = self.clock(now);
        if let Some(entity) = &mut self.entity {
            let in_hand = has_snapshot_in_hand(entity);
            entity.step(clock, input);
            if in_hand && !matches!(entity.phase, Phase::Running(_)) {
                self.seen.push(Happened::SnapshotThrownAway);
            }
        }
        self.perform(now);
    }

    /// I14: what is in memory, against the settings.
    pub(super) fn over_bounds(&self) -> Option<String> {
        let entity = self.entity.as_ref()?;
        let bounds = &self.rules.bounds;
        let events: usize = self.writes.iter().map(|slot| slot.events).sum();
        let most_events = bounds.events.saturating_sub(1) + self.rules.limits.max_events;
        let (held, stash, retry) = (entity.held(), entity.stash.len(), entity.retry.len());
        let over = events > most_events
            || held > bounds.held
            || stash > bounds.stash
            || retry > bounds.held + bounds.stash + 2
            || self.mailbox.len() > self.mailbox_capacity;
        over.then(|| {
            format!("I14: {events} events not durable, {held} held, {stash} stashed, {retry} to decide: {bounds:?}")
        })
    }

    /// An entity that panicked decides nothing before its pause is over, and is not restarted more often than its policy allows.
    pub(super) fn breaks_its_policy(&self, now: Timestamp) -> Option<String> {
        let (most, within) = self.rules.bounds.restart.limit?;
        let now = self.clock(now);
        let accepts = self.leaving.is_none() && self.entity.as_ref().is_some_and(Entity::accepts_commands);
        if accepts && self.pauses_until.is_some_and(|until| now < until) {
            return Some(format!("it takes commands, and pauses until {:?}", self.pauses_until));
        }
        let restarts = self.panics.iter().filter(|panic| now.since(**panic) < within).count();
        (restarts > most)
            .then(|| format!("{restarts} restarts within {within:?}, at most {most} are allowed"))
    }

    /// What it is about, for a trace.
    pub(super) fn describe(&self) -> String {
        let phase = match self.entity.as_ref().map(|entity| &entity.phase) {
            None => "absent",
            Some(Phase::Claiming(_)) => "claiming",
            Some(Phase::Resting) => "resting",
            Some(Phase::Loading(_)) => "loading",
            Some(Phase::Replaying(_)) => "replaying",
            Some(Phase::Settling(_)) => "settling",
            Some(Phase::Running(_)) => "running",
            Some(Phase::Pausing(_)) => "pausing",
            Some(Phase::Stopped) => "stopped",
        };
        let (held, retry, stash) = self
            .entity
            .as_ref()
            .map_or((0, 0, 0), |entity| (entity.held(), entity.retry.len(), entity.stash.len()));
        format!(
            "epoch {} {phase}, held {held}, retry {retry}, stash {stash}, mailbox {}, writes {}",
            self.epoch,
            self.mailbox.len(),
            self.writes.len()
        )
    }
}
