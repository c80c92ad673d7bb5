use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::PersistentActor;
use crate::delivery::Delivery;
use crate::plain::{Queue, Ticket};

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
    door: Door,
    /// A command came since the caretaker looked.
    touched: bool,
    /// It was told to give memory back.
    rests: bool,
    quiet_since: Instant,
    /// Senders that wait for room, as long as there are any.
    senders: Option<Box<Queue>>,
}

/// Whether commands come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// The entity or its node stops. What waits is still taken.
    Stopping,
    /// The entity's task has ended, or is about to.
    Closed,
}

/// What the caretaker has an entity do; a greater one replaces a lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// Give back memory that is not needed.
    Rest,
    /// No command came for the idle time.
    Idle,
    /// Stop when all that waits is carried out.
    Drain,
    /// Stop.
    Stop,
}

/// What the entity's task finds.
pub(crate) enum Mail<A: PersistentActor> {
    Command(Box<dyn Delivery<A>>),
    Call(Call),
}

/// Why a command did not go in.
pub(crate) enum Refusal<A: PersistentActor> {
    Full(Box<dyn Delivery<A>>),
    /// It stops, and takes no more.
    Stopping,
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
            door: Door::Open,
            touched: true,
            rests: false,
            quiet_since: Instant::now(),
            senders: None,
        }))
    }

    /// Puts a command in, if fewer than `capacity` wait, and nobody for room.
    pub(crate) fn send(&self, command: Box<dyn Delivery<A>>, capacity: usize) -> Result<(), Refusal<A>> {
        let state = self.lock();
        match state.door {
            Door::Open => {}
            Door::Stopping => return Err(Refusal::Stopping),
            Door::Closed => return Err(Refusal::Closed(command)),
        }
        if state.commands.len() >= capacity || state.senders.is_some() {
            return Err(Refusal::Full(command));
        }
        push(state, command);
        Ok(())
    }

    /// Puts a command in when fewer than `capacity` wait; senders are served in their order. `Err`: it takes no more.
    ///
    /// # Cancel safety
    /// The command is not in when the future is dropped before it is done.
    pub(crate) async fn wait_for_room(
        &self,
        command: Box<dyn Delivery<A>>,
        capacity: usize,
    ) -> Result<(), Box<dyn Delivery<A>>> {
        let mut place = Place { inbox: self, capacity, ticket: None };
        let mut command = Some(command);
        poll_fn(|cx| place.poll(&mut command, cx)).await
    }

    /// Calls the entity.
    pub(crate) fn call(&self, call: Call) {
        called(self.lock(), call);
    }

    /// Takes no more commands, and has the entity stop.
    pub(crate) fn stop(&self, call: Call) {
        let mut state = self.lock();
        if state.door == Door::Open {
            state.door = Door::Stopping;
        }
        let senders = state.senders.take();
        called(state, call);
        tell_all(senders);
    }

    /// What the caretaker should call, when it looks at `now`.
    pub(crate) fn due(&self, now: Instant, passivate_after: Option<Duration>) -> Option<Call> {
        let mut state = self.lock();
        if take(&mut state.touched) {
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
            let_one_in(state);
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
        let mut state = self.lock();
        let command = state.pop()?;
        let_one_in(state);
        Some(command)
    }

    /// Whether no command waits, and no sender for room.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes no more, if nothing waits.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        if state.is_empty() {
            state.door = Door::Closed;
        }
        state.door == Door::Closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().door == Door::Closed
    }

    /// Takes no more, and gives what waits.
    pub(crate) fn close(&self) -> VecDeque<Box<dyn Delivery<A>>> {
        let mut state = self.lock();
        state.door = Door::Closed;
        let (commands, senders) = (take(&mut state.commands), state.senders.take());
        drop(state);
        tell_all(senders);
        commands
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

    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.senders.is_none()
    }

    /// Whether there is room for one more than the commands that wait and the places that are held free.
    fn has_room(&self, capacity: usize) -> bool {
        let held = self.senders.as_ref().map_or(0, |senders| senders.held());
        self.commands.len() + held < capacity
    }
}

fn push<A: PersistentActor>(mut state: MutexGuard<'_, State<A>>, command: Box<dyn Delivery<A>>) {
    state.commands.push_back(command);
    state.touched = true;
    let sleeper = if state.wants_commands { state.sleeper.take() } else { None };
    drop(state);
    if let Some(sleeper) = sleeper {
        sleeper.wake();
    }
}

/// Gives the place that has become free to the sender that has waited longest.
fn let_one_in<A: PersistentActor>(mut state: MutexGuard<'_, State<A>>) {
    let Some(senders) = &mut state.senders else { return };
    let next = senders.serve();
    // Without the lock: it may want it.
    drop(state);
    if let Some(next) = next {
        next.wake();
    }
}

fn called<A: PersistentActor>(mut state: MutexGuard<'_, State<A>>, call: Call) {
    state.call = state.call.max(Some(call));
    let sleeper = state.sleeper.take();
    drop(state);
    if let Some(sleeper) = sleeper {
        sleeper.wake();
    }
}

/// That there is nothing to wait for any more.
fn tell_all(senders: Option<Box<Queue>>) {
    if let Some(senders) = senders {
        senders.waiting().for_each(Waker::wake_by_ref);
    }
}

/// Where a sender stands in the queue.
struct Place<'a, A: PersistentActor> {
    inbox: &'a Inbox<A>,
    capacity: usize,
    ticket: Option<Ticket>,
}

impl<A: PersistentActor> Place<'_, A> {
    fn poll(
        &mut self,
        command: &mut Option<Box<dyn Delivery<A>>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Box<dyn Delivery<A>>>> {
        let mut state = self.inbox.lock();
        // It is there until this is done.
        let Some(waits) = command.take() else { return Poll::Pending };
        if state.door != Door::Open {
            // The queue is gone.
            self.ticket = None;
            return Poll::Ready(Err(waits));
        }
        let may_enter = match self.ticket {
            Some(ticket) => {
                state.senders.as_mut().is_some_and(|senders| senders.is_served(ticket, cx.waker()))
            }
            // Room may have come since it was refused.
            None if state.senders.is_none() && state.has_room(self.capacity) => true,
            None => {
                self.ticket = Some(state.senders.get_or_insert_default().join(cx.waker().clone()));
                false
            }
        };
        if !may_enter {
            *command = Some(waits);
            return Poll::Pending;
        }
        self.leave(&mut state);
        push(state, waits);
        Poll::Ready(Ok(()))
    }

    fn leave(&mut self, state: &mut State<A>) {
        if let Some(ticket) = self.ticket.take()
            && let Some(senders) = &mut state.senders
        {
            senders.leave(ticket);
            if senders.is_empty() {
                state.senders = None;
            }
        }
    }
}

impl<A: PersistentActor> Drop for Place<'_, A> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let mut state = self.inbox.lock();
        self.leave(&mut state);
        // The place that it may have had is the next one's.
        if state.has_room(self.capacity) {
            let_one_in(state);
        }
    }
}

/// Places that an empty inbox may keep allocated until it rests.
const KEPT: usize = 64;
