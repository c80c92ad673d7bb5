//! What waits for an actor: a lane for control that is always open, and one for messages, bounded unless asked otherwise.
//!
//! The actor takes all messages that wait at once and handles them from a [`Batch`] of its own, so that it and its senders meet
//! at the lock once a batch. Those of a batch that were not begun count as waiting still: a mailbox for so many messages never
//! holds more, and has room as soon as one is begun.

use std::collections::VecDeque;
use std::mem::{replace, swap, take};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::queue::{Queue, Ticket};
use super::told::Told;
use super::{Mailbox, Overflow, Terminated};

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

/// What goes before messages.
#[derive(Debug)]
pub(crate) enum Urgent {
    Control(Control),
    /// Comes once each time it is given, after all control.
    Halt(Halt),
    /// Goes before all, and stays.
    Abort,
}

/// Why a message did not go in.
pub(crate) enum Refusal<M> {
    Full(M),
    Closed(M),
}

/// Messages that the actor has taken, and begins one by one.
pub(crate) struct Batch<M> {
    messages: VecDeque<M>,
    /// It has taken the last that waited. Others may have come since.
    took_last: bool,
}

impl<M> Batch<M> {
    /// A mailbox that has a capacity has one of 32 bits.
    fn waiting(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    pub(crate) const fn new() -> Self {
        Self { messages: VecDeque::new(), took_last: false }
    }

    /// Once after the last message that waited was begun: most likely there is none, and to sleep is the way to find out.
    pub(crate) fn took_last(&mut self) -> bool {
        take(&mut self.took_last)
    }
}

// In this order: what senders look at and what the actor writes alone lie on different lines of the cache, if the place in memory
// allows it.
#[repr(C)]
pub(crate) struct Inbox<M> {
    // These two are the `Mailbox`, which would waste the room of the next three.
    capacity: u32,
    overflow: Overflow,
    /// Of the actor: its parent, or its parent's, is an entity. Stands here because there is room, as `name_hash`.
    of_entity: bool,
    /// Control, a halt or an abort waits; changes with the lock held.
    urgent: AtomicBool,
    /// Senders wait for room; changes with the lock held.
    crowded: AtomicBool,
    lanes: Mutex<Lanes<M>>,
    /// How many messages the actor has taken and not begun. Only the actor writes it.
    taken: AtomicU32,
    name_hash: u32,
}

#[repr(C)]
struct Lanes<M> {
    /// What `taken` was when it was last looked at; never less than it is.
    taken: u32,
    sleep: Sleep,
    halt: Option<Halt>,
    /// No more messages; control still comes in.
    closed: bool,
    /// Someone wants it gone.
    aborted: bool,
    messages: VecDeque<M>,
    /// Of the actor's task, from when it first waits until it ends.
    waker: Option<Waker>,
    rare: Option<Box<Rare>>,
}

/// What wakes the actor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// Nothing has to.
    Awake,
    /// Messages do, and what goes before them.
    Light,
    /// What goes before messages.
    Deep,
}

/// What most mailboxes never have.
#[derive(Default)]
struct Rare {
    control: VecDeque<Control>,
    senders: Queue,
    /// Most actors are watched by nobody as long as they run.
    told: Option<Told>,
}

impl<M> Inbox<M> {
    pub(crate) const fn new(settings: Mailbox, of_entity: bool, name_hash: u32) -> Self {
        let lanes = Lanes {
            taken: 0,
            sleep: Sleep::Awake,
            halt: None,
            closed: false,
            aborted: false,
            messages: VecDeque::new(),
            waker: None,
            rare: None,
        };
        Self {
            capacity: settings.capacity,
            overflow: settings.overflow,
            of_entity,
            urgent: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            lanes: Mutex::new(lanes),
            taken: AtomicU32::new(0),
            name_hash,
        }
    }

    pub(crate) const fn settings(&self) -> Mailbox {
        Mailbox { capacity: self.capacity, overflow: self.overflow }
    }

    /// Whether an entity is its actor's parent, or its parent's.
    pub(crate) const fn is_of_entity(&self) -> bool {
        self.of_entity
    }

    /// What its actor is found by among those of the system.
    pub(crate) const fn name_hash(&self) -> u32 {
        self.name_hash
    }

