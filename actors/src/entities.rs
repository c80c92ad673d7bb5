use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use annals_journal::{Journal as _, PersistenceId, SeqNr, Timestamp};
use annals_migrations::{EventAdapter, Form, Permission, Written};
use annals_snapshot::{Retention, Snapshot, SnapshotPolicy};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::time::Instant;

use crate::context::{Identity, Surroundings};
use crate::delivery::Delivery;
use crate::driver::Driver;
use crate::entity::Rules;
use crate::inbox::{Inbox, Refusal};
use crate::left_alone::{LeftAlone, Remembered};
use crate::node::Shared;
use crate::plain::{Mailbox, Overflow, TerminationReason};
use crate::vigils::{Activation, Vigils};
use crate::{Failure, Kind, PersistentActor, StartError};

/// The entities of one kind that are in memory.
///
/// Commands go into a mailbox under the lock of its part of the map, and an entity leaves under the same lock: so none is lost between
/// an entity that goes and the one that comes.
pub(crate) struct Entities<A: PersistentActor> {
    pub(crate) node: Arc<Shared>,
    pub(crate) rules: Arc<Rules<A>>,
    pub(crate) passivate_after: Option<Duration>,
    pub(crate) work_limit: Duration,
    retention: Retention,
    surroundings: Arc<Surroundings>,
    mailbox: Mailbox,
    hasher: RandomState,
    parts: Vec<Mutex<Part<A>>>,
    vigils: Vigils,
}

struct Part<A: PersistentActor> {
    residents: HashTable<Resident<A>>,
    /// Looked at only when an entity would be woken.
    left_alone: LeftAlone,
}

impl<A: PersistentActor> Default for Part<A> {
    fn default() -> Self {
        Self { residents: HashTable::new(), left_alone: LeftAlone::default() }
    }
}

/// An entity in memory, from outside.
struct Resident<A: PersistentActor> {
    id: PersistenceId,
    inbox: Arc<Inbox<A>>,
    /// What a test's crash ends.
    #[cfg(feature = "testing")]
    task: tokio::task::JoinHandle<()>,
}

/// Why a command did not go into a mailbox.
pub(crate) enum Undelivered<A: PersistentActor> {
    Failed(Failure),
    /// There may be room later.
    Full {
        inbox: Arc<Inbox<A>>,
        delivery: Box<dyn Delivery<A>>,
    },
}

/// So many that two cores seldom meet at one.
const PARTS: usize = 64;

impl<A: PersistentActor> Entities<A> {
    pub(crate) fn event_adapter(&self) -> Arc<dyn EventAdapter<A::Event>> {
        Arc::clone(&self.rules.adapter)
    }

