use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_journal::SeqNr;
use serde_json::Value;

use super::difference::difference;

/// What the kit saw while an entity worked; shared between the bench and the commands on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Arc<Mutex<Seen>>);

/// See [`Findings`].
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Promises that were broken, each as text for a person.
    pub(super) broken: Vec<String>,
    /// The state right after the last command that was carried out.
    pub(super) live: Option<Value>,
    /// Whether the last command was put aside.
    pub(super) stashed: bool,
    /// Commands that failed through the aggregate's own fault.
    pub(super) faults: Vec<String>,
    /// The last event that is stored and acknowledged.
    pub(super) durable: SeqNr,
}

impl Findings {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        // A panic while it was held left a complete list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a broken promise.
    pub(super) fn broken(&self, what: impl Into<String>) {
        self.lock().broken.push(what.into());
    }

    /// Notes a broken promise when the two differ; `-` is what should have been.
    pub(super) fn same(&self, expected: &Value, found: &Value, promise: impl FnOnce() -> String) -> bool {
        match difference(expected, found) {
            None => true,
            Some(lines) => {
                self.broken(format!("{}\n{lines}", promise()));
                false
            }
        }
    }
}
