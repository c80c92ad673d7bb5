use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::inbox::{Control, Halt, Inbox};
use super::system::Shared;
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
    /// Most actors are watched by nobody as long as they run.
    told: Option<Box<Told>>,
}

#[derive(Default)]
struct Told {
    watchers: BTreeMap<ActorId, Arc<dyn AnyCell>>,
    waiting: Arc<Notify>,
    /// Why it has terminated.
    gone: Option<TerminationReason>,
}

/// A cell, whatever its messages.
pub(crate) trait AnyCell: Send + Sync {
    fn id(&self) -> ActorId;
    fn path(&self) -> &ActorPath;
    fn control(&self, control: Control);
    fn halt(&self, halt: Halt);
    fn abort(&self);
    /// Has this one told when the actor terminates; at once if it has.
    fn watched_by(&self, watcher: Arc<dyn AnyCell>);
    fn unwatched_by(&self, watcher: ActorId);
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(path: ActorPath, mailbox: Mailbox, system: Arc<Shared>) -> Self {
        Self { inbox: Inbox::new(mailbox), id: system.next_id(), path, system, end: Mutex::default() }
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
        let told = end.told();
        told.gone = Some(reason.clone());
        let watchers = std::mem::take(&mut told.watchers);
        let waiting = Arc::clone(&told.waiting);
        drop(end);
        drop(task);
        for watcher in watchers.into_values() {
            watcher.control(Control::Terminated(self.notice(reason.clone())));
        }
        waiting.notify_waiters();
    }

    pub(crate) fn notice(&self, reason: TerminationReason) -> Terminated {
        Terminated { path: self.path.clone(), id: self.id, reason }
    }

    /// Waits for the end.
    pub(crate) async fn until_terminated(&self) -> TerminationReason {
        loop {
            let waiting = {
                let mut end = self.end();
                if let Some(reason) = end.reason() {
                    return reason.clone();
                }
                // Before the lock is free, so that it is among those who are told.
                Arc::clone(&end.told().waiting).notified_owned()
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
        self.told.as_ref()?.gone.as_ref()
    }
}

impl<M: Send + 'static> AnyCell for Cell<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn path(&self) -> &ActorPath {
        &self.path
    }

    fn control(&self, control: Control) {
        self.inbox.control(control);
    }

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

    fn watched_by(&self, watcher: Arc<dyn AnyCell>) {
        let mut end = self.end();
        let Some(reason) = end.reason().cloned() else {
            end.told().watchers.insert(watcher.id(), watcher);
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