    pub(crate) fn open(kind: Kind<A>, node: Arc<Shared>) -> Result<Arc<Self>, StartError> {
        let rules = Rules {
            epoch: node.epoch,
            writer: node.writer,
            activations: Arc::clone(&node.activations),
            adapter: kind.adapter()?,
            states: Kind::<A>::states()?,
            written: Arc::clone(&node.written),
            clearance: Some(node.clearance.clone()),
            snapshots: if A::REPLACES_STATE { SnapshotPolicy::never() } else { kind.snapshots },
            keep_revisions: kind.keep_revisions,
            limits: node.journal.limits(),
            bounds: kind.bounds,
        };
        Ok(Arc::new_cyclic(|this: &Weak<Self>| {
            let surroundings = Surroundings {
                services: kind.services,
                needs: Kind::<A>::needs(),
                environment: node.environment.clone(),
                work_limit: kind.work_limit,
                entities: this.clone(),
            };
            Self {
                node,
                rules: Arc::new(rules),
                passivate_after: kind.passivate_after,
                work_limit: kind.work_limit,
                retention: kind.retention,
                surroundings: Arc::new(surroundings),
                mailbox: kind.mailbox,
                hasher: RandomState::new(),
                parts: (0..PARTS).map(|_| Mutex::default()).collect(),
                vigils: Vigils::default(),
            }
        }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.node.environment.clock.now()
    }

    pub(crate) fn identity(&self, id: &PersistenceId) -> Arc<Identity> {
        Arc::new(Identity { persistence_id: id.clone(), surroundings: Arc::clone(&self.surroundings) })
    }

    /// The hash of an id that [`Entities::deliver`] wants, so that a reference computes it once.
    pub(crate) fn hash(&self, id: &PersistenceId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Puts a command into the entity's mailbox, waking the entity when it is not in memory.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        id: &PersistenceId,
        hash: u64,
        delivery: Box<dyn Delivery<A>>,
    ) -> Result<(), Undelivered<A>> {
        let mut part = self.part(hash);
        // Under the lock, so that whoever is not refused here is told to stop by the caretaker.
        if self.node.refuses_commands() {
            return Err(Undelivered::Failed(Failure::Stopping { persistence_id: id.clone() }));
        }
        let Part { residents, left_alone } = &mut *part;
        let (vacant, delivery) =
            match residents.entry(hash, |resident| resident.id == *id, |resident| self.hash(&resident.id)) {
                Entry::Occupied(resident) => match resident.get().inbox.send(delivery, self.mailbox.most()) {
                    Ok(()) => {
                        self.node.metrics.mailbox_depth.increment(1.0);
                        return Ok(());
                    }
                    Err(Refusal::Full(delivery)) => {
                        let inbox = Arc::clone(&resident.get().inbox);
                        return Err(Undelivered::Full { inbox, delivery });
                    }
                    Err(Refusal::Stopping) => {
                        self.node.metrics.failures.increment(1);
                        return Err(Undelivered::Failed(Failure::Stopping { persistence_id: id.clone() }));
                    }
                    // Its task has ended without leaving, which only a panic of ours can do: a new one takes over.
                    Err(Refusal::Closed(delivery)) => (resident.remove().1, delivery),
                },
                Entry::Vacant(vacant) => (vacant, delivery),
            };
        let supervision = left_alone.wake(id, Instant::now()).map_err(|failure| {
            self.node.metrics.failures.increment(1);
            Undelivered::Failed(failure)
        })?;
        let inbox = Arc::new(Inbox::with(delivery));
        self.node.metrics.mailbox_depth.increment(1.0);
        let driver = Driver::new(id, Arc::clone(self), Arc::clone(&inbox), supervision);
        let _task = self.node.tasks.spawn(driver);
        vacant.insert(Resident {
            id: id.clone(),
            inbox,
            #[cfg(feature = "testing")]
            task: _task,
        });
        Ok(())
    }

    /// Puts a command into a mailbox that was full when there is room; into that of the entity's next activation when this one ends
    /// first.
    ///
    /// # Cancel safety
    /// The command is not in when the future is dropped before it is done.
    pub(crate) async fn deliver_when_there_is_room(
        self: &Arc<Self>,
        id: &PersistenceId,
        hash: u64,
        mut inbox: Arc<Inbox<A>>,
        mut delivery: Box<dyn Delivery<A>>,
    ) -> Result<(), Failure> {
        loop {
            match inbox.wait_for_room(delivery, self.mailbox.most()).await {
                Ok(()) => {
                    self.node.metrics.mailbox_depth.increment(1.0);
                    return Ok(());
                }
                Err(waits) => match self.deliver(id, hash, waits) {
                    Ok(()) => return Ok(()),
                    Err(Undelivered::Failed(failure)) => return Err(failure),
                    Err(Undelivered::Full { inbox: next, delivery: waits }) => {
                        (inbox, delivery) = (next, waits);
                    }
                },
            }
        }
    }

    /// What becomes of a command that meets a full mailbox.
    pub(crate) fn overflow(&self) -> Overflow {
        self.mailbox.overflow()
    }

    /// Why a command was not delivered that does not wait for room.
    pub(crate) fn refused(&self, id: &PersistenceId, undelivered: Undelivered<A>) -> Failure {
        match undelivered {
            Undelivered::Failed(failure) => failure,
            Undelivered::Full { .. } => {
                self.node.metrics.failures.increment(1);
                Failure::MailboxFull { persistence_id: id.clone(), capacity: self.mailbox.most() }
            }
        }
    }

    /// Goes through the inboxes of all entities in memory, holding up those of one part at a time.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Inbox<A>)) {
        for part in &self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.residents.iter().for_each(|resident| visit(&resident.inbox));
        }
    }

    /// Takes an entity out of the map when `leaves` says so under the lock.
    pub(crate) fn remove_if(
        &self,
        id: &PersistenceId,
        inbox: &Arc<Inbox<A>>,
        leaves: impl FnOnce() -> bool,
        reason: TerminationReason,
    ) -> bool {
        let hash = self.hash(id);
        let mut part = self.part(hash);
        if !leaves() {
            return false;
        }
        part.remove(id, hash);
        self.has_left(part, id, inbox, reason);
        true
    }

    /// One stay of an entity in memory is over, and it is out of the map; those who watch it are told.
    fn has_left(
        &self,
        part: MutexGuard<'_, Part<A>>,
        id: &PersistenceId,
        inbox: &Arc<Inbox<A>>,
        reason: TerminationReason,
    ) {
        // Before another one may begin.
        let activation = self.vigils.take(id, inbox);
        drop(part);
        if let Some(activation) = activation {
            activation.terminate(reason);
        }
    }

    /// One stay of an entity in memory is over; its task begins another one, or ends early.
    pub(crate) fn ended(&self, id: &PersistenceId, inbox: &Arc<Inbox<A>>, reason: TerminationReason) {
        if let Some(activation) = self.vigils.take(id, inbox) {
            activation.terminate(reason);
        }
    }

