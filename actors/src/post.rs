use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::plain::{ActorId, Control, Watcher};

/// Where an entity that has children, or watches somebody, is told of ends. Never full: each of those has at most one on the way.
pub(crate) struct Post {
    id: ActorId,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    waiting: VecDeque<Control>,
    /// Of the entity's task, when it sleeps.
    sleeper: Option<Waker>,
}

impl Post {
    pub(crate) fn new(id: ActorId) -> Self {
        Self { id, mail: Mutex::default() }
    }

    /// The next notice; else the task is woken for one.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Control> {
        let mut mail = self.mail();
        if let Some(control) = mail.waiting.pop_front() {
            return Poll::Ready(control);
        }
        match &mut mail.sleeper {
            Some(sleeper) => sleeper.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        // Whole at every point where its holder could panic.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Post {
    fn watcher_id(&self) -> ActorId {
        self.id
    }

    fn control(&self, control: Control) {
        let sleeper = {
            let mut mail = self.mail();
            mail.waiting.push_back(control);
            mail.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    fn is_of_entity(&self) -> bool {
        true
    }
}
