//! Performs what a [`Lifecycle`] asks for: one task for each actor.
//!
//! What is next is decided without waiting, by [`Runner::next`]; the task waits in one place, [`Runner::live`], so that the future
//! of an idle actor holds nothing but the actor and its context.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::{replace, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{Either, OptionFuture};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::cell::{Cell, Watcher};
use super::context::{Behavior, Notice};
use super::inbox::{Batch, Control, Halt, Inbox, Urgent};
use super::lifecycle::{Action, Input, Lifecycle, Phase};
use super::supervision::Directive;
use super::{
    Actor, ActorContext, ActorFailure, BoxError, DeadLetterReason, Props, Signal, TerminationReason,
};
use crate::panic::message as panic_message;

pub(crate) struct Runner<A: Actor> {
    actor: Option<A>,
    ctx: ActorContext<A>,
    parent: Option<Arc<dyn Watcher>>,
    lifecycle: Lifecycle,
    /// Hardly ever there.
    actions: Option<Box<Actions>>,
    batch: Batch<A::Message>,
    /// Messages since others of its thread got their turn.
    handled: u32,
    begun: bool,
    finished: bool,
    after: After,
    over: Option<Box<TerminationReason>>,
}

#[derive(Default)]
struct Actions(VecDeque<Action>);

/// What comes next.
enum Turn<M> {
    Handle(M),
    Tell(Signal),
    /// There is nothing to do, or others of its thread get their turn.
    Pause,
    Over(TerminationReason),
}

/// What comes after the actor's code.
enum After {
    Handled,
    Started,
    Noticed,
    Restarts,
    Stops,
}

type Outcome = Result<(), ActorFailure>;

impl<A: Actor> Runner<A> {
    pub(crate) fn new(
        cell: Arc<Cell<A::Message>>,
        props: Props<A>,
        parent: Option<Arc<dyn Watcher>>,
    ) -> Self {
        let (lifecycle, _) = Lifecycle::begin(Arc::clone(&props.plan.supervisor));
        Self {
            actor: None,
            ctx: ActorContext::new(cell, props.plan),
            parent,
            lifecycle,
            actions: None,
            batch: Batch::new(),
            handled: 0,
            begun: false,
            finished: false,
            after: After::Handled,
            over: None,
        }
    }

