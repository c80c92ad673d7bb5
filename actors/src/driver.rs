//! Performs what an [`Entity`] asks for: one task for each entity in memory.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{Head, JournalError, PersistenceId, Replayed};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{Span, debug, error, warn};

use crate::delivery::Delivery;
use crate::effect::SideEffect;
use crate::entities::Entities;
use crate::entity::{Entity, Input, StopReason, Supervision, WorkOutput};
use crate::left_alone::Remembered;
use crate::telemetry::COMMAND_SPAN;
use crate::{Failure, PersistentActor};

mod perform;
mod report;
mod writes;

use writes::Writes;

/// Commands taken from the mailbox before the rest is looked after again.
const BURST: usize = 128;
/// Side effects that may wait; then commands wait in the mailbox (I14).
const MAX_SIDE_EFFECTS: usize = 1024;

pub(crate) struct Driver<A: PersistentActor> {
    id: PersistenceId,
    entity: Entity<A>,
    entities: Arc<Entities<A>>,
    mailbox: mpsc::Receiver<Box<dyn Delivery<A>>>,
    writes: Writes,
    step: Step<A>,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
    recovery_began: Instant,
    /// Open while the entity recovers.
    recovery: Span,
    work: Option<BoxFuture<'static, WorkOutput>>,
    side_effects: VecDeque<SideEffect>,
    side_effect: Option<BoxFuture<'static, ()>>,
    save: Option<BoxFuture<'static, Input<A>>>,
    held: usize,
    stop: Option<StopReason>,
    /// What commands that came too late are answered.
    failure: Option<Failure>,
    /// Until when it is left alone after its end.
    left_alone: Option<Instant>,
}

/// What recovery waits for.
enum Step<A: PersistentActor> {
    None,
    Once(BoxFuture<'static, (Input<A>, Option<tokio::sync::OwnedSemaphorePermit>)>),
    Replay(BoxStream<'static, Result<Replayed, JournalError>>),
}

/// What woke the driver.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for a moment on the stack; a box would cost an allocation a wake-up"
)]
enum Wake<A: PersistentActor> {
    Input(Input<A>),
    Command(Box<dyn Delivery<A>>),
    SideEffectDone,
    Idle,
    StopNode,
}

