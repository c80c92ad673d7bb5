use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::cell::Watcher;
use super::inbox::Control;
use super::{ActorId, Terminated, TerminationReason};

/// Who is told of an end, and that it has come.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) watchers: BTreeMap<ActorId, Arc<dyn Watcher>>,
    waiting: Arc<Notify>,
    /// Why it has terminated.
    gone: Option<TerminationReason>,
}

/// Who is to be told now, when no lock is held.
#[must_use]
pub(crate) struct Mourners {
    watchers: BTreeMap<ActorId, Arc<dyn Watcher>>,
    waiting: Arc<Notify>,
}

/// Who began to watch after the end.
pub(crate) struct TooLate {
    pub(crate) watcher: Arc<dyn Watcher>,
    pub(crate) reason: TerminationReason,
}

impl Told {
    /// From now on, who begins to watch is told at once.
    pub(crate) fn terminate(&mut self, reason: TerminationReason) -> Mourners {
        self.gone = Some(reason);
        Mourners { watchers: std::mem::take(&mut self.watchers), waiting: Arc::clone(&self.waiting) }
    }

    /// Has this one told; what it gives is dropped when no lock is held. `Err`: the end has come, and it is to be told now.
    pub(crate) fn watched_by(
        &mut self,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Option<Arc<dyn Watcher>>, TooLate> {
        match &self.gone {
            Some(reason) => Err(TooLate { watcher, reason: reason.clone() }),
            None => Ok(self.watchers.insert(watcher.watcher_id(), watcher)),
        }
    }

    /// Why it has terminated, or what to wait for until it has.
    pub(crate) fn reason_or_wait(&self) -> Result<TerminationReason, OwnedNotified> {
        self.gone.clone().ok_or_else(|| Arc::clone(&self.waiting).notified_owned())
    }
}

impl Mourners {
    pub(crate) fn tell(self, notice: &Terminated) {
        for watcher in self.watchers.into_values() {
            watcher.control(Control::Terminated(notice.clone()));
        }
        self.waiting.notify_waiters();
    }
}
