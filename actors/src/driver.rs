//! Performs what an [`Entity`] asks for: one task for each entity in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use annals_journal::{Head, JournalError, PersistenceId};
use tokio::time::Instant;
use tracing::{Span, debug, error, warn};

use crate::delivery::Delivery;
use crate::entities::Entities;
use crate::entity::{Entity, Input, StopReason, Supervision};
use crate::inbox::{Call, Inbox, Mail};
use crate::left_alone::Remembered;
use crate::plain::{ActorFailure, Halt, TerminationReason};
use crate::telemetry::COMMAND_SPAN;
use crate::{Failure, PersistentActor};

mod draining;
mod errands;
mod perform;
mod recovering;
mod report;
mod toolkit;
mod writes;

use draining::Draining;
use errands::Errands;
use recovering::Recovering;
use toolkit::Found;
use writes::Writes;

/// An entity's task. There may be a million of them, so what is not always needed is in boxes, and it is a future written by hand.
pub(crate) struct Driver<A: PersistentActor> {
    entity: Entity<A>,
    entities: Arc<Entities<A>>,
    inbox: Arc<Inbox<A>>,
    writes: Writes,
    recovering: Option<Box<Recovering<A>>>,
    errands: Option<Box<Errands<A>>>,
    held: u32,
    /// How often it became idle since it rested, up to [`WARM`].
    warmth: u8,
    /// It is out of memory as it should; otherwise its task ends early.
    has_left: bool,
    ending: Option<Box<Ending>>,
    draining: Option<Box<Draining>>,
}

/// How the entity ends; its task follows when its side effects are done.
#[derive(Default)]
struct Ending {
    reason: Option<StopReason>,
    /// Until when it is left alone.
    left_alone: Option<Instant>,
    /// What commands that came too late are answered.
    failure: Option<Failure>,
}

impl<A: PersistentActor> Driver<A> {
    pub(crate) fn new(
        id: &PersistenceId,
        entities: Arc<Entities<A>>,
        inbox: Arc<Inbox<A>>,
        supervision: Option<Box<Supervision>>,
    ) -> Self {
        entities.node.metrics.active_entities.increment(1.0);
        let entity = Entity::start_after(entities.identity(id), Arc::clone(&entities.rules), supervision);
        Self {
            entity,
            entities,
            inbox,
            writes: Writes::default(),
            recovering: None,
            errands: None,
            held: 0,
            warmth: 0,
            has_left: false,
            ending: None,
            draining: None,
        }
    }

    fn id(&self) -> &PersistenceId {
        self.entity.id()
    }

