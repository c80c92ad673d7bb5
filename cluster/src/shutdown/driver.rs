use std::any::Any;
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use metrics::{counter, histogram};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::procedure::{Action, Input, Procedure, TaskId};
use super::{Phase, PhaseReport, Reason, Report, ShutdownSettings, Signal, TaskOutcome, TooLate};
use crate::{Moment, telemetry};

/// What the handles and the thread of a shutdown share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) begun: watch::Sender<Option<Reason>>,
    pub(super) phase: watch::Sender<Option<Phase>>,
    pub(super) ended: watch::Sender<Option<Arc<Report>>>,
    runtime: Handle,
    /// Strong ones are with the handles: when they and all tasks are gone, only a signal can begin it.
    wake: mpsc::WeakUnboundedSender<Wake>,
    beginning: std::time::Instant,
}

struct State {
    procedure: Procedure,
    waiting: HashMap<TaskId, Work>,
    running: HashMap<TaskId, AbortHandle>,
    exit: Option<u8>,
}

pub(super) type Work = BoxFuture<'static, Result<(), String>>;

/// What wakes the thread.
pub(super) enum Wake {
    /// Look at deadline and end again.
    Look,
    Ended(TaskId, TaskOutcome),
}

/// Starts the thread, and waits until it listens.
pub(super) fn start(shared: Arc<Shared>, woken: mpsc::UnboundedReceiver<Wake>) -> io::Result<()> {
    let (listens, says_so) = blocking::channel();
    thread::Builder::new().name("annals-shutdown".into()).spawn(move || {
        let prepared = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let context = runtime.enter();
            let signals = if shared.settings().listens() { Some(Signals::listen()?) } else { None };
            drop(context);
            Ok((runtime, signals))
        });
        match prepared {
            Ok((runtime, signals)) => {
                let _ = listens.send(Ok(()));
                runtime.block_on(conduct(&shared, woken, signals));
            }
            Err(error) => _ = listens.send(Err(error)),
        }
    })?;
    says_so.recv().map_err(io::Error::other)?
}

async fn conduct(shared: &Shared, mut woken: mpsc::UnboundedReceiver<Wake>, mut signals: Option<Signals>) {
    let mut is_held = true;
    loop {
        let (deadline, exit, ended) = shared.outlook();
        if let Some(code) = exit {
            std::process::exit(code.into());
        }
        // Whoever still waits in `main` when all has ended is ended by a signal.
        if signals.is_none() && (ended || !is_held && deadline.is_none()) {
            return;
        }
        tokio::select! {
            wake = woken.recv(), if is_held => match wake {
                Some(Wake::Look) => {}
                Some(Wake::Ended(id, outcome)) => shared.step(Input::Ended(id, outcome)),
                None => is_held = false,
            },
            signal = next(&mut signals) => shared.step(Input::Signal(signal)),
            () = until(deadline) => shared.step(Input::Tick),
        }
    }
}

async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
        None => pending().await,
    }
}

impl Shared {
    pub(super) fn new(
        settings: ShutdownSettings,
        runtime: Handle,
        wake: mpsc::WeakUnboundedSender<Wake>,
    ) -> Self {
        let state = State {
            procedure: Procedure::new(settings),
            waiting: HashMap::new(),
            running: HashMap::new(),
            exit: None,
        };
        Self {
            state: Mutex::new(state),
            begun: watch::Sender::new(None),
            phase: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            runtime,
            wake,
            beginning: std::time::Instant::now(),
        }
    }

    pub(super) fn settings(&self) -> ShutdownSettings {
        self.state().procedure.settings().clone()
    }

    pub(super) fn register(&self, phase: Phase, name: String, work: Work) -> Result<TaskId, TooLate> {
        let mut state = self.state();
        let (id, actions) = state.procedure.register(self.now(), phase, name)?;
        state.waiting.insert(id, work);
        self.perform(&mut state, actions);
        Ok(id)
    }

    pub(super) fn cancel(&self, id: TaskId) -> bool {
        let mut state = self.state();
        let waits = state.procedure.cancel(id);
        let work = state.waiting.remove(&id);
        drop(state);
        // What it holds may call back here.
        drop(work);
        waits
    }

