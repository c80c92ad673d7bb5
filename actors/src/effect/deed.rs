use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::PersistentActor;
use crate::delivery::Delivery;
use crate::plain::{
    ActorPath, AnyCell, Make, MessageType, Shared, SpawnError, Terminated, TimerKey, Watchable, Watcher,
};

/// What a command does with its entity's timers, watches and children, once it is durable.
pub(crate) enum Deed<A: PersistentActor> {
    StartTimer { key: TimerKey, schedule: Schedule<A> },
    CancelTimer(TimerKey),
    Watch { watched: Arc<dyn Watchable>, notice: Notice<A> },
    Unwatch(Arc<dyn Watchable>),
    Spawn { name: String, spawn: Spawn },
    TellChild { name: String, tell: TellChild },
    StopChild(String),
}

/// When a timer is due, with the command that comes then.
pub(crate) enum Schedule<A: PersistentActor> {
    Once(Duration, Box<dyn Delivery<A>>),
    FixedDelay(Duration, Make<Box<dyn Delivery<A>>>),
    FixedRate(Duration, Make<Box<dyn Delivery<A>>>),
}

/// Makes a command of the end of a watched actor.
pub(crate) type Notice<A> = Box<dyn FnOnce(Terminated) -> Box<dyn Delivery<A>> + Send>;

/// Makes and starts a child at a path, for its parent.
pub(crate) type Spawn =
    Box<dyn FnOnce(&Arc<Shared>, ActorPath, Arc<dyn Watcher>) -> Result<Child, SpawnError> + Send>;

/// A child, whatever its messages.
pub(crate) struct Child {
    pub(crate) cell: Arc<dyn AnyCell>,
    /// The same, for who knows what its messages are.
    pub(crate) typed: Arc<dyn Any + Send + Sync>,
}

/// A message to a child.
pub(crate) struct TellChild {
    pub(crate) message: MessageType,
    /// `false`: the child has other messages.
    pub(crate) tell: Box<dyn FnOnce(&Child) -> bool + Send>,
}

impl<A: PersistentActor> Deed<A> {
    /// Whether it decides what becomes of this timer.
    pub(crate) fn is_about_timer(&self, timer: &str) -> bool {
        matches!(self, Self::StartTimer { key, .. } | Self::CancelTimer(key) if key == timer)
    }

    /// Whether it decides what becomes of the watch of this one.
    pub(crate) fn is_about_watched(&self, terminated: &Terminated) -> bool {
        matches!(self, Self::Watch { watched, .. } | Self::Unwatch(watched) if watched.id() == terminated.id)
    }
}
