use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::effect::{Child, Spawn, TellChild};
use crate::plain::{ActorPath, DeadLetterReason, Halt, Shared, Terminated, Watcher};

/// The plain actors that run below an entity, by name.
pub(super) struct Children {
    by_name: HashMap<String, Running>,
    /// When those that were told to stop are aborted.
    pub(super) deadline: Option<Instant>,
}

struct Running {
    child: Child,
    /// Its entity has failed or stops: nothing of it matters any more.
    orphaned: bool,
    /// Who runs under this name when it is gone.
    next: Option<Spawn>,
}

/// Where children live.
pub(super) struct Home<'a> {
    pub(super) system: &'a Arc<Shared>,
    /// Of their entity.
    pub(super) path: ActorPath,
    pub(super) parent: Arc<dyn Watcher>,
}

impl Children {
    pub(super) fn new() -> Self {
        Self { by_name: HashMap::new(), deadline: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether those of an entity that has failed or stops are not gone yet.
    pub(super) fn are_orphaned(&self) -> bool {
        self.by_name.values().any(|running| running.orphaned)
    }

    pub(super) fn spawn(&mut self, home: Home<'_>, name: String, spawn: Spawn) {
        match self.by_name.get_mut(&name) {
            Some(running) if running.orphaned || running.child.cell.is_closed() => running.next = Some(spawn),
            // It stays.
            Some(_) => {}
            None => self.begin(home, name, spawn),
        }
    }

    fn begin(&mut self, home: Home<'_>, name: String, spawn: Spawn) {
        let child = home.path.child(&name).and_then(|path| spawn(home.system, path, home.parent));
        match child {
            Ok(child) => {
                self.by_name.insert(name, Running { child, orphaned: false, next: None });
            }
            Err(error) => error!(parent = %home.path, %error, "a child of an entity was not spawned"),
        }
    }

    pub(super) fn tell(&self, home: &Home<'_>, name: &str, tell: TellChild) {
        let (message, path) = (tell.message, home.path.child(name));
        let told = self.by_name.get(name).is_some_and(|running| (tell.tell)(&running.child));
        // What has no valid name has no path to be named in a letter.
        if !told && let Ok(path) = path {
            home.system.undelivered(path, message, DeadLetterReason::Stopped);
        }
    }

    pub(super) fn stop(&self, name: &str) {
        if let Some(running) = self.by_name.get(name) {
            running.child.cell.halt(Halt::Drain);
        }
    }

    /// One is gone; whoever waits for its name begins. `false`: nobody minds how it ended.
    pub(super) fn gone(&mut self, home: Home<'_>, child: &Terminated) -> bool {
        let name = child.path.name();
        if self.by_name.get(name).is_none_or(|running| running.child.cell.id() != child.id) {
            return false;
        }
        let Some((name, running)) = self.by_name.remove_entry(name) else { return false };
        if self.by_name.values().all(|running| !running.orphaned) {
            self.deadline = None;
        }
        if let Some(next) = running.next {
            self.begin(home, name, next);
        }
        !running.orphaned
    }

    /// Their entity has failed or stops: they stop, too, and are aborted after a while.
    pub(super) fn orphan(&mut self, halt: Halt, patience: Duration) {
        for running in self.by_name.values_mut() {
            running.child.cell.halt(halt);
            running.orphaned = true;
            running.next = None;
        }
        if !self.by_name.is_empty() {
            self.deadline.get_or_insert_with(|| Instant::now() + patience);
        }
    }

    /// The time is up for those that were told to stop.
    pub(super) fn abort_orphaned(&mut self) {
        self.deadline = None;
        self.by_name
            .values()
            .filter(|running| running.orphaned)
            .for_each(|running| running.child.cell.abort());
    }
}

impl Drop for Children {
    /// Only the task of an entity that ends early, as by a crash, leaves some behind.
    fn drop(&mut self) {
        self.by_name.values().for_each(|running| running.child.cell.abort());
    }
}
