use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_journal::PersistenceId;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::cell::{AnyCell, Cell, Watcher};
use super::dead_letters::{DeadLetterOffice, MessageType};
use super::inbox::Halt;
use super::runner::Runner;
use super::{
    Actor, ActorId, ActorPath, ActorRef, DeadLetter, DeadLetterReason, EventStream, Group, Props,
    ShutdownTimedOut, SpawnError, Subscription,
};
use crate::patience::Patience;
use crate::telemetry::PlainMetrics;

/// Plain actors of one process: spawns the top-level ones, has their dead letters and an event stream. Cheap to clone.
///
/// Actors run until they stop or [`shutdown`](Self::shutdown) is called; dropping the system stops nothing.
#[derive(Clone)]
pub struct ActorSystem {
    pub(crate) shared: Arc<Shared>,
}

/// What all actors of a system share.
pub(crate) struct Shared {
    pub(crate) metrics: PlainMetrics,
    pub(crate) events: EventStream,
    pub(crate) patience: Patience,
    root: ActorPath,
    dead_letters: DeadLetterOffice,
    top: Mutex<Top>,
    running: AtomicUsize,
    /// Those that run below entities, and stop with them.
    of_entities: AtomicUsize,
    none_runs: Notify,
    hasher: RandomState,
}

struct Top {
    /// By their paths. The hash of each stands in the actor, where it costs nothing.
    actors: HashTable<Arc<dyn AnyCell>>,
    stopping: bool,
}

impl ActorSystem {
    /// A system without actors. Its name begins their paths.
    pub fn new(name: &str) -> Self {
        let metrics = PlainMetrics::new();
        let events = EventStream::new(metrics.missed_events.clone());
        Self {
            shared: Arc::new(Shared {
                metrics,
                events,
                patience: Patience::new(),
                root: ActorPath::root(name),
                dead_letters: DeadLetterOffice::new(),
                top: Mutex::new(Top { actors: HashTable::new(), stopping: false }),
                running: AtomicUsize::new(0),
                of_entities: AtomicUsize::new(0),
                none_runs: Notify::new(),
                hasher: RandomState::new(),
            }),
        }
    }

    /// Spawns a top-level actor.
    ///
    /// # Errors
    /// [`SpawnError`] when an actor has the name, the name blurs paths, the system is stopping, or no tokio runtime is there.
    pub fn spawn<A: Actor>(&self, name: &str, props: Props<A>) -> Result<ActorRef<A::Message>, SpawnError> {
        let path = self.shared.root.child(name)?;
        self.shared.launch(path, props, None)
    }

    /// Spawns so many top-level actors of one kind, to put behind a [router](Group::round_robin): `name-1`, `name-2`…
    ///
    /// ```
    /// # use annals_actors::plain::{Actor, ActorSystem, Props, SpawnError};
    /// # fn example<Teller: Actor<Message = &'static str> + Default>(system: &ActorSystem) -> Result<(), SpawnError> {
    /// let tellers = system.spawn_pool("teller", 5, Props::new(Teller::default))?.round_robin();
    /// # let _ = tellers; Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`spawn`](Self::spawn); then those that were spawned are stopped.
    pub fn spawn_pool<A: Actor>(
        &self,
        name: &str,
        size: usize,
        props: Props<A>,
    ) -> Result<Group<A::Message>, SpawnError> {
        let path = self.shared.root.child(name)?;
        let routees = pool(name, size, |name| self.spawn(name, props.clone()))?;
        Ok(Group::new(path, routees, Arc::clone(&self.shared)))
    }

    /// Puts actors together that exist, wherever they stand, for a [router](Group::round_robin). The name stands in its dead letters.
    ///
    /// # Errors
    /// [`SpawnError::InvalidName`].
    pub fn group<M: Send + 'static>(
        &self,
        name: &str,
        actors: impl IntoIterator<Item = ActorRef<M>>,
    ) -> Result<Group<M>, SpawnError> {
        let path = self.shared.root.child(name)?;
        Ok(Group::new(path, actors.into_iter().collect(), Arc::clone(&self.shared)))
    }

    /// The stream of events of this system.
    pub fn event_stream(&self) -> &EventStream {
        &self.shared.events
    }

    /// Hears of each message that reaches nobody from now on; at most `capacity` wait.
    pub fn dead_letters(&self, capacity: usize) -> Subscription<DeadLetter> {
        self.shared.events.subscribe(capacity)
    }

    /// How many actors run, children too.
    pub fn actors(&self) -> usize {
        [false, true].map(|of_entity| self.shared.running(of_entity).load(Ordering::Acquire)).iter().sum()
    }

    /// Stops all actors gracefully: they handle the messages that wait, their children stop, and all are gone when it returns.
    /// Children of entities stop with their entities.
    ///
    /// # Errors
    /// [`ShutdownTimedOut`] when the time is up: the actors that still ran were aborted where they waited, the messages in their
    /// mailboxes are dead letters.
    ///
    /// # Cancel safety
    /// Stopping goes on when the future is dropped, without the time limit; call again to wait.
    pub async fn shutdown(&self, limit: Duration) -> Result<(), ShutdownTimedOut> {
        let actors: Vec<_> = {
            let mut top = self.shared.top();
            top.stopping = true;
            top.actors.iter().cloned().collect()
        };
        for actor in &actors {
            actor.halt(Halt::Drain);
        }
        if timeout(limit, self.shared.until_none_runs()).await.is_ok() {
            return Ok(());
        }
        let late = self.shared.running.load(Ordering::Acquire);
        for actor in &actors {
            actor.abort();
        }
        // A handler that blocks its thread cannot be aborted, and is not waited for.
        let _ = timeout(AFTER_ABORT, self.shared.until_none_runs()).await;
        Err(ShutdownTimedOut { actors: late, limit })
    }
}

