use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::mailbox::{Control, Halt, Inbox};
use super::system::Shared;
use super::{ActorId, ActorPath, DeadLetterReason, Mailbox, Terminated, TerminationReason};

/// What the references to an actor share with its task.
pub(crate) struct Cell<M> {
    pub(crate) id: ActorId,
    pub(crate) path: ActorPath,
    pub(crate) inbox: Inbox<M>,
    pub(crate) system: Arc<Shared>,
    watchers: Mutex<Watchers>,
    gone: Notify,
    task: OnceLock<AbortHandle>,
    aborted: AtomicBool,
}

enum Watchers {
    Alive(BTreeMap<ActorId, Arc<dyn AnyCell>>),
    Gone(TerminationReason),
}

/// A cell, whatever its messages.
pub(crate) trait AnyCell: Send + Sync {
    fn id(&self) -> ActorId;
    fn control(&self, control: Control);
    fn halt(&self, halt: Halt);
    fn abort(&self);
    /// Has this one told when the actor terminates; at once if it has.
    fn watched_by(&self, watcher: Arc<dyn AnyCell>);
    fn unwatched_by(&self, watcher: ActorId);
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(path: ActorPath, mailbox: Mailbox, system: Arc<Shared>) -> Self {
        Self {
            id: system.next_id(),
            path,
            inbox: Inbox::new(mailbox),
            system,
            watchers: Mutex::new(Watchers::Alive(BTreeMap::new())),
            gone: Notify::new(),
            task: OnceLock::new(),
            aborted: AtomicBool::new(false),
        }
    }

    pub(crate) fn dead_letter(&self, reason: DeadLetterReason) {
        self.system.dead_letter::<M>(&self.path, reason);
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        // Set once, by who spawned it.
        let task = self.task.get_or_init(|| task);
        // Someone may have wanted it gone before it was known here.
        if self.aborted.load(Ordering::SeqCst) {
            task.abort();
        }
    }

    /// Tells everyone who watches. From now on, who begins to watch is told at once.
    pub(crate) fn terminated(&self, reason: TerminationReason) {
        let before = std::mem::replace(&mut *self.watchers(), Watchers::Gone(reason.clone()));
        if let Watchers::Alive(watchers) = before {
            for watcher in watchers.into_values() {
                watcher.control(Control::Terminated(self.notice(reason.clone())));
            }
        }
        self.gone.notify_waiters();
    }

    pub(crate) fn notice(&self, reason: TerminationReason) -> Terminated {
        Terminated { path: self.path.clone(), id: self.id, reason }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        matches!(&*self.watchers(), Watchers::Gone(_))
    }

    /// Waits for the end.
    pub(crate) async fn until_terminated(&self) -> TerminationReason {
        loop {
            let gone = self.gone.notified();
            if let Watchers::Gone(reason) = &*self.watchers() {
                return reason.clone();
            }
            gone.await;
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        // Whole at every point where its holder could panic.
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Send + 'static> AnyCell for Cell<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn control(&self, control: Control) {
        self.inbox.control(control);
    }

    fn halt(&self, halt: Halt) {
        self.inbox.halt(halt);
    }

    fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn watched_by(&self, watcher: Arc<dyn AnyCell>) {
        let mut watchers = self.watchers();
        let reason = match &mut *watchers {
            Watchers::Alive(watchers) => {
                watchers.insert(watcher.id(), watcher);
                return;
            }
            Watchers::Gone(reason) => reason.clone(),
        };
        drop(watchers);
        watcher.control(Control::Terminated(self.notice(reason)));
    }

    fn unwatched_by(&self, watcher: ActorId) {
        if let Watchers::Alive(watchers) = &mut *self.watchers() {
            watchers.remove(&watcher);
        }
    }
}