    /// Lives to the end.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` would have room for two of these"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // Handlers are caught one by one; what is left to panic is a destructor of the user's, or a bug of ours.
            let reason = match AssertUnwindSafe(self.live()).catch_unwind().await {
                Ok(reason) => reason,
                Err(panic) => {
                    TerminationReason::Failed(ActorFailure::Panicked { message: panic_message(&*panic) })
                }
            };
            self.finish(reason);
        }
    }

    async fn live(&mut self) -> TerminationReason {
        let cell = Arc::clone(&self.ctx.cell);
        loop {
            let ran = {
                let code = pin!(AssertUnwindSafe(OptionFuture::from(self.code())).catch_unwind());
                watched(code, &cell.inbox).await
            };
            // Nothing that it yields is there while it sleeps.
            if self.has_paused(ran) {
                match self.over.take() {
                    Some(reason) => return *reason,
                    None => self.until_woken().await,
                }
            }
        }
    }

    /// The actor's code for what is next; `None`: there is a pause.
    // All of the turn goes into this future, so that the one that awaits it has no room for a turn.
    fn code(&mut self) -> Option<impl Future<Output = Result<(), BoxError>> + Send> {
        match self.next() {
            // Who handles messages and is told something has an instance.
            Turn::Handle(message) => {
                let actor = self.actor.as_mut()?;
                Some(Either::Left(match self.ctx.behavior() {
                    None => Either::Left(actor.receive(message, &mut self.ctx)),
                    Some(behavior) => Either::Right(behave(behavior, actor, message, &mut self.ctx)),
                }))
            }
            // In a box: it is rare, and the largest that may wait here.
            Turn::Tell(signal) => {
                Some(Either::Right(Box::pin(self.actor.as_mut()?.signal(signal, &mut self.ctx))))
            }
            Turn::Pause => None,
            Turn::Over(reason) => {
                self.over = Some(Box::new(reason));
                None
            }
        }
    }

    /// Takes in what became of the actor's code; nothing becomes of it when it was aborted. `true`: there was none, or it is over.
    // What `watched` gives goes in as it is: taken apart where it is awaited, it would have room in the future.
    fn has_paused(&mut self, ran: Option<std::thread::Result<Option<Result<(), BoxError>>>>) -> bool {
        self.settle(match ran {
            Some(Ok(Some(Ok(())))) => Ok(()),
            Some(Ok(Some(Err(error)))) => Err(ActorFailure::returned(&error)),
            Some(Err(panic)) => Err(ActorFailure::Panicked { message: panic_message(&*panic) }),
            Some(Ok(None)) => return true,
            None => {
                self.over = Some(Box::new(TerminationReason::Aborted));
                return true;
            }
        });
        false
    }

    /// Whatever wakes it, it looks at everything again.
    fn until_woken(&mut self) -> impl Future<Output = ()> {
        let mut asleep = false;
        poll_fn(move |cx| {
            if replace(&mut asleep, true) {
                return Poll::Ready(());
            }
            if replace(&mut self.handled, 0) < BURST {
                return self.sleep(cx);
            }
            // To the end of the queue of its thread.
            self.ctx.cell.inbox.let_in();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn next(&mut self) -> Turn<A::Message> {
        if !replace(&mut self.begun, true)
            && let Some(turn) = self.start()
        {
            return turn;
        }
        loop {
            while let Some(action) = self.actions.as_mut().and_then(|actions| actions.0.pop_front()) {
                if let Some(turn) = self.perform(action) {
                    return turn;
                }
            }
            if self.handled >= BURST {
                return Turn::Pause;
            }
            match self.ctx.cell.inbox.next_urgent() {
                Some(Urgent::Control(control)) => {
                    if let Some(turn) = self.control(control) {
                        return turn;
                    }
                    continue;
                }
                Some(Urgent::Abort) => return Turn::Over(TerminationReason::Aborted),
                Some(Urgent::Halt(Halt::Drain)) => {
                    self.step(Input::Drain);
                    continue;
                }
                Some(Urgent::Halt(Halt::Now)) => {
                    self.step(Input::Stop);
                    continue;
                }
                None => {}
            }
            match self.lifecycle.phase() {
                Phase::Running => {
                    if let Some(message) = self.next_message() {
                        self.handled += 1;
                        match message {
                            Ok(message) => {
                                self.ctx.cell.system.metrics.messages.increment(1);
                                return Turn::Handle(message);
                            }
                            Err(failure) => self.fail(failure),
                        }
                        continue;
                    }
                    if self.lifecycle.is_draining() && !self.has_piped() {
                        self.step(Input::Drained);
                        continue;
                    }
                }
                Phase::Clearing(_) if self.ctx.children() == 0 => {
                    self.step(Input::ChildrenGone);
                    continue;
                }
                Phase::Resting => {
                    if self.rests_until().is_none_or(|until| until <= Instant::now()) {
                        self.step(Input::Rested);
                        continue;
                    }
                    if self.lifecycle.is_draining() && self.nothing_waits() {
                        self.step(Input::Drained);
                        continue;
                    }
                }
                Phase::Clearing(_) | Phase::Starting | Phase::Stopped => {}
            }
            return Turn::Pause;
        }
    }

    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let running = *self.lifecycle.phase() == Phase::Running;
        let woken = self.ctx.cell.inbox.sleep(&mut self.batch, running, cx.waker());
        if woken.is_ready() {
            return woken;
        }
        let rests_until = self.rests_until();
        let Some(rare) = &mut self.ctx.rare else { return Poll::Pending };
        let up_at = match self.lifecycle.phase() {
            Phase::Running => rare.timers.next(),
            Phase::Resting => rests_until,
            Phase::Clearing(_) | Phase::Starting | Phase::Stopped => None,
        };
        if let Some(at) = up_at
            && rare.alarm.poll(at, cx).is_ready()
        {
            return Poll::Ready(());
        }
        if running { rare.piped.poll_ready(cx) } else { Poll::Pending }
    }

    fn step(&mut self, input: Input) {
        let actions = self.lifecycle.step(input);
        if !actions.is_empty() {
            self.actions.get_or_insert_default().0.extend(actions);
        }
    }

    fn fail(&mut self, failure: ActorFailure) {
        let now = Instant::now();
        let chance = self.ctx.cell.system.chance(self.ctx.cell.id, now);
        self.step(Input::Failed { failure, now, chance });
    }

    fn nothing_waits(&self) -> bool {
        let unstashed = self.ctx.rare.as_ref().is_some_and(|rare| !rare.unstashed.is_empty());
        !unstashed && self.ctx.cell.inbox.is_empty(&self.batch)
    }

    fn has_piped(&self) -> bool {
        self.ctx.rare.as_ref().is_some_and(|rare| rare.piped.len() > 0)
    }

    fn rests_until(&self) -> Option<Instant> {
        self.ctx.rare.as_ref()?.alarm.rest
    }

    fn perform(&mut self, action: Action) -> Option<Turn<A::Message>> {
        match action {
            Action::Start => return self.start(),
            Action::DiscardForRestart => return self.tell(Signal::PreRestart, After::Restarts),
            Action::DiscardForStop => {
                self.ctx.leaving = true;
                return self.tell(Signal::PostStop, After::Stops);
            }
            Action::StopChildren => {
                // Whoever stops gracefully gives its children the time to; whoever fails or is cut short does not.
                let halt = if self.lifecycle.is_draining() { Halt::Drain } else { Halt::Now };
                self.ctx.for_each_child(|child| child.halt(halt));
            }
            Action::Rest(pause) => self.ctx.rare().alarm.rest = Some(Instant::now() + pause),
            Action::Report { failure, directive } => self.report(&failure, directive),
            Action::Finish(reason) => return Some(Turn::Over(reason)),
        }
        None
    }

    fn start(&mut self) -> Option<Turn<A::Message>> {
        match catch_unwind(AssertUnwindSafe(|| (self.ctx.plan().factory)())) {
            Ok(actor) => {
                self.actor = Some(actor);
                self.tell(Signal::Started, After::Started)
            }
            Err(panic) => {
                self.fail(ActorFailure::Panicked { message: panic_message(&*panic) });
                None
            }
        }
    }

    fn tell(&mut self, signal: Signal, after: After) -> Option<Turn<A::Message>> {
        self.after = after;
        if self.actor.is_none() {
            // There is nobody to be told.
            self.settle(Ok(()));
            return None;
        }
        Some(Turn::Tell(signal))
    }

    fn settle(&mut self, outcome: Outcome) {
        match (replace(&mut self.after, After::Handled), outcome) {
            (After::Handled | After::Noticed, Ok(())) => {}
            (After::Started, Ok(())) => self.step(Input::Started),
            (After::Handled | After::Noticed | After::Started, Err(failure)) => self.fail(failure),
            (After::Restarts, outcome) => {
                self.discard(outcome, Signal::PreRestart);
                self.ctx.forget_instance();
            }
            (After::Stops, outcome) => self.discard(outcome, Signal::PostStop),
        }
    }

    fn control(&mut self, control: Control) -> Option<Turn<A::Message>> {
        match control {
            Control::ChildGone(child) => {
                self.ctx.forget_child(&child);
                if let TerminationReason::Escalated(failure) = child.reason {
                    self.fail(ActorFailure::Child { child: child.path, failure: Box::new(failure) });
                }
                None
            }
            // On its way out it is told of nothing but its own end.
            Control::Terminated(_) if *self.lifecycle.phase() != Phase::Running => None,
            Control::Terminated(terminated) => match self.ctx.noticed(terminated)? {
                Notice::Signal(terminated) => self.tell(Signal::Terminated(terminated), After::Noticed),
                Notice::Message(message) => Some(Turn::Handle(message)),
            },
        }
    }

    /// Timers that are due, then piped work, what was unstashed, the mailbox.
    fn next_message(&mut self) -> Option<Result<A::Message, ActorFailure>> {
        let Some(rare) = &mut self.ctx.rare else { return self.take_from_mailbox() };
        // Timers that come due while one is handled let a message pass: a handler that takes longer than its timer's period
        // would never get to its mailbox.
        let after_timer = rare.alarm.after_timer;
        let mut next = self.due_timer(!after_timer);
        if next.is_none() {
            next = self.after_timers();
            // Who drains is at its end when no message waits, whatever its timers say.
            if next.is_none() && !self.lifecycle.is_draining() {
                next = self.due_timer(true);
            }
        }
        next
    }

    fn after_timers(&mut self) -> Option<Result<A::Message, ActorFailure>> {
        if let Some(rare) = &mut self.ctx.rare {
            if let Some(message) = rare.piped.try_next() {
                return Some(message);
            }
            if let Some(message) = rare.unstashed.pop_front() {
                return Some(Ok(message));
            }
        }
        self.take_from_mailbox()
    }

    fn take_from_mailbox(&mut self) -> Option<Result<A::Message, ActorFailure>> {
        if self.batch.took_last() && !self.lifecycle.is_draining() {
            return None;
        }
        let message = self.ctx.cell.inbox.begin_next(&mut self.batch)?;
        self.ctx.cell.system.metrics.waiting_messages.decrement(1.0);
        Some(Ok(message))
    }

    /// The message of a timer that is due now, or in the round that began before.
    fn due_timer(&mut self, new_round: bool) -> Option<Result<A::Message, ActorFailure>> {
        let rare = self.ctx.rare.as_mut()?;
        rare.alarm.after_timer = false;
        rare.timers.next()?;
        let now = Instant::now();
        if new_round {
            rare.alarm.round = now;
        }
        // A periodic timer makes its message with the user's code.
        let due = catch_unwind(AssertUnwindSafe(|| rare.timers.due(rare.alarm.round, now)))
            .map_err(|panic| ActorFailure::Panicked { message: panic_message(&*panic) })
            .transpose();
        rare.alarm.after_timer = due.is_some();
        due
    }

    /// Drops the instance, which was told that it goes.
    fn discard(&mut self, told: Outcome, last: Signal) {
        if let Err(failure) = told {
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
        let cell = Arc::clone(&self.ctx.cell);
        // Only an aborted one still has children.
        self.ctx.for_each_child(|child| child.abort());
        let waiting = cell.inbox.close(&mut self.batch);
        cell.system.metrics.waiting_messages.decrement(waiting.len() as f64);
        self.ctx.forget_instance();
        let unstashed = self.ctx.rare.as_mut().map(|rare| take(&mut rare.unstashed));
        for message in unstashed.into_iter().flatten().chain(waiting) {
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
            None => cell.system.forget(cell.id, &cell.path),
        }
        cell.terminated(reason);
    }
}

impl<A: Actor> Drop for Runner<A> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(TerminationReason::Aborted);
        }
        // All that is the user's is gone when the system is told.
        drop(self.actor.take());
        let of_entity = self.ctx.cell.is_of_entity();
        self.ctx.cell.system.runs_no_longer(of_entity);
    }
}

