use std::fmt;
use std::time::Duration;

use super::ActorPath;
use crate::Failure;

/// Any error, as handlers return it: `?` makes one of every error type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A message that did not get into a mailbox, with the reason. The message comes back to the sender.
pub struct NotDelivered<M> {
    /// What was to be delivered.
    pub message: M,
    /// Why it was not.
    pub reason: Undeliverable,
}

/// Why a message did not get into a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undeliverable {
    /// Messages arrive faster than they are handled. Slow down and repeat, or choose another [`Overflow`](super::Overflow).
    #[error(
        "mailbox of {recipient} is full ({capacity} messages wait): slow down and repeat, or let senders wait"
    )]
    MailboxFull {
        /// Whose mailbox.
        recipient: ActorPath,
        /// How many messages may wait.
        capacity: usize,
    },
    /// The actor has stopped or is stopping and takes no more. Get a new reference from whoever spawns it.
    #[error("{recipient} has stopped: get a new reference from whoever spawns it")]
    Stopped {
        /// Who was meant.
        recipient: ActorPath,
    },
    /// The router has no routee that still runs.
    #[error("router {router} has no routee that runs: spawn the pool again, and see why its routees stopped")]
    NoRoutee {
        /// Which router.
        router: ActorPath,
    },
}

impl<M> fmt::Debug for NotDelivered<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotDelivered({:?})", self.reason)
    }
}

impl<M> fmt::Display for NotDelivered<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<M> std::error::Error for NotDelivered<M> {}

/// Why an ask got no answer.
///
/// | variant | was it handled? | what to do next |
/// |---|---|---|
/// | [`NotDelivered`](Self::NotDelivered) | no | repeat later |
/// | [`TimedOut`](Self::TimedOut) | perhaps, or it will be | repeat only what may be done twice |
/// | [`NoReply`](Self::NoReply) | begun, perhaps not ended | see the actor's log; repeat only what may be done twice |
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The question did not get into the mailbox.
    #[error(transparent)]
    NotDelivered(#[from] Undeliverable),
    /// No answer came in time. The question may have been handled, or may be yet.
    #[error("{recipient} did not answer within {limit:?}: it may have done what was asked, or do it yet")]
    TimedOut {
        /// Who was asked.
        recipient: ActorPath,
        /// How long the ask waited.
        limit: Duration,
    },
    /// The [`ReplyTo`](super::ReplyTo) was dropped: the handler failed or forgot to answer, or the actor stopped first.
    #[error("{recipient} dropped the question without an answer: its log says whether it failed or stopped")]
    NoReply {
        /// Who was asked.
        recipient: ActorPath,
    },
}

/// Why an actor was not spawned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A sibling that runs or is about to stop has the name.
    #[error("{path} exists: take another name, or wait for its end with `terminated()`")]
    NameTaken {
        /// The path that is taken.
        path: ActorPath,
    },
    /// The name would blur paths.
    #[error("{name:?} is no name for an actor: take 1 to 128 bytes without `/` and control characters")]
    InvalidName {
        /// What was given.
        name: String,
    },
    /// The system or the parent is stopping.
    #[error("{parent} is stopping and has no more children")]
    Stopping {
        /// Who would be the parent.
        parent: ActorPath,
    },
    /// There is no tokio runtime to run on.
    #[error("actors run on tokio: call this within a runtime, as in `#[tokio::main]`")]
    NoRuntime,
}

/// The stash is full; the message is a dead letter. Unstash sooner, or give a larger stash in [`Props`](super::Props).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "stash of {actor} is full ({capacity} messages): unstash sooner, or give it a larger one in its Props"
)]
pub struct StashFull {
    /// Whose stash.
    pub actor: ActorPath,
    /// How many messages may be stashed.
    pub capacity: usize,
}

/// An actor has as many futures under way as it may. Begin fewer at once, or keep a list and go on when one is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{actor} has {most} futures under way: begin the next when one is done")]
pub struct TooMuchUnderWay {
    /// Whose futures.
    pub actor: ActorPath,
    /// How many may be under way.
    pub most: usize,
}

/// What made an actor fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActorFailure {
    /// It panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// Its handler returned an error.
    #[error("{message}")]
    Returned {
        /// The error and its sources.
        message: String,
    },
    /// A child's supervision escalated.
    #[error("{child} failed and escalated: {failure}")]
    Child {
        /// Which child.
        child: ActorPath,
        /// What made the child fail.
        failure: Box<ActorFailure>,
    },
    /// An entity cannot go on: its history cannot be read, it has panicked too often, or the journal cannot be asked.
    #[error("{failure}")]
    Entity {
        /// What its commands are answered.
        failure: Box<Failure>,
    },
}

impl ActorFailure {
    pub(crate) fn returned(error: &BoxError) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::Returned { message }
    }
}

/// An actor was told of the end of one that it watches, and has no [`signal`](super::Actor::signal) handler for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{watched} terminated, and its watcher handles no `Signal::Terminated`: handle it, or do not watch")]
pub struct DeathPact {
    /// Who terminated.
    pub watched: ActorPath,
}

/// The time limit of [`ActorSystem::shutdown`](super::ActorSystem::shutdown) passed; what still ran was aborted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{actors} actors had not stopped within {limit:?} and were aborted: give more time, or see what they wait for"
)]
pub struct ShutdownTimedOut {
    /// How many were aborted.
    pub actors: usize,
    /// How long was waited.
    pub limit: Duration,
}
