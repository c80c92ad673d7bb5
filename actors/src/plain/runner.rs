//! Performs what a [`Lifecycle`] asks for: one task for each actor.

use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

use super::cell::{AnyCell, Cell};
use super::context::Notice;
use super::lifecycle::{Action, Input, Lifecycle, Phase};
use super::mailbox::{Control, Halt};
use super::supervision::Directive;
use super::{
    Actor, ActorContext, ActorFailure, BoxError, DeadLetterReason, Props, Signal, TerminationReason,
};
use crate::panic::message as panic_message;

/// Messages that are handled before others of its thread get their turn.
const BURST: u32 = 64;

pub(crate) struct Runner<A: Actor> {
    actor: Option<A>,
    ctx: ActorContext<A>,
    factory: Arc<dyn Fn() -> A + Send + Sync>,
    parent: Option<Arc<dyn AnyCell>>,
    lifecycle: Lifecycle,
    actions: VecDeque<Action>,
    resting_until: Option<Instant>,
    /// Timers that were due then are handled before anything else.
    timers_until: Instant,
    /// The last that was handled was one.
    after_timer: bool,
    finished: bool,
}

impl<A: Actor> Runner<A> {
    pub(crate) fn new(
        cell: Arc<Cell<A::Message>>,
        props: Props<A>,
        parent: Option<Arc<dyn AnyCell>>,
    ) -> Self {
        let (lifecycle, actions) = Lifecycle::begin(props.supervisor);
        Self {
            actor: None,
            ctx: ActorContext::new(cell, props.stash),
            factory: props.factory,
            parent,
            lifecycle,
            actions: actions.into(),
            resting_until: None,
            timers_until: Instant::now(),
            after_timer: false,
            finished: false,
        }
    }

    pub(crate) async fn run(mut self) {
        // Handlers are caught one by one; what is left to panic is a destructor of the user's, or a bug of ours.
        let reason = match AssertUnwindSafe(self.live()).catch_unwind().await {
            Ok(reason) => reason,
            Err(panic) => {
                TerminationReason::Failed(ActorFailure::Panicked { message: panic_message(&*panic) })
            }
        };
        self.finish(reason);
    }

    async fn live(&mut self) -> TerminationReason {
        let mut handled = 0;
        loop {
            while let Some(action) = self.actions.pop_front() {
                if let Some(reason) = self.perform(action).await {
                    return reason;
                }
            }
            if handled >= BURST {
                handled = 0;
                tokio::task::yield_now().await;
            }
            if let Some(control) = self.ctx.cell.inbox.next_control() {
                self.control(control).await;
                continue;
            }
            if let Some(halt) = self.ctx.cell.inbox.take_halt() {
                self.step(match halt {
                    Halt::Drain => Input::Drain,
                    Halt::Now => Input::Stop,
                });
                continue;
            }
            let wake_at = match self.lifecycle.phase() {
                Phase::Clearing(_) if self.ctx.children.is_empty() => {
                    self.step(Input::ChildrenGone);
                    continue;
                }
                Phase::Resting => {
                    if self.resting_until.is_none_or(|until| until <= Instant::now()) {
                        self.resting_until = None;
                        self.step(Input::Rested);
                        continue;
                    }
                    if self.lifecycle.is_draining() && self.nothing_waits() {
                        self.step(Input::Drained);
                        continue;
                    }
                    self.resting_until
                }
                Phase::Running => {
                    if self.handle_next().await {
                        handled += 1;
                        continue;
                    }
                    if self.lifecycle.is_draining() && self.ctx.piped.len() == 0 {
                        self.step(Input::Drained);
                        continue;
                    }
                    self.ctx.timers.next()
                }
                Phase::Clearing(_) | Phase::Starting | Phase::Stopped => None,
            };
            let running = *self.lifecycle.phase() == Phase::Running;
            let woken = self.ctx.cell.inbox.woken();
            // Whatever wakes it, the loop looks at everything again.
            let done = tokio::select! {
                biased;
                () = woken => None,
                () = until(wake_at) => None,
                done = self.ctx.piped.next(), if running => Some(done),
            };
            if let Some(done) = done {
                self.handle(done).await;
            }
        }
    }

