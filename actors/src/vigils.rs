use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_journal::PersistenceId;

use crate::PersistentActor;
use crate::inbox::Inbox;
use crate::plain::{
    ActorId, ActorPath, Control, Mourners, Terminated, TerminationReason, Told, Watchable, Watcher,
};

/// Entities in memory whose end somebody waits for. So one that nobody watches costs nothing.
#[derive(Default)]
pub(crate) struct Vigils(Mutex<HashMap<PersistenceId, Vigil>>);

struct Vigil {
    /// Where its inbox lies: tells it from one that came after it.
    inbox: usize,
    activation: Arc<Activation>,
}

/// One stay of an entity in memory, for those who watch its end.
pub(crate) struct Activation {
    id: ActorId,
    path: ActorPath,
    told: Mutex<Told>,
}

impl Vigils {
    /// The stay of the entity with this inbox; `None`: its task has ended.
    pub(crate) fn watch<A: PersistentActor>(
        &self,
        id: &PersistenceId,
        inbox: &Arc<Inbox<A>>,
        begin: impl FnOnce() -> Activation,
    ) -> Option<Arc<Activation>> {
        let mut vigils = self.lock();
        // Looked at under the lock: whoever closes it takes its vigil afterwards.
        if inbox.is_closed() {
            return None;
        }
        let place = place(inbox);
        let before = match vigils.get(id) {
            Some(vigil) if vigil.inbox == place => return Some(Arc::clone(&vigil.activation)),
            // Its task has ended, and is about to say so.
            _ => vigils.remove(id),
        };
        let activation = Arc::new(begin());
        vigils.insert(id.clone(), Vigil { inbox: place, activation: Arc::clone(&activation) });
        drop(vigils);
        if let Some(before) = before {
            before.activation.terminate(TerminationReason::Aborted);
        }
        Some(activation)
    }

    /// The entity with this inbox has left: who waits is told through what this gives, when no lock is held.
    #[must_use]
    pub(crate) fn take<A: PersistentActor>(
        &self,
        id: &PersistenceId,
        inbox: &Arc<Inbox<A>>,
    ) -> Option<Arc<Activation>> {
        let mut vigils = self.lock();
        if vigils.is_empty() || vigils.get(id)?.inbox != place(inbox) {
            return None;
        }
        vigils.remove(id).map(|vigil| vigil.activation)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PersistenceId, Vigil>> {
        // Whole at every point where its holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place<A: PersistentActor>(inbox: &Arc<Inbox<A>>) -> usize {
    Arc::as_ptr(inbox).addr()
}

impl Activation {
    pub(crate) fn new(id: ActorId, path: ActorPath) -> Self {
        Self { id, path, told: Mutex::default() }
    }

    /// Tells everyone who watches. From now on, who begins to watch is told at once.
    pub(crate) fn terminate(&self, reason: TerminationReason) {
        let mourners: Mourners = self.told().terminate(reason.clone());
        mourners.tell(&self.notice(reason));
    }

    /// Waits for the end.
    pub(crate) async fn until_terminated(&self) -> TerminationReason {
        loop {
            let waiting = match self.told().reason_or_wait() {
                Ok(reason) => return reason,
                Err(waiting) => waiting,
            };
            waiting.await;
        }
    }

    fn notice(&self, reason: TerminationReason) -> Terminated {
        Terminated { path: self.path.clone(), id: self.id, reason }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Whole at every point where its holder could panic.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchable for Activation {
    fn id(&self) -> ActorId {
        self.id
    }

    fn path(&self) -> &ActorPath {
        &self.path
    }

    fn watched_by(&self, watcher: Arc<dyn Watcher>) {
        // The lock is free again before anyone is told.
        let watched = self.told().watched_by(watcher);
        if let Err(late) = watched {
            late.watcher.control(Control::Terminated(self.notice(late.reason)));
        }
    }

    fn unwatched_by(&self, watcher: ActorId) {
        self.told().watchers.remove(&watcher);
    }
}
