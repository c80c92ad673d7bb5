use std::sync::Arc;

use super::inbox::{Control, Halt, Inbox};
use super::system::Shared;
use super::{ActorId, ActorPath, DeadLetterReason, Mailbox, Terminated, TerminationReason};

/// What the references to an actor share with its task.
///
/// Its 120 bytes are measured: with the two counts that an [`Arc`] adds it fits into what glibc leaves free between two tasks,
/// which are aligned to 128 bytes; with 8 more it does not, and an actor costs 100 bytes more.
#[repr(C)]
pub(crate) struct Cell<M> {
    pub(crate) inbox: Inbox<M>,
    pub(crate) id: ActorId,
    pub(crate) path: ActorPath,
    pub(crate) system: Arc<Shared>,
}

/// Who is told of the ends of others: of its children, and of those that it watches.
pub(crate) trait Watcher: Send + Sync {
    fn watcher_id(&self) -> ActorId;
    /// Comes before all messages, and is never dropped.
    fn control(&self, control: Control);
    /// Whether it is an entity, or a child of one, or a child's child.
    fn is_of_entity(&self) -> bool;
}

/// Whose end others are told of.
pub(crate) trait Watchable: Send + Sync {
    fn id(&self) -> ActorId;
    fn path(&self) -> &ActorPath;
    /// Has this one told when it terminates; at once if it has.
    fn watched_by(&self, watcher: Arc<dyn Watcher>);
    fn unwatched_by(&self, watcher: ActorId);
}

/// A cell, whatever its messages.
pub(crate) trait AnyCell: Watcher + Watchable {
    fn halt(&self, halt: Halt);
    fn abort(&self);
    /// Of its path, if it is at the top.
    fn name_hash(&self) -> u32;
    /// Whether it takes no more messages.
    fn is_closed(&self) -> bool;
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(
        path: ActorPath,
        mailbox: Mailbox,
        system: Arc<Shared>,
        of_entity: bool,
        name_hash: u32,
    ) -> Self {
        Self { inbox: Inbox::new(mailbox, of_entity, name_hash), id: system.next_id(), path, system }
    }

    pub(crate) fn dead_letter(&self, reason: DeadLetterReason) {
        self.system.dead_letter::<M>(&self.path, reason);
    }

    /// Tells everyone who watches. From now on, who begins to watch is told at once.
    pub(crate) fn terminated(&self, reason: TerminationReason) {
        let mourners = self.inbox.told(|told| told.terminate(reason.clone()));
        mourners.tell(&self.notice(reason));
    }

    pub(crate) fn notice(&self, reason: TerminationReason) -> Terminated {
        Terminated { path: self.path.clone(), id: self.id, reason }
    }

    /// Waits for the end.
    pub(crate) async fn until_terminated(&self) -> TerminationReason {
        loop {
            // The lock is free again when this is awaited, and this is among those who are told.
            let waiting = match self.inbox.told(|told| told.reason_or_wait()) {
                Ok(reason) => return reason,
                Err(waiting) => waiting,
            };
            waiting.await;
        }
    }
}

impl<M: Send + 'static> Watcher for Cell<M> {
    fn watcher_id(&self) -> ActorId {
        self.id
    }

    fn control(&self, control: Control) {
        self.inbox.control(control);
    }

    fn is_of_entity(&self) -> bool {
        self.inbox.is_of_entity()
    }
}

impl<M: Send + 'static> Watchable for Cell<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn path(&self) -> &ActorPath {
        &self.path
    }

    fn watched_by(&self, watcher: Arc<dyn Watcher>) {
        let watched = self.inbox.told(|told| told.watched_by(watcher));
        if let Err(late) = watched {
            late.watcher.control(Control::Terminated(self.notice(late.reason)));
        }
    }

    fn unwatched_by(&self, watcher: ActorId) {
        let watcher = self.inbox.told(|told| told.watchers.remove(&watcher));
        // Without the lock: it may be the last reference.
        drop(watcher);
    }
}

impl<M: Send + 'static> AnyCell for Cell<M> {
    fn halt(&self, halt: Halt) {
        self.inbox.halt(halt);
    }

    fn abort(&self) {
        self.inbox.abort();
    }

    fn name_hash(&self) -> u32 {
        self.inbox.name_hash()
    }

    fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_not_larger_than_was_measured() {
        assert_eq!(size_of::<Cell<u64>>(), 120);
    }
}
