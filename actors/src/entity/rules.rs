use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_journal::{Epoch, Limits, Token, WriterId};
use annals_migrations::{EventAdapter, StateAdapter, WrittenForms};
use annals_snapshot::SnapshotPolicy;

use crate::PersistentActor;
use crate::plain::RestartPolicy;
use crate::versions::Clearance;

/// What is the same for all entities of a kind.
pub(crate) struct Rules<A: PersistentActor> {
    pub(crate) epoch: Epoch,
    pub(crate) writer: WriterId,
    pub(crate) activations: Arc<Activations>,
    pub(crate) adapter: Arc<dyn EventAdapter<A::Event>>,
    pub(crate) states: StateAdapter<A>,
    /// In which forms both are written now.
    pub(crate) written: Arc<WrittenForms>,
    /// Where it is asked how something may be written; `None`: nothing has to be asked for.
    pub(crate) clearance: Option<Clearance>,
    pub(crate) snapshots: SnapshotPolicy<A, A::Event>,
    /// Where events replace the state: how many may lie behind the newest.
    pub(crate) keep_revisions: u64,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
}

/// How much an entity may keep in memory (I14), and for how long it tries.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Events decided and not durable.
    pub(crate) events: usize,
    /// Bytes of them.
    pub(crate) bytes: usize,
    /// Commands decided and not answered.
    pub(crate) held: usize,
    /// Commands put aside.
    pub(crate) stash: usize,
    /// How long callers wait for a journal that cannot be asked.
    pub(crate) patience: Duration,
    /// The first pause before recovery is tried again; doubles up to the longest.
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    /// What panics and failed recoveries cost.
    pub(crate) restart: RestartPolicy,
}

/// Hands out activations, each greater than all that this process has used or met.
#[derive(Debug, Default)]
pub(crate) struct Activations(AtomicU64);

impl Activations {
    pub(crate) fn next(&self, epoch: Epoch) -> Token {
        Token::new(epoch, self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Maintenance took this one under our epoch: go above it.
    pub(crate) fn raise(&self, met: u64) {
        self.0.fetch_max(met, Ordering::Relaxed);
    }
}
