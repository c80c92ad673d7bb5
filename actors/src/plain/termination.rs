use super::{ActorFailure, ActorId, ActorPath, ActorRef};

/// What a watcher is told of the end of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// Who terminated.
    pub path: ActorPath,
    /// Which of those that had this path.
    pub id: ActorId,
    /// Why.
    pub reason: TerminationReason,
}

impl Terminated {
    /// Whether it is this one that terminated.
    pub fn is<M: Send + 'static>(&self, actor: &ActorRef<M>) -> bool {
        self.id == actor.id()
    }
}

/// Why an actor terminated, or an entity left memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TerminationReason {
    /// It was told to, or its parent or system stopped.
    Stopped,
    /// It failed, and its supervision said to stop.
    Failed(ActorFailure),
    /// It failed, and its supervision said that its parent fails with it.
    Escalated(ActorFailure),
    /// An entity, because it was idle or asked for it: its next command brings it back.
    Passivated,
    /// An entity, because a newer owner has taken it over.
    Fenced,
    /// An entity that was not in memory when it began to be watched. Nobody remembers why it left.
    NotInMemory,
    /// Its task was ended from outside, without [`PostStop`](super::Signal::PostStop): the time limit of a shutdown passed, or the
    /// runtime went away.
    Aborted,
}
