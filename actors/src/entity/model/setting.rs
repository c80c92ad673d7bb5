use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_journal::{Epoch, PersistenceId, Timestamp, WriterId};
use annals_migrations::StateAdapter;
use annals_snapshot::SnapshotPolicy;
use uuid::Uuid;

use super::ledger::{Entry, Ledger, Witness};
use super::store::{LIMITS, adapter};
use crate::context::{Identity, Surroundings, nowhere};
use crate::entity::{Activations, Bounds, Rules};
use crate::environment::{Environment, Ids, SystemClock};
use crate::services::Services;
use crate::{PersistentActor, ServiceNeeds};

/// What all owners of a run share beside the store.
pub(super) struct Setting {
    pub(super) id: PersistenceId,
    pub(super) witness: Arc<Mutex<Witness>>,
    services: Services,
    ids: Arc<Counter>,
}

/// Ids one after the other.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Ids for Counter {
    fn new_id(&self, _: Timestamp) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Setting {
    pub(super) fn new() -> Self {
        let mut services = Services::default();
        services.add(Mutex::new(Witness::default()));
        let witness = services.get::<Mutex<Witness>>().unwrap();
        let id = PersistenceId::new(Ledger::KIND, "one").unwrap();
        Self { id, witness, services, ids: Arc::default() }
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        let mut needs = ServiceNeeds::default();
        Ledger::services(&mut needs);
        Arc::new(Identity {
            persistence_id: self.id.clone(),
            surroundings: Arc::new(Surroundings {
                services: self.services.clone(),
                needs,
                environment: Environment { clock: Arc::new(SystemClock), ids: self.ids.clone() },
                work_limit: Duration::from_secs(1),
                entities: nowhere(),
            }),
        })
    }

    pub(super) fn rules(
        &self,
        epoch: u64,
        bounds: Bounds,
        snapshots: SnapshotPolicy<Ledger, Entry>,
    ) -> Arc<Rules<Ledger>> {
        Arc::new(Rules {
            epoch: Epoch(epoch),
            writer: WriterId::from_bytes([u8::try_from(epoch % 255).unwrap_or_default(); 16]),
            activations: Arc::new(Activations::default()),
            adapter: Arc::new(adapter()),
            states: StateAdapter::new(Ledger::KIND, 1).unwrap(),
            written: Arc::default(),
            clearance: None,
            snapshots,
            keep_revisions: 0,
            limits: LIMITS,
            bounds,
        })
    }
}