    /// The present stay of an entity in memory, to be watched; one that is over, when the entity is not in memory.
    pub(crate) fn activation(&self, id: &PersistenceId, hash: u64) -> Arc<Activation> {
        let begin = || {
            let system = self.node.system();
            Activation::new(system.next_id(), system.entity_path(id))
        };
        let part = self.part(hash);
        let resident = part.residents.find(hash, |resident| resident.id == *id);
        let activation = resident.and_then(|resident| self.vigils.watch(id, &resident.inbox, begin));
        drop(part);
        activation.unwrap_or_else(|| {
            let over = begin();
            over.terminate(TerminationReason::NotInMemory);
            Arc::new(over)
        })
    }

    /// Ends entities where they stand, as a crash of their process does: all of them, or one. Says how many.
    #[cfg(feature = "testing")]
    pub(crate) async fn crash(&self, only: Option<&PersistenceId>) -> usize {
        let mut tasks = Vec::new();
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let crashed = part.residents.extract_if(|resident| only.is_none_or(|only| *only == resident.id));
            tasks.extend(crashed.map(|resident| resident.task));
            part.left_alone.forget(only);
        }
        for task in &tasks {
            task.abort();
        }
        let crashed = tasks.len();
        for task in tasks {
            // How it ended does not matter.
            let _ = task.await;
        }
        crashed
    }

    /// The inbox of an entity, if it is in memory.
    pub(crate) fn inbox(&self, id: &PersistenceId, hash: u64) -> Option<Arc<Inbox<A>>> {
        let part = self.part(hash);
        Some(Arc::clone(&part.residents.find(hash, |resident| resident.id == *id)?.inbox))
    }

    /// Takes an entity out of the map, and refuses its commands for a while.
    pub(crate) fn leave_alone(
        &self,
        id: &PersistenceId,
        inbox: &Arc<Inbox<A>>,
        remembered: Remembered,
        reason: TerminationReason,
    ) {
        let hash = self.hash(id);
        let mut part = self.part(hash);
        part.remove(id, hash);
        part.left_alone.remember(id.clone(), remembered);
        self.has_left(part, id, inbox, reason);
    }

    /// A pause and its jitter.
    pub(crate) fn spread(&self, id: &PersistenceId, pause: Duration) -> Duration {
        let bits = u32::try_from(self.hasher.hash_one((id, Instant::now())) >> 32).unwrap_or_default();
        self.rules.bounds.restart.backoff.spread(pause, f64::from(bits) / f64::from(u32::MAX))
    }

    /// Stores a snapshot and prunes behind it; a failure is logged and counted by the keeper.
    pub(crate) async fn save(&self, snapshot: Snapshot) -> bool {
        let (id, seq_nr, limit) =
            (snapshot.persistence_id.clone(), snapshot.seq_nr.get(), self.node.recovery_timeout);
        if let Err(reason) = self.may_be_saved(&snapshot).await {
            tracing::info!(persistence_id = %id, seq_nr, reason, "no snapshot");
            return false;
        }
        match tokio::time::timeout(limit, self.node.snapshots.save(snapshot, &self.retention)).await {
            Ok(report) => report.saved.is_ok(),
            Err(_) => {
                tracing::warn!(persistence_id = %id, seq_nr, ?limit, "the snapshot store did not answer in time");
                false
            }
        }
    }

    /// Deletes older revisions; a failure is logged and counted.
    pub(crate) async fn delete_revisions(&self, id: &PersistenceId, to: SeqNr) -> bool {
        let limit = self.node.recovery_timeout;
        let reason = match tokio::time::timeout(limit, self.node.journal.delete_to(id, to)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {limit:?}"),
        };
        self.node.metrics.revision_deletion_failures.increment(1);
        tracing::warn!(
            persistence_id = %id, to = to.get(), reason,
            "older revisions were not deleted: a later deletion takes them too"
        );
        false
    }

    /// Whether the form that a snapshot has is still the one that is written.
    async fn may_be_saved(&self, snapshot: &Snapshot) -> Result<(), String> {
        let states = &self.rules.states;
        let how = || self.rules.written.of(states.manifest(), self.now());
        let mut permission = how();
        if permission.ask {
            self.node.clearance.ask(states.manifest().clone()).await?;
            permission = how();
        }
        let has = Form::new(snapshot.manifest.clone(), snapshot.schema_version);
        match permission {
            Permission { ask: true, .. } => Err("it is not known who reads it".to_owned()),
            Permission { written: Written::Refused(reason), .. } => Err(reason),
            Permission { written: Written::As(form), .. } if form != has => {
                Err(format!("it has become {has}, and {form} is written now"))
            }
            Permission { written: Written::Today, .. }
                if has != Form::new(states.manifest().clone(), states.version()) =>
            {
                Err(format!("it has become {has}, and today's form is written now"))
            }
            Permission { .. } => Ok(()),
        }
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part<A>> {
        // The upper half: the lower bits choose the place within the part.
        let part = usize::try_from(hash >> 32).unwrap_or_default() % PARTS;
        // The map is whole at every point where its holder could panic.
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: PersistentActor> Part<A> {
    fn remove(&mut self, id: &PersistenceId, hash: u64) {
        if let Ok(resident) = self.residents.find_entry(hash, |resident| resident.id == *id) {
            resident.remove();
        }
    }
}