    /// Takes in the next thing that has happened; pending when there is none, and the task is woken for it.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(written) = self.writes.poll_next(cx) {
            self.written(written);
            return Poll::Ready(());
        }
        let limit = self.entities.node.recovery_timeout;
        if let Some(recovering) = &mut self.recovering
            && let Poll::Ready(input) = recovering.poll_next(cx, limit)
        {
            let span = recovering.span();
            self.recover(input, &span);
            return Poll::Ready(());
        }
        if let Some(errands) = &mut self.errands
            && let Poll::Ready(done) = errands.poll_next(cx)
        {
            if let Some(input) = done {
                self.entity.step(self.entities.now(), input);
            }
            return Poll::Ready(());
        }
        let accepts = self.accepts_commands();
        if self.poll_toolkit(cx, accepts).is_ready() {
            return Poll::Ready(());
        }
        match self.inbox.poll(cx, accepts) {
            Poll::Pending => self.poll_draining(cx),
            Poll::Ready(Mail::Command(first)) => {
                self.take(first);
                for _ in 1..BURST {
                    if !self.entity.accepts_commands() {
                        break;
                    }
                    let Some(next) = self.inbox.pop() else { break };
                    self.take(next);
                }
                Poll::Ready(())
            }
            Poll::Ready(Mail::Call(call)) => {
                self.called(call, accepts);
                Poll::Ready(())
            }
        }
    }

    /// The end of a child or a watched actor, or a timer that is due.
    fn poll_toolkit(&mut self, cx: &mut Context<'_>, accepts: bool) -> Poll<()> {
        let Some(toolkit) = self.errands.as_mut().and_then(|errands| errands.toolkit.as_mut()) else {
            return Poll::Pending;
        };
        if accepts
            && toolkit.yields_to_mailbox()
            && let Some(command) = self.inbox.pop()
        {
            self.take(command);
            return Poll::Ready(());
        }
        // Who stops takes no command that had not come when it was told to.
        let wants_commands = accepts && self.draining.is_none();
        match ready!(toolkit.poll_next(cx, wants_commands, &self.entity)) {
            Found::Command(command) => self.decide(command),
            Found::Escalated(failure) => {
                self.entity.step(self.entities.now(), Input::ChildFailed(failure));
            }
            Found::Progress => {}
        }
        Poll::Ready(())
    }

    fn accepts_commands(&self) -> bool {
        self.ending.as_ref().is_none_or(|ending| ending.reason.is_none())
            && self.entity.accepts_commands()
            && self.errands.as_ref().is_none_or(|errands| errands.let_commands_in())
    }

    fn called(&mut self, call: Call, accepts: bool) {
        match call {
            Call::Stop => {
                self.draining = None;
                self.entity.step(self.entities.now(), Input::Stop);
            }
            Call::Drain => {
                let limit = self.entities.node.entities_stop_within;
                self.draining.get_or_insert_with(|| Box::new(Draining::within(limit)));
            }
            Call::Idle if accepts && self.entity.is_idle() && self.inbox.is_empty() => {
                self.entity.step(self.entities.now(), Input::Idle);
            }
            // It is asked again.
            Call::Idle => {}
            Call::Rest => {
                self.warmth = 0;
                self.shrink();
            }
        }
    }

    /// One that is seldom asked gives its queues' memory back at once: of very many such, what they had grown to would stay.
    fn cool_down(&mut self) {
        if self.warmth < WARM && self.entity.is_idle() {
            self.warmth += 1;
            self.shrink();
        }
    }

    /// Gives back memory that is not needed while nothing happens.
    fn shrink(&mut self) {
        self.entity.shrink();
        self.writes.shrink();
        self.inbox.shrink();
        if self.errands.as_ref().is_some_and(|errands| errands.is_empty()) {
            self.errands = None;
        }
    }

    /// Takes in an answer and those behind it that are there too, so that a commit of many is not a wake-up each.
    fn written(&mut self, first: Result<Head, JournalError>) {
        let now = self.entities.now();
        self.entity.step(now, Input::Written(first));
        while !self.entity.has_actions() || self.entity.accepts_commands() {
            let Some(written) = self.writes.next_now() else { return };
            self.entity.step(now, Input::Written(written));
        }
    }

    /// Takes in a step of recovery, and what of a replay is there already.
    fn recover(&mut self, first: Input<A>, span: &Span) {
        let _entered = span.enter();
        if let Input::Claimed(Ok(head)) = &first {
            span.record("seq_nr", head.seq_nr.get());
        }
        let now = self.entities.now();
        self.entity.step(now, first);
        for _ in 0..BURST {
            if self.entity.has_actions() {
                return;
            }
            let Some(input) = self.recovering.as_mut().and_then(|recovering| recovering.next_now()) else {
                return;
            };
            self.entity.step(now, input);
        }
    }

    /// Decides a command from the mailbox.
    fn take(&mut self, command: Box<dyn Delivery<A>>) {
        self.entities.node.metrics.mailbox_depth.decrement(1.0);
        self.decide(command);
    }

    fn decide(&mut self, command: Box<dyn Delivery<A>>) {
        self.entities.node.metrics.commands.increment(1);
        // Asked for first: with the feature `log` of tracing, which others may turn on, the fields are made for nothing.
        let span = if tracing::level_enabled!(tracing::Level::DEBUG) {
            tracing::debug_span!(COMMAND_SPAN, persistence_id = %self.id(), command = command.name(), seq_nr = tracing::field::Empty)
        } else {
            Span::none()
        };
        let _entered = span.enter();
        self.entity.step(self.entities.now(), Input::Command(command));
        if !span.is_disabled()
            && let Some(seq_nr) = self.entity.decided()
        {
            span.record("seq_nr", seq_nr.get());
        }
    }

    /// Whether it has ended, and nothing of it runs any more: its side effects end first, then its children.
    fn is_over(&mut self) -> bool {
        let Some(reason) = self.ending.as_ref().and_then(|ending| ending.reason) else { return false };
        let Some(errands) = &mut self.errands else { return true };
        if !errands.no_side_effects() {
            return false;
        }
        let Some(toolkit) = &mut errands.toolkit else { return true };
        let halt = match reason {
            StopReason::Passivated | StopReason::PassivatedWhileNeeded | StopReason::Stopped => Halt::Drain,
            _ => Halt::Now,
        };
        toolkit.clear(halt, self.entities.work_limit);
        toolkit.is_empty()
    }

    /// Takes the entity out of memory; `false`: someone needs it, it has begun again.
    fn leave(&mut self, reason: StopReason, ending: Ending) -> bool {
        let passivated = matches!(reason, StopReason::Passivated | StopReason::PassivatedWhileNeeded);
        let needed = reason == StopReason::PassivatedWhileNeeded;
        let leaves =
            |why| self.entities.remove_if(self.id(), &self.inbox, || self.inbox.close_if_empty(), why);
        if passivated && (needed || !leaves(TerminationReason::Passivated)) {
            self.entities.ended(self.id(), &self.inbox, TerminationReason::Passivated);
            self.entity.step(self.entities.now(), Input::WakeAgain);
            return false;
        }
        self.has_left = true;
        let metrics = &self.entities.node.metrics;
        match reason {
            StopReason::Passivated | StopReason::PassivatedWhileNeeded => {
                metrics.passivations.increment(1);
                debug!(persistence_id = %self.id(), "passivated");
                return true;
            }
            StopReason::Fenced => {
                metrics.fencings.increment(1);
                warn!(persistence_id = %self.id(), "fenced: a newer owner has taken the entity over, it stops here");
            }
            StopReason::RecoveryFailed => metrics.recovery_failures.increment(1),
            StopReason::Unavailable => {
                warn!(persistence_id = %self.id(), "stopped: the journal cannot be asked; the next command tries again");
            }
            // Its report has said and counted it.
            StopReason::GivenUp | StopReason::Erased => {}
            StopReason::Stopped => debug!(persistence_id = %self.id(), "stopped"),
        }
        let failure =
            ending.failure.unwrap_or_else(|| Failure::Stopping { persistence_id: self.id().clone() });
        let why = match reason {
            StopReason::Passivated | StopReason::PassivatedWhileNeeded => TerminationReason::Passivated,
            StopReason::Stopped => TerminationReason::Stopped,
            StopReason::Fenced => TerminationReason::Fenced,
            StopReason::RecoveryFailed
            | StopReason::GivenUp
            | StopReason::Erased
            | StopReason::Unavailable => {
                TerminationReason::Failed(ActorFailure::Entity { failure: Box::new(failure.clone()) })
            }
        };
        match ending.left_alone {
            Some(until) => {
                let supervision = self.entity.take_supervision();
                let remembered = Remembered { failure: failure.clone(), until, supervision };
                self.entities.leave_alone(self.id(), &self.inbox, remembered, why);
            }
            None => _ = self.entities.remove_if(self.id(), &self.inbox, || true, why),
        }
        for delivery in self.inbox.close() {
            metrics.mailbox_depth.decrement(1.0);
            self.entities.node.fail(self.id(), delivery, failure.clone());
        }
        true
    }
}