/// Waits for the actor's code, and no longer when the actor is aborted. Whenever that waits itself, senders are let in.
fn watched<'a, F: Future, M>(
    mut code: Pin<&'a mut F>,
    inbox: &'a Inbox<M>,
) -> impl Future<Output = Option<F::Output>> + use<'a, F, M> {
    poll_fn(move |cx| {
        let polled = code.as_mut().poll(cx);
        if polled.is_pending() {
            if !inbox.stay(cx.waker()) {
                return Poll::Ready(None);
            }
            inbox.let_in();
        }
        polled.map(Some)
    })
}

/// What a changed behaviour does; a panic before its future is there is one of the future.
fn behave<'a, A: Actor>(
    behavior: Behavior<A>,
    actor: &'a mut A,
    message: A::Message,
    ctx: &'a mut ActorContext<A>,
) -> impl Future<Output = Result<(), BoxError>> + Send + use<'a, A> {
    catch_unwind(AssertUnwindSafe(|| behavior(actor, message, ctx)))
        .unwrap_or_else(|panic| Box::pin(async { resume_unwind(panic) }))
}

/// Messages that are handled before others of its thread get their turn.
const BURST: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::{ActorPath, ActorSystem, ReplyTo};

    struct Tally {
        _sum: u64,
        _more: Option<Arc<u64>>,
    }

    impl Actor for Tally {
        type Message = ReplyTo<u64>;

        async fn receive(
            &mut self,
            message: ReplyTo<u64>,
            _: &mut ActorContext<Self>,
        ) -> Result<(), BoxError> {
            message.send(7);
            Ok(())
        }
    }

    /// Tokio adds 104 bytes and rounds up to 128: with one byte more an idle actor costs 128 bytes more.
    #[test]
    fn a_small_actor_s_future_is_not_larger_than_was_measured() {
        let system = ActorSystem::new("s");
        let props = Props::new(|| Tally { _sum: 0, _more: None });
        let path = ActorPath::root("s");
        let cell = Arc::new(Cell::new(path, props.plan.mailbox, Arc::clone(&system.shared), false, 0));
        let task = Runner::new(cell, props, None).run();
        assert!(size_of_val(&task) <= 280, "{} bytes", size_of_val(&task));
    }
}