impl<A: PersistentActor> Driver<A> {
    pub(crate) fn new(
        id: PersistenceId,
        entities: Arc<Entities<A>>,
        mailbox: mpsc::Receiver<Box<dyn Delivery<A>>>,
        supervision: Option<Box<Supervision>>,
    ) -> Self {
        entities.node.metrics.active_entities.increment(1.0);
        let entity = Entity::start_after(entities.identity(&id), Arc::clone(&entities.rules), supervision);
        Self {
            id,
            entity,
            entities,
            mailbox,
            writes: Writes::default(),
            step: Step::None,
            permit: None,
            recovery_began: Instant::now(),
            recovery: Span::none(),
            work: None,
            side_effects: VecDeque::new(),
            side_effect: None,
            save: None,
            held: 0,
            stop: None,
            failure: None,
            left_alone: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let entities = Arc::clone(&self.entities);
        let idle_time = entities.passivate_after;
        let mut last_active = Instant::now();
        let idle = tokio::time::sleep(idle_time.unwrap_or_default());
        tokio::pin!(idle);
        let stopping = entities.node.stop.cancelled();
        tokio::pin!(stopping);
        let mut told_to_stop = false;
        loop {
            self.perform();
            if let Some(reason) = self.stop
                && self.side_effects.is_empty()
                && self.side_effect.is_none()
            {
                if self.leave(reason) {
                    break;
                }
                continue;
            }
            if let Some(written) = self.writes.next_if_answered() {
                self.written(written);
                continue;
            }
            let accepts = self.stop.is_none()
                && self.entity.accepts_commands()
                && self.side_effects.len() < MAX_SIDE_EFFECTS;
            let wake = tokio::select! {
                biased;
                written = poll_fn(|cx| self.writes.poll_next(cx)) => {
                    self.written(written);
                    continue;
                }
                input = next_step(&mut self.step, &mut self.permit, entities.node.recovery_timeout) => Wake::Input(input),
                output = maybe(&mut self.work) => { self.work = None; Wake::Input(Input::Worked(output)) }
                () = maybe(&mut self.side_effect) => { self.side_effect = None; Wake::SideEffectDone }
                saved = maybe(&mut self.save) => { self.save = None; Wake::Input(saved) }
                () = &mut stopping, if !told_to_stop => Wake::StopNode,
                Some(command) = self.mailbox.recv(), if accepts => Wake::Command(command),
                () = &mut idle, if idle_time.is_some() && accepts => Wake::Idle,
            };
            match wake {
                Wake::Input(input) => {
                    let recovery = self.recovery.clone();
                    let _entered = recovery.enter();
                    if let Input::Claimed(Ok(head)) = &input {
                        recovery.record("seq_nr", head.seq_nr.get());
                    }
                    self.entity.step(entities.now(), input);
                    self.drain_ready();
                }
                Wake::Command(first) => {
                    last_active = Instant::now();
                    self.take(first);
                    for _ in 1..BURST {
                        if !self.entity.accepts_commands() {
                            break;
                        }
                        let Ok(next) = self.mailbox.try_recv() else { break };
                        self.take(next);
                    }
                }
                Wake::SideEffectDone => {}
                Wake::StopNode => {
                    told_to_stop = true;
                    self.entity.step(entities.now(), Input::Stop);
                }
                Wake::Idle => {
                    let Some(idle_time) = idle_time else { continue };
                    if last_active.elapsed() >= idle_time && self.entity.is_idle() && self.mailbox.is_empty()
                    {
                        self.entity.step(entities.now(), Input::Idle);
                        idle.as_mut().reset(Instant::now() + idle_time);
                    } else {
                        let due = (last_active + idle_time).max(Instant::now() + idle_time / 8);
                        idle.as_mut().reset(due);
                    }
                }
            }
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

    /// Takes in what is there already, so that a replay or a commit of many is not a wake-up each.
    fn drain_ready(&mut self) {
        let now = self.entities.now();
        for _ in 0..BURST {
            if self.entity.has_actions() {
                return;
            }
            let input = match &mut self.step {
                Step::Replay(replay) => match replay.next().now_or_never() {
                    Some(Some(Ok(item))) => Input::Replayed(Ok(Some(item))),
                    Some(Some(Err(error))) => {
                        self.step = Step::None;
                        Input::Replayed(Err(error))
                    }
                    Some(None) => {
                        self.step = Step::None;
                        Input::Replayed(Ok(None))
                    }
                    None => return,
                },
                _ => return,
            };
            self.entity.step(now, input);
        }
    }

    fn take(&mut self, command: Box<dyn Delivery<A>>) {
        let metrics = &self.entities.node.metrics;
        metrics.mailbox_depth.decrement(1.0);
        metrics.commands.increment(1);
        // Asked for first: with the feature `log` of tracing, which others may turn on, the fields are made for nothing.
        let span = if tracing::level_enabled!(tracing::Level::DEBUG) {
            tracing::debug_span!(COMMAND_SPAN, persistence_id = %self.id, command = command.name(), seq_nr = tracing::field::Empty)
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

    /// Takes the entity out of memory; `false`: someone needs it, it has begun again.
    fn leave(&mut self, reason: StopReason) -> bool {
        let passivated = matches!(reason, StopReason::Passivated | StopReason::PassivatedWhileNeeded);
        let needed = reason == StopReason::PassivatedWhileNeeded;
        if passivated && (needed || !self.entities.remove_if(&self.id, || self.mailbox.is_empty())) {
            self.stop = None;
            self.entity.step(self.entities.now(), Input::WakeAgain);
            return false;
        }
        let metrics = &self.entities.node.metrics;
        match reason {
            StopReason::Passivated | StopReason::PassivatedWhileNeeded => {
                metrics.passivations.increment(1);
                debug!(persistence_id = %self.id, "passivated");
                return true;
            }
            StopReason::Fenced => {
                metrics.fencings.increment(1);
                warn!(persistence_id = %self.id, "fenced: a newer owner has taken the entity over, it stops here");
            }
            StopReason::RecoveryFailed => metrics.recovery_failures.increment(1),
            StopReason::Unavailable => {
                warn!(persistence_id = %self.id, "stopped: the journal cannot be asked; the next command tries again");
            }
            // Its report has said and counted it.
            StopReason::GivenUp => {}
            StopReason::Stopped => debug!(persistence_id = %self.id, "stopped"),
        }
        let failure =
            self.failure.take().unwrap_or_else(|| Failure::Stopping { persistence_id: self.id.clone() });
        match self.left_alone.take() {
            Some(until) => {
                let supervision = self.entity.take_supervision();
                let remembered = Remembered { failure: failure.clone(), until, supervision };
                self.entities.leave_alone(&self.id, remembered);
            }
            None => _ = self.entities.remove_if(&self.id, || true),
        }
        self.mailbox.close();
        while let Ok(delivery) = self.mailbox.try_recv() {
            metrics.mailbox_depth.decrement(1.0);
            self.entities.node.fail(&self.id, delivery, failure.clone());
        }
        true
    }
}

impl<A: PersistentActor> Drop for Driver<A> {
    /// Also when the task ends early: a `Drop` of the user's panicked, or the runtime goes away. Callers learn it as what they
    /// wait for is dropped, and the next command starts the entity again.
    fn drop(&mut self) {
        let metrics = &self.entities.node.metrics;
        self.mailbox.close();
        metrics.mailbox_depth.decrement(self.mailbox.len() as f64);
        metrics.held_replies.decrement(self.held as f64);
        metrics.active_entities.decrement(1.0);
        if std::thread::panicking() {
            error!(persistence_id = %self.id, "the entity's task panicked: its commands are dropped, the next one starts it again");
        }
    }
}

/// The next input of recovery; waits for ever when there is none.
async fn next_step<A: PersistentActor>(
    step: &mut Step<A>,
    permit: &mut Option<tokio::sync::OwnedSemaphorePermit>,
    limit: Duration,
) -> Input<A> {
    match step {
        Step::None => pending().await,
        Step::Once(once) => {
            let (input, kept) = once.await;
            *permit = kept;
            *step = Step::None;
            input
        }
        Step::Replay(replay) => match timeout(limit, replay.next()).await {
            Ok(Some(Ok(item))) => Input::Replayed(Ok(Some(item))),
            Ok(Some(Err(error))) => {
                *step = Step::None;
                Input::Replayed(Err(error))
            }
            Ok(None) => {
                *step = Step::None;
                Input::Replayed(Ok(None))
            }
            Err(_) => {
                *step = Step::None;
                let reason = format!("no event within {limit:?} during recovery");
                Input::Replayed(Err(JournalError::Unavailable { reason, source: None }))
            }
        },
    }
}

/// What the future yields; waits for ever when there is none.
async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