impl<A: PersistentActor> Future for Driver<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..STEPS {
            this.perform();
            if this.is_over()
                && let Some(ending) = this.ending.take_if(|ending| ending.reason.is_some())
                && let Some(reason) = ending.reason
            {
                if this.leave(reason, *ending) {
                    return Poll::Ready(());
                }
                continue;
            }
            if let Some(written) = this.writes.next_if_answered() {
                this.written(written);
            } else if this.poll_step(cx).is_pending() {
                this.cool_down();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: PersistentActor> Drop for Driver<A> {
    /// Also when the task ends early: a `Drop` of the user's panicked, or the runtime goes away. Callers learn it as what they
    /// wait for is dropped, and the next command starts the entity again.
    fn drop(&mut self) {
        let metrics = &self.entities.node.metrics;
        metrics.mailbox_depth.decrement(self.inbox.close().len() as f64);
        metrics.held_replies.decrement(f64::from(self.held));
        metrics.active_entities.decrement(1.0);
        if !self.has_left {
            self.entities.ended(self.id(), &self.inbox, TerminationReason::Aborted);
        }
        if std::thread::panicking() {
            error!(persistence_id = %self.id(), "the entity's task panicked: its commands are dropped, the next one starts it again");
        }
    }
}

/// Commands taken from the inbox before the rest is looked after again.
const BURST: usize = 128;
/// Who becomes idle more often than so keeps its queues' memory until it rests.
const WARM: u8 = 8;
/// Steps after which others get their turn.
const STEPS: usize = 16;
