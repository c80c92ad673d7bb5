use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::inbox::{Control, Halt, Inbox};
use super::system::Shared;
use super::told::Told;
use super::{ActorId, ActorPath, DeadLetterReason, Mailbox, Terminated, TerminationReason};

/// What the references to an actor share with its task.
pub(crate) struct Cell<M> {
    pub(crate) inbox: Inbox<M>,
    pub(crate) id: ActorId,
    pub(crate) path: ActorPath,
    pub(crate) system: Arc<Shared>,
    end: Mutex<End>,
}

/// How it ends, and who is told.
#[derive(Default)]
struct End {
    task: Option<AbortHandle>,
    /// Someone wants it gone.
    aborted: bool,
    /// An entity is its parent, or its parent's.
    of_entity: bool,
    /// Most actors are watched by nobody as long as they run.
    told: Option<Box<Told>>,
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
    /// Whether it takes no more messages.
    fn is_closed(&self) -> bool;
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(path: ActorPath, mailbox: Mailbox, system: Arc<Shared>, of_entity: bool) -> Self {
        let end = Mutex::new(End { of_entity, ..End::default() });
        Self { inbox: Inbox::new(mailbox), id: system.next_id(), path, system, end }
    }

    pub(crate) fn dead_letter(&self, reason: DeadLetterReason) {
        self.system.dead_letter::<M>(&self.path, reason);
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        let mut end = self.end();
        if end.aborted {
            drop(end);
            task.abort();
        } else if end.reason().is_none() {
            end.task = Some(task);
        }
    }

    /// Tells everyone who watches. From now on, who begins to watch is told at once.
    pub(crate) fn terminated(&self, reason: TerminationReason) {
        let mut end = self.end();
        // The memory of the task is not kept by those who keep a reference.
        let task = end.task.take();
        let mourners = end.told().terminate(reason.clone());
        drop(end);
        drop(task);
        mourners.tell(&self.notice(reason));
    }

    pub(crate) fn notice(&self, reason: TerminationReason) -> Terminated {
        Terminated { path: self.path.clone(), id: self.id, reason }
    }

    /// Waits for the end.
    pub(crate) async fn until_terminated(&self) -> TerminationReason {
        loop {
            // The lock is free again when this is awaited, and this is among those who are told.
            let waiting = match self.end().told().reason_or_wait() {
                Ok(reason) => return reason,
                Err(waiting) => waiting,
            };
            waiting.await;
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        // Whole at every point where its holder could panic.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    fn told(&mut self) -> &mut Told {
        self.told.get_or_insert_default()
    }

    fn reason(&self) -> Option<&TerminationReason> {
        self.told.as_ref()?.reason()
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
        self.end().of_entity
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
        let mut end = self.end();
        let Some(reason) = end.reason().cloned() else {
            end.told().watchers.insert(watcher.watcher_id(), watcher);
            return;
        };
        drop(end);
        watcher.control(Control::Terminated(self.notice(reason)));
    }

    fn unwatched_by(&self, watcher: ActorId) {
        if let Some(told) = &mut self.end().told {
            told.watchers.remove(&watcher);
        }
    }
}

impl<M: Send + 'static> AnyCell for Cell<M> {
    fn halt(&self, halt: Halt) {
        self.inbox.halt(halt);
    }

    fn abort(&self) {
        let task = {
            let mut end = self.end();
            end.aborted = true;
            end.task.take()
        };
        if let Some(task) = task {
            task.abort();
        }
    }

    fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}
