//! A mailbox: a lane for control messages that is always open, and one for messages, bounded unless asked otherwise.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::Terminated;

/// How many messages may wait for an actor, and what happens to one more. The default: 1,024, more are refused.
///
/// Nothing is allocated before the first message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox {
    capacity: Option<usize>,
    overflow: Overflow,
}

/// What happens to a message that meets a full mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The sender waits until there is room. Two actors that send to each other can wait for each other for ever: let at
    /// least one of them refuse or drop.
    Wait,
    /// The sender gets it back at once, with
    /// [`Undeliverable::MailboxFull`](super::Undeliverable::MailboxFull).
    #[default]
    Refuse,
    /// It is dropped, and reported as a [`DeadLetter`](super::DeadLetter). The sender learns nothing.
    Drop,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::bounded(1024)
    }
}

impl Mailbox {
    /// At most so many messages wait (at least one).
    pub const fn bounded(capacity: usize) -> Self {
        let capacity = if capacity == 0 { 1 } else { capacity };
        let most = Semaphore::MAX_PERMITS;
        Self { capacity: Some(if capacity > most { most } else { capacity }), overflow: Overflow::Refuse }
    }

    /// As many messages wait as memory holds. A sender that is faster than the actor ends the process: take this only where
    /// something else bounds the senders.
    pub const fn unbounded() -> Self {
        Self { capacity: None, overflow: Overflow::Refuse }
    }

    /// What happens to a message that meets a full mailbox; default: refuse.
    #[must_use]
    pub const fn on_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How many messages may wait; `None`: unbounded.
    pub const fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// What happens to a message that meets a full mailbox.
    pub const fn overflow(&self) -> Overflow {
        self.overflow
    }
}

/// What goes before all messages, and is never dropped: each sender of these has at most one on the way.
#[derive(Debug)]
pub(crate) enum Control {
    /// A child's task is over.
    ChildGone(Terminated),
    /// A watched actor is gone.
    Terminated(Terminated),
}

/// How to stop. A stronger word replaces a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Halt {
    Drain,
    Now,
}

pub(crate) struct Inbox<M> {
    lanes: Mutex<Lanes<M>>,
    /// Permits for messages; `None`: unbounded.
    room: Option<Semaphore>,
    wake: Notify,
    settings: Mailbox,
}

struct Lanes<M> {
    halt: Option<Halt>,
    control: VecDeque<Control>,
    messages: VecDeque<M>,
    /// No more messages; control still comes in.
    closed: bool,
}

/// Why a message did not go in.
pub(crate) enum Refusal<M> {
    Full(M),
    Closed(M),
}

impl<M> Inbox<M> {
    pub(crate) fn new(settings: Mailbox) -> Self {
        let lanes = Lanes { halt: None, control: VecDeque::new(), messages: VecDeque::new(), closed: false };
        Self {
            lanes: Mutex::new(lanes),
            room: settings.capacity.map(Semaphore::new),
            wake: Notify::new(),
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &Mailbox {
        &self.settings
    }

    /// Puts a message in if there is room.
    pub(crate) fn offer(&self, message: M) -> Result<(), Refusal<M>> {
        if let Some(room) = &self.room {
            match room.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(tokio::sync::TryAcquireError::NoPermits) => return Err(Refusal::Full(message)),
                Err(tokio::sync::TryAcquireError::Closed) => return Err(Refusal::Closed(message)),
            }
        }
        self.push(message)
    }

    /// Puts a message in when there is room; senders that wait are served in their order.
    pub(crate) async fn wait_for_room(&self, message: M) -> Result<(), Refusal<M>> {
        if let Some(room) = &self.room {
            match room.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return Err(Refusal::Closed(message)),
            }
        }
        self.push(message)
    }

    fn push(&self, message: M) -> Result<(), Refusal<M>> {
        let mut lanes = self.lanes();
        if lanes.closed {
            return Err(Refusal::Closed(message));
        }
        let first = lanes.messages.is_empty();
        lanes.messages.push_back(message);
        drop(lanes);
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(crate) fn control(&self, control: Control) {
        self.lanes().control.push_back(control);
        self.wake.notify_one();
    }

    /// Takes no more messages, and has the actor stop.
    pub(crate) fn halt(&self, halt: Halt) {
        let mut lanes = self.lanes();
        lanes.closed = true;
        lanes.halt = lanes.halt.max(Some(halt));
        drop(lanes);
        if let Some(room) = &self.room {
            room.close();
        }
        self.wake.notify_one();
    }

    /// The word to stop, once each time it is given.
    pub(crate) fn take_halt(&self) -> Option<Halt> {
        self.lanes().halt.take()
    }

    pub(crate) fn next_control(&self) -> Option<Control> {
        self.lanes().control.pop_front()
    }

    pub(crate) fn next_message(&self) -> Option<M> {
        let mut lanes = self.lanes();
        let message = lanes.messages.pop_front()?;
        if lanes.messages.is_empty() && lanes.messages.capacity() > KEPT {
            // A burst that is over gives its memory back.
            lanes.messages = VecDeque::new();
        }
        let closed = lanes.closed;
        drop(lanes);
        if let Some(room) = &self.room
            && !closed
        {
            room.add_permits(1);
        }
        Some(message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes().messages.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lanes().closed
    }

    /// Waits until something may have come.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Closes for good, and gives what is left.
    pub(crate) fn close(&self) -> VecDeque<M> {
        self.halt(Halt::Now);
        let mut lanes = self.lanes();
        lanes.control.clear();
        take(&mut lanes.messages)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<M>> {
        // The lanes are whole at every point where their holder could panic.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places that an empty mailbox may keep allocated.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_says_so_and_has_room_again_after_a_message_was_taken() {
        let inbox = Inbox::new(Mailbox::bounded(1));
        assert!(inbox.offer(1).is_ok());
        assert!(matches!(inbox.offer(2), Err(Refusal::Full(2))));
        assert_eq!(inbox.next_message(), Some(1));
        assert!(inbox.offer(3).is_ok());
    }

    #[test]
    fn an_unbounded_mailbox_takes_all_and_gives_memory_back() {
        let inbox = Inbox::new(Mailbox::unbounded());
        for n in 0..10_000 {
            assert!(inbox.offer(n).is_ok());
        }
        assert_eq!(std::iter::from_fn(|| inbox.next_message()).count(), 10_000);
        assert_eq!(inbox.lanes().messages.capacity(), 0);
    }

    #[test]
    fn control_goes_into_a_full_and_into_a_closed_mailbox() {
        let inbox = Inbox::new(Mailbox::bounded(1));
        assert!(inbox.offer(1).is_ok());
        let gone = Terminated {
            path: crate::plain::ActorPath::root("s"),
            id: crate::plain::ActorId(1),
            reason: crate::plain::TerminationReason::Stopped,
        };
        inbox.control(Control::Terminated(gone.clone()));
        inbox.halt(Halt::Drain);
        inbox.control(Control::ChildGone(gone));
        assert!(matches!(inbox.offer(2), Err(Refusal::Closed(2))));
        assert!(matches!(inbox.next_control(), Some(Control::Terminated(_))));
        assert!(matches!(inbox.next_control(), Some(Control::ChildGone(_))));
        assert_eq!(inbox.next_message(), Some(1), "what waited is still there");
    }

    #[test]
    fn to_stop_now_is_stronger_than_to_drain() {
        let inbox = Inbox::<()>::new(Mailbox::default());
        inbox.halt(Halt::Now);
        inbox.halt(Halt::Drain);
        assert_eq!(inbox.take_halt(), Some(Halt::Now));
        assert_eq!(inbox.take_halt(), None);
    }
}