    fn step(&mut self, input: Input) {
        self.actions.extend(self.lifecycle.step(input));
    }

    fn fail(&mut self, failure: ActorFailure) {
        let now = Instant::now();
        let chance = self.ctx.cell.system.chance(self.ctx.cell.id, now);
        self.step(Input::Failed { failure, now, chance });
    }

    fn nothing_waits(&self) -> bool {
        self.ctx.unstashed.is_empty() && self.ctx.cell.inbox.is_empty()
    }

    /// `Some`: it is over.
    async fn perform(&mut self, action: Action) -> Option<TerminationReason> {
        match action {
            Action::Start => self.start().await,
            Action::DiscardForRestart => {
                self.discard(Signal::PreRestart).await;
                self.ctx.forget_instance();
            }
            Action::DiscardForStop => {
                self.ctx.leaving = true;
                self.discard(Signal::PostStop).await;
            }
            Action::StopChildren => {
                // Whoever stops gracefully gives its children the time to; whoever fails or is cut short does not.
                let halt = if self.lifecycle.is_draining() { Halt::Drain } else { Halt::Now };
                for (_, child) in self.ctx.children.values() {
                    child.halt(halt);
                }
            }
            Action::Rest(pause) => self.resting_until = Some(Instant::now() + pause),
            Action::Report { failure, directive } => self.report(&failure, directive),
            Action::Finish(reason) => return Some(reason),
        }
        None
    }

    async fn start(&mut self) {
        match catch_unwind(AssertUnwindSafe(|| (self.factory)())) {
            Ok(actor) => self.actor = Some(actor),
            Err(panic) => {
                return self.fail(ActorFailure::Panicked { message: panic_message(&*panic) });
            }
        }
        match self.signal(Signal::Started).await {
            Ok(()) => self.step(Input::Started),
            Err(failure) => self.fail(failure),
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::ChildGone(child) => {
                self.ctx.forget_child(&child);
                if let TerminationReason::Escalated(failure) = child.reason {
                    self.fail(ActorFailure::Child { child: child.path, failure: Box::new(failure) });
                }
            }
            // On its way out it is told of nothing but its own end.
            Control::Terminated(_) if *self.lifecycle.phase() != Phase::Running => {}
            Control::Terminated(terminated) => {
                let result = match self.ctx.noticed(terminated) {
                    Some(Notice::Signal(terminated)) => self.signal(Signal::Terminated(terminated)).await,
                    Some(Notice::Message(message)) => self.receive(message).await,
                    None => Ok(()),
                };
                if let Err(failure) = result {
                    self.fail(failure);
                }
            }
        }
    }

    /// Handles what is next: timers that are due, then piped work, what was unstashed, the mailbox. `false`: there is nothing.
    async fn handle_next(&mut self) -> bool {
        // Timers that come due while one is handled let a message pass: a handler that takes longer than its timer's period
        // would never get to its mailbox.
        if !self.after_timer {
            self.timers_until = Instant::now();
        }
        let mut next = self.due_timer().transpose();
        self.after_timer = next.is_some();
        if next.is_none() {
            next = self.next_message();
        }
        // Who drains is at its end when no message waits, whatever its timers say.
        if next.is_none() && !self.lifecycle.is_draining() {
            self.timers_until = Instant::now();
            next = self.due_timer().transpose();
            self.after_timer = next.is_some();
        }
        match next {
            Some(message) => self.handle(message).await,
            None => return false,
        }
        true
    }

    /// What comes after timers.
    fn next_message(&mut self) -> Option<Result<A::Message, ActorFailure>> {
        if let Some(message) = self.ctx.piped.try_next() {
            return Some(message);
        }
        if let Some(message) = self.ctx.unstashed.pop_front() {
            return Some(Ok(message));
        }
        let message = self.ctx.cell.inbox.next_message()?;
        self.ctx.cell.system.metrics.waiting_messages.decrement(1.0);
        Some(Ok(message))
    }

