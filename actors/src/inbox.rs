use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::PersistentActor;
use crate::delivery::Delivery;

/// What waits for an entity in memory: commands, and calls of its [caretaker](crate::caretaker).
///
/// Small, because there is one for each entity. A few places for commands stay allocated while it is busy, until
/// [`Inbox::shrink`].
pub(crate) struct Inbox<A: PersistentActor>(Mutex<State<A>>);

struct State<A: PersistentActor> {
    commands: VecDeque<Box<dyn Delivery<A>>>,
    /// The entity's task, when it sleeps.
    sleeper: Option<Waker>,
    /// Whether a command wakes it.
    wants_commands: bool,
    call: Option<Call>,
    closed: bool,
    /// A command came since the caretaker looked.
    touched: bool,
    /// It was told to give memory back.
    rests: bool,
    quiet_since: Instant,
}

/// What the caretaker has an entity do; a greater one replaces a lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// Give back memory that is not needed.
    Rest,
    /// No command came for the idle time.
    Idle,
    /// The node stops.
    Stop,
}

/// What the entity's task finds.
pub(crate) enum Mail<A: PersistentActor> {
    Command(Box<dyn Delivery<A>>),
    Call(Call),
}

/// Why a command did not go in.
pub(crate) enum Refusal<A: PersistentActor> {
    Full,
    /// Its task has ended.
    Closed(Box<dyn Delivery<A>>),
}

impl<A: PersistentActor> Inbox<A> {
    /// With its first command.
    pub(crate) fn with(first: Box<dyn Delivery<A>>) -> Self {
        Self(Mutex::new(State {
            commands: VecDeque::from([first]),
            sleeper: None,
            wants_commands: false,
            call: None,
            closed: false,
            touched: true,
            rests: false,
            quiet_since: Instant::now(),
        }))
    }

    /// Puts a command in, if fewer than `capacity` wait.
    pub(crate) fn send(&self, command: Box<dyn Delivery<A>>, capacity: usize) -> Result<(), Refusal<A>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Closed(command));
        }
        if state.commands.len() >= capacity {
            return Err(Refusal::Full);
        }
        state.commands.push_back(command);
        state.touched = true;
        let sleeper = if state.wants_commands { state.sleeper.take() } else { None };
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(())
    }

    /// Calls the entity.
    pub(crate) fn call(&self, call: Call) {
        let mut state = self.lock();
        state.call = state.call.max(Some(call));
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// What the caretaker should call, when it looks at `now`.
    pub(crate) fn due(&self, now: Instant, passivate_after: Option<Duration>) -> Option<Call> {
        let mut state = self.lock();
        if std::mem::take(&mut state.touched) {
            state.quiet_since = now;
            state.rests = false;
            return None;
        }
        if passivate_after.is_some_and(|limit| now.duration_since(state.quiet_since) >= limit) {
            return Some(Call::Idle);
        }
        (!std::mem::replace(&mut state.rests, true)).then_some(Call::Rest)
    }

    /// The next call, or the next command if they are wanted; else the task is woken for one.
    pub(crate) fn poll(&self, cx: &Context<'_>, wants_commands: bool) -> Poll<Mail<A>> {
        let mut state = self.lock();
        if let Some(call) = state.call.take() {
            return Poll::Ready(Mail::Call(call));
        }
        if wants_commands && let Some(command) = state.pop() {
            return Poll::Ready(Mail::Command(command));
        }
        state.wants_commands = wants_commands;
        match &mut state.sleeper {
            Some(sleeper) => sleeper.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next command.
    pub(crate) fn pop(&self) -> Option<Box<dyn Delivery<A>>> {
        self.lock().pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().commands.is_empty()
    }

    /// Takes no more, and gives what waits.
    pub(crate) fn close(&self) -> VecDeque<Box<dyn Delivery<A>>> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.commands)
    }

    /// Gives back memory that no command needs.
    pub(crate) fn shrink(&self) {
        self.lock().commands.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, State<A>> {
        // Whole at every point where its holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: PersistentActor> State<A> {
    fn pop(&mut self) -> Option<Box<dyn Delivery<A>>> {
        let command = self.commands.pop_front()?;
        if self.commands.is_empty() && self.commands.capacity() > KEPT {
            // A burst that is over gives its memory back.
            self.commands = VecDeque::new();
        }
        Some(command)
    }
}

/// Places that an empty inbox may keep allocated until it rests.
const KEPT: usize = 64;
