//! Performs what an [`Entity`] asks for: one task for each entity in memory.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{Head, Journal, JournalError, JournalExt, PersistenceId, ReplayRange, Replayed};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesOrdered};
use futures::{FutureExt, StreamExt};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, debug, error, warn};

use crate::delivery::Delivery;
use crate::effect::SideEffect;
use crate::entities::Entities;
use crate::entity::{Action, Entity, Input, Report, StopReason, WorkOutput};
use crate::node::Shared;
use crate::panic::message;
use crate::telemetry::{COMMAND_SPAN, RECOVERY_SPAN};
use crate::{Failure, PersistentActor};

/// Commands taken from the mailbox before the rest is looked after again.
const BURST: usize = 128;
/// Side effects that may wait; then commands wait in the mailbox (I14).
const MAX_SIDE_EFFECTS: usize = 1024;

pub(crate) struct Driver<A: PersistentActor> {
    id: PersistenceId,
    entity: Entity<A>,
    entities: Arc<Entities<A>>,
    mailbox: mpsc::Receiver<Box<dyn Delivery<A>>>,
    writes: FuturesOrdered<BoxFuture<'static, Result<Head, JournalError>>>,
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
    ) -> Self {
        entities.node.metrics.active_entities.increment(1.0);
        let entity = Entity::start(entities.identity(&id), Arc::clone(&entities.rules));
        Self {
            id,
            entity,
            entities,
            mailbox,
            writes: FuturesOrdered::new(),
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
            let accepts = self.stop.is_none()
                && self.entity.accepts_commands()
                && self.side_effects.len() < MAX_SIDE_EFFECTS;
            let wake = tokio::select! {
                biased;
                Some(written) = self.writes.next() => {
                    self.entity.step(entities.now(), Input::Written(written));
                    while let Some(Some(written)) = self.writes.next().now_or_never() {
                        self.entity.step(entities.now(), Input::Written(written));
                        if self.entity.has_actions() && !self.entity.accepts_commands() { break }
                    }
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
        let name = command.name();
        let span = tracing::debug_span!(COMMAND_SPAN, persistence_id = %self.id, command = name, seq_nr = tracing::field::Empty);
        let _entered = span.enter();
        self.entity.step(self.entities.now(), Input::Command(command));
        if !span.is_disabled()
            && let Some(seq_nr) = self.entity.decided()
        {
            span.record("seq_nr", seq_nr.get());
        }
    }

    /// Performs the entity's actions.
    fn perform(&mut self) {
        let node = Arc::clone(&self.entities.node);
        for action in self.entity.actions() {
            match action {
                Action::Write(write) => {
                    let journal = Arc::clone(&node.journal);
                    self.writes.push_back(async move { journal.write_one(write).await }.boxed());
                }
                Action::Release(delivery, effects) => {
                    if delivery.release() {
                        node.metrics.rejections.increment(1);
                    }
                    self.side_effects.extend(effects);
                }
                Action::Fail(delivery, failure) => {
                    node.metrics.failures.increment(1);
                    delivery.fail(failure);
                }
                Action::Unknown(delivery) => {
                    node.metrics.unknown_outcomes.increment(1);
                    delivery.unknown(&self.id);
                }
                Action::RefuseMailbox(failure) => {
                    while let Ok(delivery) = self.mailbox.try_recv() {
                        node.metrics.mailbox_depth.decrement(1.0);
                        node.metrics.failures.increment(1);
                        delivery.fail(failure.clone());
                    }
                    self.failure = Some(failure);
                }
                Action::Claim(token) => {
                    let (journal, id) = (Arc::clone(&node.journal), self.id.clone());
                    let (limit, permits) = (node.recovery_timeout, Arc::clone(&node.recoveries));
                    let held = self.permit.take();
                    if self.recovery.is_none() {
                        self.recovery_began = Instant::now();
                        self.recovery = tracing::info_span!(
                            RECOVERY_SPAN,
                            persistence_id = self.id.as_str(),
                            seq_nr = tracing::field::Empty,
                        );
                    }
                    self.step = Step::Once(
                        async move {
                            let permit = match held {
                                Some(permit) => Some(permit),
                                // Closed only when the node is gone; then there is nobody to bound.
                                None => permits.acquire_owned().await.ok(),
                            };
                            let claimed = match timeout(limit, journal.claim(&id, token)).await {
                                Ok(claimed) => claimed,
                                Err(_) => Err(JournalError::Unknown {
                                    reason: format!("no answer to a claim within {limit:?}"),
                                    source: None,
                                }),
                            };
                            (Input::Claimed(claimed), permit)
                        }
                        .instrument(self.recovery.clone())
                        .boxed(),
                    );
                }
                Action::Load(at_most) => {
                    let (keeper, id, limit) =
                        (Arc::clone(&node.snapshots), self.id.clone(), node.recovery_timeout);
                    let permit = self.permit.take();
                    self.step = Step::Once(
                        async move {
                            let loaded = match timeout(limit, keeper.load(&id, at_most)).await {
                                Ok(loaded) => loaded,
                                Err(_) => Err(annals_snapshot::SnapshotError::Unavailable {
                                    reason: format!("no answer to a load within {limit:?}"),
                                    source: None,
                                }),
                            };
                            (Input::Loaded(loaded), permit)
                        }
                        .instrument(self.recovery.clone())
                        .boxed(),
                    );
                }
                Action::Replay(from, to) => {
                    self.step =
                        Step::Replay(node.journal.replay(ReplayRange::all(&self.id).from(from).to(to)));
                }
                Action::ForgetWrites => self.writes = FuturesOrdered::new(),
                Action::Work(work, limit) => {
                    self.work = Some(
                        async move {
                            match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
                                Ok(Ok(output)) => WorkOutput::Done(output),
                                Ok(Err(panic)) => WorkOutput::Panicked(message(&*panic)),
                                Err(_) => WorkOutput::TimedOut,
                            }
                        }
                        .boxed(),
                    );
                }
                Action::CancelWork => self.work = None,
                Action::Save(snapshot) => {
                    let entities = Arc::clone(&self.entities);
                    self.save =
                        Some(async move { Input::Saved { stored: entities.save(*snapshot).await } }.boxed());
                }
                Action::Rest(pause) => {
                    self.permit = None;
                    self.step = Step::Once(
                        async move {
                            tokio::time::sleep(pause).await;
                            (Input::Rested, None)
                        }
                        .boxed(),
                    );
                }
                Action::Ready { replayed, snapshot } => {
                    self.permit = None;
                    self.step = Step::None;
                    self.failure = None;
                    let took = self.recovery_began.elapsed();
                    node.metrics.recoveries.increment(1);
                    node.metrics.recovered_events.increment(replayed);
                    node.metrics.recovery_seconds.record(took.as_secs_f64());
                    debug!(persistence_id = %self.id, replayed, snapshot = snapshot.get(), ?took, "recovered");
                    self.recovery = Span::none();
                }
                Action::Report(report) => report.say(&self.id, &node),
                Action::Stop(reason) => {
                    self.recovery = Span::none();
                    self.permit = None;
                    self.step = Step::None;
                    self.stop = Some(reason);
                }
            }
        }
        let held = self.entity.held();
        if held != self.held {
            node.metrics.held_replies.increment(held as f64 - self.held as f64);
            self.held = held;
        }
        if self.side_effect.is_none() {
            self.side_effect = self.next_side_effect();
        }
    }

    fn next_side_effect(&mut self) -> Option<BoxFuture<'static, ()>> {
        let effect = self.side_effects.pop_front()?;
        let (id, limit) = (self.id.clone(), self.entities.work_limit);
        Some(
            async move {
                match timeout(limit, AssertUnwindSafe(effect).catch_unwind()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(panic)) => {
                        error!(persistence_id = %id, message = message(&*panic), "a side effect panicked");
                    }
                    Err(_) => {
                        error!(persistence_id = %id, ?limit, "a side effect took longer than its limit and was dropped");
                    }
                }
            }
            .boxed(),
        )
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
            StopReason::Stopped => debug!(persistence_id = %self.id, "stopped"),
        }
        let failure =
            self.failure.take().unwrap_or_else(|| Failure::Stopping { persistence_id: self.id.clone() });
        self.entities.remove_if(&self.id, || true);
        self.mailbox.close();
        while let Ok(delivery) = self.mailbox.try_recv() {
            metrics.mailbox_depth.decrement(1.0);
            metrics.failures.increment(1);
            delivery.fail(failure.clone());
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

impl Report {
    fn say(self, id: &PersistenceId, node: &Shared) {
        match self {
            Self::Restart { reason, held } => {
                node.metrics.restarted(reason);
                warn!(persistence_id = %id, reason = reason.label(), held, "state thrown away: claims and recovers");
            }
            Self::UnreadableSnapshot { seq_nr, reason } => node.snapshots.pass_over(id, seq_nr, &reason),
            Self::SnapshotStoreUnavailable(reason) => {
                warn!(persistence_id = %id, reason, "snapshot store unavailable: recovers from events");
            }
            Self::SnapshotNotTaken(reason) => {
                warn!(persistence_id = %id, reason, "no snapshot: its policy panicked, or the state cannot be encoded");
            }
            Self::JournalUnavailable(reason) => {
                warn!(persistence_id = %id, reason, "the journal cannot be asked: tries again");
            }
            Self::RecoveryFailed(reason) => {
                error!(persistence_id = %id, %reason, "recovery failed: restore or repair, then send a command");
            }
            Self::CallerGone => {
                debug!(persistence_id = %id, "a command was dropped: its caller had given up")
            }
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
