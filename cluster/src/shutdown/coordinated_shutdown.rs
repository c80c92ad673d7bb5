use std::fmt::{self, Display};
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::driver::{self, Shared, Wake};
use super::procedure::TaskId;
use super::{DeadlinesTooLong, Phase, Reason, Report, ShutdownSettings, TooLate};

/// Stops a process in an order: whoever has something to do at the end registers it. Cheap to clone.
///
/// See [the module](super) for the phases and an example.
#[derive(Clone)]
pub struct CoordinatedShutdown {
    shared: Arc<Shared>,
    wake: mpsc::UnboundedSender<Wake>,
}

impl CoordinatedShutdown {
    /// Checks the deadlines, starts the thread that conducts it, and listens for SIGTERM and SIGINT, which from now on do not end the
    /// process by themselves. Tasks run on the runtime in which this is called.
    ///
    /// Call it first in `main`: a signal that comes while the rest starts is then answered, too. It listens for as long as the process
    /// lives, also when this is dropped.
    ///
    /// # Errors
    /// [`StartError`]: the deadlines are longer than the grace period, or the process cannot listen.
    pub fn start(settings: ShutdownSettings) -> Result<Self, StartError> {
        settings.check()?;
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let (wake, woken) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(settings, runtime, wake.downgrade()));
        driver::start(Arc::clone(&shared), woken).map_err(StartError::Thread)?;
        Ok(Self { shared, wake })
    }

    /// Has something done in a phase, together with the other tasks of that phase, before its deadline. The future is not polled before.
    ///
    /// It may be registered while the process shuts down, as long as its phase is not over. When the deadline has come it is dropped at its
    /// next `.await`; it counts as unfinished, as it counts as failed when it gives an error or panics. The phases after it come all the
    /// same: a process that shall end is not held up by one of its parts.
    ///
    /// # Errors
    /// [`TooLate`]: the phase is over.
    pub fn register<E: Display>(
        &self,
        phase: Phase,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Result<Registration, TooLate> {
        // An `anyhow` error shows its causes that way.
        let task = task.map(|done| done.map_err(|error| format!("{error:#}")));
        let id = self.shared.register(phase, name.into(), Box::pin(task))?;
        let _ = self.wake.send(Wake::Look);
        Ok(Registration { shared: Arc::clone(&self.shared), id })
    }

    /// Begins, unless it has begun: the first reason counts. Returns at once.
    pub fn begin(&self, reason: Reason) {
        self.shared.begin(reason);
        let _ = self.wake.send(Wake::Look);
    }

    /// Why it has begun, if it has: for a readiness check, for instance.
    pub fn reason(&self) -> Option<Reason> {
        self.shared.begun.borrow().clone()
    }

    /// Waits until it begins, for whatever reason.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn begun(&self) -> Reason {
        wait(self.shared.begun.subscribe()).await
    }

    /// Waits until it is in this phase, or beyond it: all tasks of the phases before are done, or were dropped.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.shared.phase.subscribe();
        // The sender lives as long as whoever waits here.
        let _ = now.wait_for(|now| *now >= Some(phase)).await;
    }

    /// Waits until it has ended. With [`ShutdownSettings::exits`] the process exits then, and this may never return.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&self) -> Arc<Report> {
        wait(self.shared.ended.subscribe()).await
    }

    /// With what it was started.
    pub fn settings(&self) -> ShutdownSettings {
        self.shared.settings()
    }
}

impl fmt::Debug for CoordinatedShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatedShutdown").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

async fn wait<T: Clone>(mut value: tokio::sync::watch::Receiver<Option<T>>) -> T {
    loop {
        if let Some(value) = value.borrow_and_update().clone() {
            return value;
        }
        if value.changed().await.is_err() {
            // The sender lives as long as whoever waits here.
            std::future::pending::<()>().await;
        }
    }
}

/// A task that was registered. Dropping it changes nothing.
#[derive(Clone)]
pub struct Registration {
    shared: Arc<Shared>,
    id: TaskId,
}

impl Registration {
    /// Takes the task back, for something that ends before its process does; `false`: it has begun already.
    pub fn cancel(&self) -> bool {
        self.shared.cancel(self.id)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.id).finish()
    }
}

/// Why coordinated shutdown could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The supervisor would kill the process before its last phases.
    #[error(transparent)]
    DeadlinesTooLong(#[from] DeadlinesTooLong),
    /// There is no runtime for its tasks.
    #[error(
        "coordinated shutdown needs a tokio runtime for its tasks: start it within one, such as in `#[tokio::main]`"
    )]
    NoRuntime,
    /// The process may have no more threads, or cannot listen for signals.
    #[error(
        "the thread that listens for signals could not start: see the limits of the process (ulimit -u, ulimit -n)"
    )]
    Thread(#[source] io::Error),
}