/// Spawns all or none.
pub(crate) fn pool<M: Send + 'static>(
    name: &str,
    size: usize,
    mut spawn: impl FnMut(&str) -> Result<ActorRef<M>, SpawnError>,
) -> Result<Vec<ActorRef<M>>, SpawnError> {
    let mut routees = Vec::new();
    for n in 1..=size {
        match spawn(&format!("{name}-{n}")) {
            Ok(routee) => routees.push(routee),
            Err(error) => {
                routees.iter().for_each(ActorRef::stop);
                return Err(error);
            }
        }
    }
    Ok(routees)
}

/// How long aborted tasks have to go.
const AFTER_ABORT: Duration = Duration::from_secs(1);

impl fmt::Debug for ActorSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorSystem({}, {} actors)", self.shared.root, self.actors())
    }
}

impl Shared {
    pub(crate) fn next_id(&self) -> ActorId {
        // Of all systems: actors of one watch those of another.
        static LAST: AtomicU64 = AtomicU64::new(0);
        ActorId(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// From 0.0 to 1.0.
    pub(crate) fn chance(&self, id: ActorId, now: tokio::time::Instant) -> f64 {
        let bits = u32::try_from(self.hasher.hash_one((id, now)) >> 32).unwrap_or_default();
        f64::from(bits) / f64::from(u32::MAX)
    }

    pub(crate) fn dead_letter<M: 'static>(&self, recipient: &ActorPath, reason: DeadLetterReason) {
        self.undelivered(recipient.clone(), MessageType::of::<M>(), reason);
    }

    /// Where an entity stands.
    pub(crate) fn entity_path(&self, id: &PersistenceId) -> ActorPath {
        self.root.entity(id)
    }

    /// A command that was told to an entity and did not reach it.
    pub(crate) fn dead_command(&self, id: &PersistenceId, command: MessageType, reason: DeadLetterReason) {
        self.undelivered(self.entity_path(id), command, reason);
    }

    pub(crate) fn undelivered(&self, recipient: ActorPath, message: MessageType, reason: DeadLetterReason) {
        self.dead_letters.take(recipient, message, reason, &self.metrics, &self.events);
    }

    /// Makes an actor and lets it run; one without a parent is registered before.
    pub(crate) fn launch<A: Actor>(
        self: &Arc<Self>,
        path: ActorPath,
        props: Props<A>,
        parent: Option<Arc<dyn Watcher>>,
    ) -> Result<ActorRef<A::Message>, SpawnError> {
        let runtime = Handle::try_current().map_err(|_| SpawnError::NoRuntime)?;
        let of_entity = parent.as_ref().is_some_and(|parent| parent.is_of_entity());
        // Outside of the lock.
        let name_hash = if parent.is_none() { self.name_hash(&path) } else { 0 };
        let cell = Arc::new(Cell::new(path, props.plan.mailbox, Arc::clone(self), of_entity, name_hash));
        // Before others can find it: a shutdown waits for it from then on.
        self.running(of_entity).fetch_add(1, Ordering::Relaxed);
        if parent.is_none()
            && let Err(refused) = self.top().insert(Arc::clone(&cell) as Arc<dyn AnyCell>, &self.root)
        {
            self.runs_no_longer(of_entity);
            return Err(refused);
        }
        self.metrics.spawned.increment(1);
        self.metrics.running_actors.increment(1.0);
        let runner = Runner::new(Arc::clone(&cell), props, parent);
        runtime.spawn(runner.run());
        Ok(ActorRef { cell })
    }

    /// Frees the name of a top-level actor.
    pub(crate) fn forget(&self, id: ActorId, path: &ActorPath) {
        let forgotten = self.top().remove(id, self.name_hash(path));
        drop(forgotten);
    }

    /// Half of a hash: more than tables have places.
    fn name_hash(&self, path: &ActorPath) -> u32 {
        u32::try_from(self.hasher.hash_one(path) >> 32).unwrap_or_default()
    }

    pub(crate) fn runs_no_longer(&self, of_entity: bool) {
        if self.running(of_entity).fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none_runs.notify_waiters();
        }
    }

    fn running(&self, of_entity: bool) -> &AtomicUsize {
        if of_entity { &self.of_entities } else { &self.running }
    }

    async fn until_none_runs(&self) {
        loop {
            let none_runs = self.none_runs.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            none_runs.await;
        }
    }

    fn top(&self) -> MutexGuard<'_, Top> {
        // Whole at every point where its holder could panic.
        self.top.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Top {
    fn insert(&mut self, actor: Arc<dyn AnyCell>, root: &ActorPath) -> Result<(), SpawnError> {
        if self.stopping {
            return Err(SpawnError::Stopping { parent: root.clone() });
        }
        let hash = |actor: &Arc<dyn AnyCell>| spread(actor.name_hash());
        match self.actors.entry(hash(&actor), |other| other.path() == actor.path(), hash) {
            Entry::Occupied(_) => Err(SpawnError::NameTaken { path: actor.path().clone() }),
            Entry::Vacant(free) => {
                free.insert(actor);
                Ok(())
            }
        }
    }

    fn remove(&mut self, id: ActorId, name_hash: u32) -> Option<Arc<dyn AnyCell>> {
        let entry = self.actors.find_entry(spread(name_hash), |actor| actor.id() == id).ok()?;
        Some(entry.remove().0)
    }
}

/// The table looks at the lowest bits and at the highest.
fn spread(name_hash: u32) -> u64 {
    u64::from(name_hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