    /// Puts a message in if there is room, and nobody waits for it.
    pub(crate) fn offer(&self, message: M) -> Result<(), Refusal<M>> {
        let mut lanes = self.lanes();
        if lanes.closed {
            return Err(Refusal::Closed(message));
        }
        if !self.has_room(&mut lanes) || self.crowded.load(Ordering::Relaxed) {
            return Err(Refusal::Full(message));
        }
        self.push(lanes, message);
        Ok(())
    }

    /// Puts a message in when there is room; senders that wait are served in their order.
    ///
    /// # Cancel safety
    /// The message is not in when the future is dropped before it is done.
    pub(crate) async fn wait_for_room(&self, message: M) -> Result<(), Refusal<M>> {
        let mut place = Place { inbox: self, ticket: None };
        let mut message = Some(message);
        std::future::poll_fn(|cx| place.poll(&mut message, cx)).await
    }

    pub(crate) fn control(&self, control: Control) {
        let mut lanes = self.lanes();
        lanes.rare().control.push_back(control);
        self.urgent.store(true, Ordering::Release);
        wake(lanes);
    }

    /// Takes no more messages, and has the actor stop.
    pub(crate) fn halt(&self, halt: Halt) {
        let mut lanes = self.lanes();
        lanes.closed = true;
        lanes.halt = lanes.halt.max(Some(halt));
        self.urgent.store(true, Ordering::Release);
        let waiting: Vec<_> = match &lanes.rare {
            Some(rare) => rare.senders.waiting().cloned().collect(),
            None => Vec::new(),
        };
        wake(lanes);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Has the actor end where it waits.
    pub(crate) fn abort(&self) {
        let mut lanes = self.lanes();
        lanes.aborted = true;
        self.urgent.store(true, Ordering::Release);
        // Not only when it sleeps: its code may wait for something.
        let waker = lanes.waker.clone();
        drop(lanes);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Looks at who is told of the actor's end, or changes it. `look` drops nothing and calls nobody: a lock is held.
    pub(crate) fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(self.lanes().rare().told.get_or_insert_default())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lanes().closed
    }

    /// Whether there is room for one more than the messages that wait, and the places that are held free.
    fn has_room(&self, lanes: &mut Lanes<M>) -> bool {
        let held = lanes.rare.as_ref().map_or(0, |rare| rare.senders.held());
        let waiting = lanes.messages.len() + held;
        let capacity = self.settings().most();
        if waiting + (lanes.taken as usize) < capacity {
            return true;
        }
        // Looked at only when it matters: the actor writes it all the time.
        lanes.taken = self.taken.load(Ordering::Acquire);
        waiting + (lanes.taken as usize) < capacity
    }

    fn push(&self, mut lanes: MutexGuard<'_, Lanes<M>>, message: M) {
        lanes.messages.push_back(message);
        if lanes.sleep == Sleep::Light {
            wake(lanes);
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<M>> {
        // The lanes are whole at every point where their holder could panic.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the actor itself calls.
impl<M> Inbox<M> {
    /// What goes before messages, if there is something.
    pub(crate) fn next_urgent(&self) -> Option<Urgent> {
        if !self.urgent.load(Ordering::Acquire) {
            return None;
        }
        let mut lanes = self.lanes();
        if lanes.aborted {
            return Some(Urgent::Abort);
        }
        let lanes = &mut *lanes;
        let control = lanes.rare.as_mut().and_then(|rare| rare.control.pop_front()).map(Urgent::Control);
        let next = control.or_else(|| lanes.halt.take().map(Urgent::Halt));
        if lanes.halt.is_none() && lanes.rare.as_ref().is_none_or(|rare| rare.control.is_empty()) {
            self.urgent.store(false, Ordering::Release);
        }
        next
    }

    /// The next message. It no longer waits.
    pub(crate) fn begin_next(&self, batch: &mut Batch<M>) -> Option<M> {
        if batch.messages.is_empty() {
            let mut lanes = self.lanes();
            if lanes.messages.len() <= 1 {
                // Alone, it needs no second buffer.
                let message = lanes.messages.pop_front();
                batch.took_last = message.is_some();
                return message;
            }
            swap(&mut lanes.messages, &mut batch.messages);
            lanes.taken = batch.waiting();
            // Before the lock is free: nobody may believe that those are gone which have moved.
            self.taken.store(lanes.taken, Ordering::Relaxed);
        }
        let message = batch.messages.pop_front();
        self.taken.store(batch.waiting(), Ordering::Release);
        message
    }

    /// Lets in the senders that wait, as many as there is room for. The actor calls it whenever it gives its thread away: as long
    /// as it does not, it begins one message after the other, and nobody can tell when there was room first.
    pub(crate) fn let_in(&self) {
        if self.overflow != Overflow::Wait {
            return;
        }
        // Either this sees that senders wait, or they have seen the messages that were begun.
        fence(Ordering::SeqCst);
        while self.crowded.load(Ordering::Relaxed) {
            let mut lanes = self.lanes();
            if !self.has_room(&mut lanes) {
                return;
            }
            let Some(sender) = lanes.rare().senders.serve() else { return };
            drop(lanes);
            sender.wake();
        }
    }

    pub(crate) fn is_empty(&self, batch: &Batch<M>) -> bool {
        batch.messages.is_empty() && self.lanes().messages.is_empty()
    }

    /// Sleeps unless there is something to do: messages only if it heeds them now. Memory of a burst is given back.
    pub(crate) fn sleep(&self, batch: &mut Batch<M>, heeds_messages: bool, waker: &Waker) -> Poll<()> {
        let mut lanes = self.lanes();
        if self.crowded.load(Ordering::Relaxed) {
            drop(lanes);
            self.let_in();
            lanes = self.lanes();
        }
        if self.urgent.load(Ordering::Relaxed) || heeds_messages && !lanes.messages.is_empty() {
            return Poll::Ready(());
        }
        for buffer in [&mut lanes.messages, &mut batch.messages] {
            if buffer.is_empty() && buffer.capacity() > KEPT {
                *buffer = VecDeque::new();
            }
        }
        lanes.wake_with(waker);
        lanes.sleep = if heeds_messages { Sleep::Light } else { Sleep::Deep };
        Poll::Pending
    }

    /// The actor's code waits for something: from now on it can be woken. `false`: someone wants it gone.
    pub(crate) fn stay(&self, waker: &Waker) -> bool {
        let mut lanes = self.lanes();
        lanes.wake_with(waker);
        !lanes.aborted
    }

    /// Closes for good, and gives what is left.
    pub(crate) fn close(&self, batch: &mut Batch<M>) -> VecDeque<M> {
        self.halt(Halt::Now);
        let mut lanes = self.lanes();
        let control = lanes.rare.as_mut().map(|rare| take(&mut rare.control));
        // The memory of the task is not kept by those who keep a reference.
        let waker = lanes.waker.take();
        let mut left = take(&mut batch.messages);
        left.append(&mut lanes.messages);
        drop(lanes);
        drop((control, waker));
        left
    }
}

/// Wakes the actor if it sleeps.
fn wake<M>(mut lanes: MutexGuard<'_, Lanes<M>>) {
    if replace(&mut lanes.sleep, Sleep::Awake) == Sleep::Awake {
        return;
    }
    // With the lock held: a reference to the task less to be counted, and hardly anybody wants the lock meanwhile.
    if let Some(waker) = &lanes.waker {
        waker.wake_by_ref();
    }
}

impl<M> Lanes<M> {
    /// A task has one waker as long as it lives.
    fn wake_with(&mut self, waker: &Waker) {
        if self.waker.is_none() {
            self.waker = Some(waker.clone());
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// Where a sender stands in the queue.
struct Place<'a, M> {
    inbox: &'a Inbox<M>,
    ticket: Option<Ticket>,
}

impl<M> Place<'_, M> {
    fn poll(&mut self, message: &mut Option<M>, cx: &Context<'_>) -> Poll<Result<(), Refusal<M>>> {
        let inbox = self.inbox;
        let mut lanes = inbox.lanes();
        // It is there until this is done.
        let Some(waits) = message.take() else { return Poll::Pending };
        if lanes.closed {
            return Poll::Ready(Err(Refusal::Closed(waits)));
        }
        let may_enter = match self.ticket {
            Some(ticket) => lanes.rare().senders.is_served(ticket, cx.waker()),
            None => {
                let first = !inbox.crowded.swap(true, Ordering::Relaxed);
                // Either this sees the messages that were begun, or the actor sees that senders wait.
                fence(Ordering::SeqCst);
                let free = first && inbox.has_room(&mut lanes);
                self.ticket = Some(lanes.rare().senders.join(cx.waker().clone()));
                free
            }
        };
        if !may_enter {
            *message = Some(waits);
            return Poll::Pending;
        }
        self.leave(&mut lanes);
        inbox.push(lanes, waits);
        Poll::Ready(Ok(()))
    }

    fn leave(&mut self, lanes: &mut Lanes<M>) {
        if let Some(ticket) = self.ticket.take() {
            let senders = &mut lanes.rare().senders;
            senders.leave(ticket);
            if senders.is_empty() {
                self.inbox.crowded.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl<M> Drop for Place<'_, M> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        self.leave(&mut self.inbox.lanes());
        // The place that it had is the next one's.
        self.inbox.let_in();
    }
}

/// Places that an empty mailbox may keep allocated.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::iter::from_fn;
    use std::sync::Arc;
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;
    use crate::plain::{ActorId, ActorPath, TerminationReason};

    fn inbox<M>(settings: Mailbox) -> Inbox<M> {
        Inbox::new(settings, false, 0)
    }

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn next<M>(inbox: &Inbox<M>) -> Option<M> {
        inbox.begin_next(&mut Batch::new())
    }

    fn sleeps<M>(inbox: &Inbox<M>, batch: &mut Batch<M>) -> bool {
        inbox.sleep(batch, true, Waker::noop()).is_pending()
    }

    #[test]
    fn a_full_mailbox_says_so_and_has_room_again_after_a_message_was_taken() {
        let inbox = inbox(Mailbox::bounded(1));
        assert!(inbox.offer(1).is_ok());
        assert!(matches!(inbox.offer(2), Err(Refusal::Full(2))));
        assert_eq!(next(&inbox), Some(1));
        assert!(inbox.offer(3).is_ok());
    }

    #[test]
    fn what_was_taken_and_not_begun_takes_room() {
        let (inbox, mut batch) = (inbox(Mailbox::bounded(3)), Batch::new());
        for n in 0..3 {
            assert!(inbox.offer(n).is_ok());
        }
        for n in 0..9 {
            assert_eq!(inbox.begin_next(&mut batch), Some(n));
            assert!(inbox.offer(n + 3).is_ok(), "one was begun");
            assert!(matches!(inbox.offer(99), Err(Refusal::Full(99))), "and only one");
        }
        assert_eq!(from_fn(|| inbox.begin_next(&mut batch)).collect::<Vec<_>>(), [9, 10, 11]);
        assert!(inbox.is_empty(&batch));
    }

    #[test]
    fn an_unbounded_mailbox_takes_all_and_gives_memory_back() {
        let (inbox, mut batch) = (inbox(Mailbox::unbounded()), Batch::new());
        for _ in 0..2 {
            for n in 0..10_000 {
                assert!(inbox.offer(n).is_ok());
            }
            assert_eq!(from_fn(|| inbox.begin_next(&mut batch)).count(), 10_000);
        }
        assert!(sleeps(&inbox, &mut batch));
        assert_eq!((inbox.lanes().messages.capacity(), batch.messages.capacity()), (0, 0));
    }

    #[test]
    fn control_goes_into_a_full_and_into_a_closed_mailbox() {
        let inbox = inbox(Mailbox::bounded(1));
        assert!(inbox.offer(1).is_ok());
        let path = ActorPath::root("s");
        let gone = Terminated { path, id: ActorId(1), reason: TerminationReason::Stopped };
        inbox.control(Control::Terminated(gone.clone()));
        inbox.halt(Halt::Drain);
        inbox.control(Control::ChildGone(gone));
        assert!(matches!(inbox.offer(2), Err(Refusal::Closed(2))));
        assert!(matches!(inbox.next_urgent(), Some(Urgent::Control(Control::Terminated(_)))));
        assert!(matches!(inbox.next_urgent(), Some(Urgent::Control(Control::ChildGone(_)))));
        assert!(matches!(inbox.next_urgent(), Some(Urgent::Halt(Halt::Drain))));
        assert!(inbox.next_urgent().is_none());
        assert_eq!(next(&inbox), Some(1), "what waited is still there");
    }

    #[test]
    fn a_message_wakes_who_sleeps_lightly_and_control_who_sleeps_at_all() {
        let (inbox, mut batch) = (inbox(Mailbox::default()), Batch::new());
        let woken = Arc::new(Woken::default());
        let wakes = || woken.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&woken));
        assert!(inbox.offer(1).is_ok());
        assert_eq!(wakes(), 0, "it is awake");
        assert!(inbox.sleep(&mut batch, true, &waker).is_ready(), "a message waits");
        assert!(inbox.sleep(&mut batch, false, &waker).is_pending());
        assert!(inbox.offer(2).is_ok());
        assert_eq!(wakes(), 0);
        inbox.halt(Halt::Drain);
        inbox.halt(Halt::Now);
        assert_eq!(wakes(), 1, "once is enough");
        assert!(inbox.sleep(&mut batch, false, &waker).is_ready(), "a halt waits");
        assert!(inbox.next_urgent().is_some());
        assert_eq!(inbox.close(&mut batch), [1, 2]);
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1, "what was closed keeps no task");
    }

    #[test]
    fn an_abort_wakes_whatever_the_actor_does_and_goes_before_all() {
        let inbox = inbox::<()>(Mailbox::default());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(inbox.stay(&waker));
        inbox.halt(Halt::Now);
        inbox.abort();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it was awake, maybe in its code");
        for _ in 0..2 {
            assert!(matches!(inbox.next_urgent(), Some(Urgent::Abort)));
            assert!(!inbox.stay(&waker));
        }
        assert!(inbox.sleep(&mut Batch::new(), true, &waker).is_ready(), "it does not sleep any more");
    }

    #[test]
    fn to_stop_now_is_stronger_than_to_drain() {
        let inbox = inbox::<()>(Mailbox::default());
        inbox.halt(Halt::Now);
        inbox.halt(Halt::Drain);
        assert!(matches!(inbox.next_urgent(), Some(Urgent::Halt(Halt::Now))));
        assert!(inbox.next_urgent().is_none());
    }

    #[test]
    fn senders_that_wait_are_let_in_in_their_order_when_the_actor_gives_its_thread_away() {
        let (inbox, mut batch) = (inbox(Mailbox::bounded(2).on_overflow(Overflow::Wait)), Batch::new());
        assert!(inbox.offer(1).is_ok() && inbox.offer(2).is_ok());
        let mut senders: Vec<_> = (3..6).map(|n| Box::pin(inbox.wait_for_room(n))).collect();
        let mut poll = |n: usize| senders[n].as_mut().now_or_never().map(|let_in| let_in.is_ok());
        assert_eq!([poll(0), poll(1), poll(2)], [None; 3]);
        assert_eq!(inbox.begin_next(&mut batch), Some(1));
        assert!(matches!(inbox.offer(99), Err(Refusal::Full(99))), "others wait for the room that is there");
        inbox.let_in();
        assert_eq!([poll(1), poll(2), poll(0)], [None, None, Some(true)]);
        assert_eq!(inbox.begin_next(&mut batch), Some(2));
        inbox.let_in();
        assert_eq!([poll(2), poll(1)], [None, Some(true)]);
        assert_eq!(from_fn(|| inbox.begin_next(&mut batch)).collect::<Vec<_>>(), [3, 4]);
        drop(senders);
        assert!(inbox.offer(7).is_ok(), "nobody waits any more");
    }

    #[test]
    fn a_sender_that_gives_up_leaves_its_place_to_the_next() {
        let inbox = inbox(Mailbox::bounded(1).on_overflow(Overflow::Wait));
        assert!(inbox.offer(1).is_ok());
        let [mut first, mut second] = [2, 3].map(|n| Box::pin(inbox.wait_for_room(n)));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!(next(&inbox), Some(1));
        inbox.let_in();
        drop(first);
        assert!(second.now_or_never().is_some_and(|let_in| let_in.is_ok()));
        assert_eq!(next(&inbox), Some(3));
    }

    #[test]
    fn senders_that_wait_learn_of_the_end() {
        let inbox = inbox(Mailbox::bounded(1).on_overflow(Overflow::Wait));
        assert!(inbox.offer(1).is_ok());
        let mut sender = Box::pin(inbox.wait_for_room(2));
        assert!(sender.as_mut().now_or_never().is_none());
        inbox.halt(Halt::Drain);
        assert!(matches!(sender.now_or_never(), Some(Err(Refusal::Closed(2)))));
    }
}