    pub(super) fn begin(&self, reason: Reason) {
        self.step(Input::Begin(reason));
    }

    fn step(&self, input: Input) {
        let mut state = self.state();
        let actions = state.procedure.step(self.now(), input);
        let phase = state.procedure.phase();
        self.phase.send_if_modified(|last| std::mem::replace(last, phase) != phase);
        self.perform(&mut state, actions);
    }

    fn outlook(&self) -> (Option<std::time::Instant>, Option<u8>, bool) {
        let state = self.state();
        let at = |moment: Moment| self.beginning.checked_add(Duration::from_millis(moment.as_millis()));
        // A deadline beyond what a clock can show never comes.
        (state.procedure.deadline().and_then(at), state.exit, state.procedure.has_ended())
    }

    fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.beginning.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs in the order of the steps: the lock is held.
    fn perform(&self, state: &mut State, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Begun(reason) => {
                    tracing::info!(%reason, "shutting down");
                    self.begun.send_replace(Some(reason));
                }
                Action::Run(id) => {
                    let Some(work) = state.waiting.remove(&id) else { continue };
                    let ends = Ends { id, wake: self.wake.upgrade(), said: false };
                    state.running.insert(id, self.runtime.spawn(run(work, ends)).abort_handle());
                }
                Action::Drop(id) => {
                    if let Some(running) = state.running.remove(&id) {
                        running.abort();
                    }
                }
                Action::PhaseEnded(phase) => tell(&phase),
                Action::End(report) => {
                    end(&report);
                    if state.procedure.settings().does_exit() || report.cut_short.is_some() {
                        let code = state.procedure.settings().code(&report);
                        state.exit = Some(report.cut_short.map_or(code, Signal::exit_code));
                    }
                    self.ended.send_replace(Some(Arc::new(report)));
                }
                Action::Exit(signal) => state.exit = Some(signal.exit_code()),
            }
        }
    }
}

async fn run(work: Work, mut ends: Ends) {
    let outcome = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(())) => TaskOutcome::Done,
        Ok(Err(error)) => TaskOutcome::Failed(error),
        Err(panic) => TaskOutcome::Panicked(said(&*panic)),
    };
    ends.say(outcome);
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

/// Tells how a task ended, also when it was dropped with its runtime.
struct Ends {
    id: TaskId,
    wake: Option<mpsc::UnboundedSender<Wake>>,
    said: bool,
}

impl Ends {
    fn say(&mut self, outcome: TaskOutcome) {
        self.said = true;
        if let Some(wake) = &self.wake {
            // The thread is gone only when all has ended.
            let _ = wake.send(Wake::Ended(self.id, outcome));
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.said {
            self.say(TaskOutcome::Failed("its runtime ended before it".into()));
        }
    }
}

fn tell(phase: &PhaseReport) {
    histogram!(telemetry::SHUTDOWN_PHASE_SECONDS, "phase" => phase.phase.name())
        .record(phase.took.as_secs_f64());
    if phase.is_complete() {
        tracing::info!("shutdown: {phase}");
    } else {
        let unfinished = phase.tasks.iter().filter(|task| task.outcome != TaskOutcome::Done).count();
        counter!(telemetry::SHUTDOWN_UNFINISHED_TASKS, "phase" => phase.phase.name())
            .increment(u64::try_from(unfinished).unwrap_or(u64::MAX));
        tracing::warn!("shutdown: {phase}");
    }
}

fn end(report: &Report) {
    let unfinished: Vec<_> = report.unfinished().map(|(phase, task)| format!("{phase}: {task}")).collect();
    let (reason, took) = (&report.reason, report.took);
    match report.cut_short {
        Some(signal) => {
            tracing::warn!(%reason, ?took, unfinished = unfinished.join("; "), "shutdown broken off by {signal}");
        }
        None if unfinished.is_empty() => tracing::info!(%reason, ?took, "shut down"),
        None => {
            tracing::warn!(%reason, ?took, unfinished = unfinished.join("; "), "shut down, not everything finished")
        }
    }
}

/// SIGTERM and SIGINT; elsewhere than on Unix Ctrl-C.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            else => pending().await,
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => pending().await,
        }
    }
}
