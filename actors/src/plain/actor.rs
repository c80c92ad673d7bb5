use std::future::ready;

use super::{ActorContext, BoxError, DeathPact, Terminated};

/// An actor without a journal: a value that handles one message at a time, and lives in a task of its own.
///
/// A panic or an error of a handler is a failure of this actor alone; its [`SupervisorStrategy`](super::SupervisorStrategy)
/// says what becomes of it. See the [module](super) for an example.
pub trait Actor: Send + Sized + 'static {
    /// What it understands: usually an enum.
    type Message: Send + 'static;

    /// Handles one message. The next one waits until the future is done, control messages too.
    ///
    /// # Errors
    /// Any error is a failure of the actor: the message is gone, supervision decides what happens to the actor.
    fn receive(
        &mut self,
        message: Self::Message,
        ctx: &mut ActorContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Handles a turn of its own life, or the end of an actor that it [watches](ActorContext::watch).
    ///
    /// As it stands, nothing is done, and the end of a watched actor is a failure ([`DeathPact`]).
    ///
    /// # Errors
    /// As of [`receive`](Self::receive). Errors of `PreRestart` and `PostStop` are logged only: it is on its way out.
    fn signal(
        &mut self,
        signal: Signal,
        ctx: &mut ActorContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        ready(match signal {
            Signal::Terminated(watched) => Err(DeathPact { watched: watched.path }.into()),
            _ => Ok(()),
        })
    }
}

/// What an actor is told beside its messages; goes before them and is never dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// This instance is new: the first thing that it is told, after a restart too.
    Started,
    /// An actor that it watches has terminated.
    Terminated(Terminated),
    /// This instance failed and another will take over; the last thing that it is told.
    PreRestart,
    /// The actor stops, its children have stopped; the last thing that this instance is told.
    PostStop,
}
