//! Senders that wait for room in a mailbox, served in their order.

use std::collections::VecDeque;
use std::task::Waker;

/// Places are given from the front. A place that was given and not yet taken is held free for its sender.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By ticket, rising.
    senders: VecDeque<Sender>,
    last: u64,
    /// How many of the first have a place.
    served: usize,
}

/// Tells a sender that waits from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Sender {
    ticket: Ticket,
    /// `None`: it has a place, and was told.
    waits: Option<Waker>,
}

impl Queue {
    pub(crate) fn join(&mut self, waker: Waker) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.senders.push_back(Sender { ticket, waits: Some(waker) });
        ticket
    }

    /// Whether nobody waits and no place is held free.
    pub(crate) fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// How many places are held free.
    pub(crate) fn held(&self) -> usize {
        self.served
    }

    /// Gives a place to who has waited longest; wake it.
    pub(crate) fn serve(&mut self) -> Option<Waker> {
        let next = self.senders.get_mut(self.served)?;
        self.served += 1;
        next.waits.take()
    }

    /// Whether this one has a place; if not, it is woken by `waker` when it has.
    pub(crate) fn is_served(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        match self.place(ticket).and_then(|at| self.senders.get_mut(at)) {
            Some(Sender { waits: Some(waits), .. }) => {
                waits.clone_from(waker);
                false
            }
            Some(Sender { waits: None, .. }) => true,
            None => false,
        }
    }

    /// Goes away; the place that it may have had is free for another.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if let Some(at) = self.place(ticket) {
            self.senders.remove(at);
            if at < self.served {
                self.served -= 1;
            }
        }
    }

    /// Those who wait for a place. They stay.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waker> {
        self.senders.iter().filter_map(|sender| sender.waits.as_ref())
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.senders.binary_search_by_key(&ticket, |sender| sender.ticket).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(senders: usize) -> (Queue, Vec<Ticket>) {
        let mut queue = Queue::default();
        let tickets = (0..senders).map(|_| queue.join(Waker::noop().clone())).collect();
        (queue, tickets)
    }

    fn served(queue: &mut Queue, tickets: &[Ticket]) -> Vec<bool> {
        tickets.iter().map(|ticket| queue.is_served(*ticket, Waker::noop())).collect()
    }

    #[test]
    fn who_has_waited_longest_is_served_first() {
        let (mut queue, tickets) = queue(3);
        assert!(queue.serve().is_some() && queue.serve().is_some());
        assert_eq!(served(&mut queue, &tickets), [true, true, false]);
        assert_eq!(queue.held(), 2);
    }

    #[test]
    fn who_leaves_gives_its_place_back() {
        let (mut queue, tickets) = queue(3);
        queue.serve();
        queue.leave(tickets[0]);
        assert_eq!(queue.held(), 0);
        queue.serve();
        assert_eq!(served(&mut queue, &tickets), [false, true, false]);
    }

    #[test]
    fn who_leaves_before_it_is_served_holds_nobody_up() {
        let (mut queue, tickets) = queue(3);
        queue.leave(tickets[1]);
        assert!(queue.serve().is_some() && queue.serve().is_some() && queue.serve().is_none());
        assert_eq!(served(&mut queue, &tickets), [true, false, true]);
        queue.leave(tickets[0]);
        queue.leave(tickets[2]);
        assert!(queue.is_empty());
        assert_eq!(queue.held(), 0);
    }
}