    /// Handles a message, or fails with what prevented it.
    async fn handle(&mut self, message: Result<A::Message, ActorFailure>) {
        let result = match message {
            Ok(message) => {
                self.ctx.cell.system.metrics.messages.increment(1);
                self.receive(message).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    fn due_timer(&mut self) -> Result<Option<A::Message>, ActorFailure> {
        if self.ctx.timers.next().is_none() {
            return Ok(None);
        }
        // A periodic timer makes its message with the user's code.
        catch_unwind(AssertUnwindSafe(|| self.ctx.timers.due(self.timers_until, Instant::now())))
            .map_err(|panic| ActorFailure::Panicked { message: panic_message(&*panic) })
    }

    async fn receive(&mut self, message: A::Message) -> Result<(), ActorFailure> {
        let Some(actor) = &mut self.actor else { return Ok(()) };
        let ctx = &mut self.ctx;
        match ctx.behavior.clone() {
            None => caught(actor.receive(message, ctx)).await,
            Some(behavior) => caught(async { behavior(actor, message, ctx).await }).await,
        }
    }

    async fn signal(&mut self, signal: Signal) -> Result<(), ActorFailure> {
        let Some(actor) = &mut self.actor else { return Ok(()) };
        caught(actor.signal(signal, &mut self.ctx)).await
    }

    /// Tells the instance that it goes, and drops it.
    async fn discard(&mut self, last: Signal) {
        if let Err(failure) = self.signal(last.clone()).await {
            warn!(actor = %self.ctx.cell.path, %failure, signal = ?last, "failed on its way out");
        }
        let actor = self.actor.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(actor))) {
            let failure = panic_message(&*panic);
            warn!(actor = %self.ctx.cell.path, failure, "its destructor panicked");
        }
    }

    fn report(&self, failure: &ActorFailure, directive: Directive) {
        let metrics = &self.ctx.cell.system.metrics;
        metrics.actor_failures.increment(1);
        let actor = &self.ctx.cell.path;
        match directive {
            Directive::Restart { after } => {
                metrics.actor_restarts.increment(1);
                warn!(%actor, %failure, ?after, "actor failed: restarts");
            }
            Directive::Stop => error!(%actor, %failure, "actor failed: stops for good, spawn it again"),
            Directive::Escalate => {
                metrics.escalations.increment(1);
                error!(%actor, %failure, "actor failed: stops, and its parent fails with it");
            }
        }
    }

    /// The end: everyone who must know is told.
    fn finish(&mut self, reason: TerminationReason) {
        self.finished = true;
        let cell = &self.ctx.cell;
        // Only an aborted one still has children.
        for (_, child) in self.ctx.children.values() {
            child.abort();
        }
        let waiting = cell.inbox.close();
        cell.system.metrics.waiting_messages.decrement(waiting.len() as f64);
        self.ctx.forget_instance();
        let cell = Arc::clone(&self.ctx.cell);
        for message in std::mem::take(&mut self.ctx.unstashed).into_iter().chain(waiting) {
            cell.dead_letter(DeadLetterReason::Stopped);
            // Dropped one by one: an asker is told at once.
            if catch_unwind(AssertUnwindSafe(|| drop(message))).is_err() {
                warn!(actor = %cell.path, "a destructor of one of its messages panicked");
            }
        }
        debug!(actor = %cell.path, ?reason, "actor terminated");
        cell.system.metrics.running_actors.decrement(1.0);
        // Before the watchers: whoever is told of the end can use the name again.
        match &self.parent {
            Some(parent) => parent.control(Control::ChildGone(cell.notice(reason.clone()))),
            None => cell.system.forget(&cell.path),
        }
        cell.terminated(reason);
    }
}

impl<A: Actor> Drop for Runner<A> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(TerminationReason::Aborted);
        }
    }
}

/// Waits until then; for ever without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// The outcome of a piece of the user's code; a panic is one, too.
async fn caught(code: impl Future<Output = Result<(), BoxError>>) -> Result<(), ActorFailure> {
    match AssertUnwindSafe(code).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ActorFailure::returned(&error)),
        Err(panic) => Err(ActorFailure::Panicked { message: panic_message(&*panic) }),
    }
}
