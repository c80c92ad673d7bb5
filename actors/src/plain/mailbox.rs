/// How many messages may wait for an actor, and what happens to one more. The default: 1,024, more are refused.
///
/// Nothing is allocated before the first message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox {
    /// Of an unbounded one the greatest number.
    pub(super) capacity: u32,
    pub(super) overflow: Overflow,
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
    /// At most so many messages wait (at least one, and at most 4,294,967,294).
    pub const fn bounded(capacity: usize) -> Self {
        const MOST: usize = u32::MAX as usize - 1;
        let capacity = match capacity {
            0 => 1,
            #[expect(clippy::cast_possible_truncation, reason = "it is at most what fits")]
            1..=MOST => capacity as u32,
            _ => u32::MAX - 1,
        };
        Self { capacity, overflow: Overflow::Refuse }
    }

    /// As many messages wait as memory holds. A sender that is faster than the actor ends the process: take this only where
    /// something else bounds the senders.
    pub const fn unbounded() -> Self {
        Self { capacity: u32::MAX, overflow: Overflow::Refuse }
    }

    /// What happens to a message that meets a full mailbox; default: refuse.
    #[must_use]
    pub const fn on_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How many messages may wait; `None`: unbounded.
    pub const fn capacity(&self) -> Option<usize> {
        if self.capacity == u32::MAX { None } else { Some(self.capacity as usize) }
    }

    /// How many messages may wait; of an unbounded one the greatest number.
    pub(crate) const fn most(&self) -> usize {
        match self.capacity() {
            Some(capacity) => capacity,
            None => usize::MAX,
        }
    }

    /// What happens to a message that meets a full mailbox.
    pub const fn overflow(&self) -> Overflow {
        self.overflow
    }
}
