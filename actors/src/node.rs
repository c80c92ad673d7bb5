mod builder;
mod stop_stage;

pub use builder::{NodeBuilder, StartError};
pub use stop_stage::StopStage;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use annals_journal::{Epoch, GroupCommit, Journal, Manifest, PersistenceId, Records, WriterId};
use annals_migrations::{EventAdapter, Form, Permission, UnreadableStored, Written, WrittenForms};
use annals_snapshot::{SnapshotKeeper, SnapshotStore};
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::delivery::Delivery;
use crate::entities::Entities;
use crate::entity::Activations;
use crate::environment::Environment;
use crate::patience::Patience;
use crate::plain::{self, ActorSystem, MessageType};
use crate::telemetry::ActorMetrics;
use crate::versions::Clearance;
use crate::{EntityRef, Failure, PersistentActor};

/// Where a node keeps what must last.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Events. The node puts its own group commit in front.
    pub journal: Arc<dyn Journal>,
    /// Epochs, registered readers, offsets.
    pub records: Arc<dyn Records>,
    /// Snapshots.
    pub snapshots: Arc<dyn SnapshotStore>,
}

/// A running node: the entities of its registered kinds on one journal, and plain actors beside them. Cheap to clone.
///
/// End it with [`Node::shutdown`]. One that is only dropped goes on for those who hold an [`EntityRef`], and until its entities are
/// idle.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    kinds: Arc<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

/// What all entities of a node share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) epoch: Epoch,
    pub(crate) writer: WriterId,
    pub(crate) activations: Arc<Activations>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) snapshots: Arc<SnapshotKeeper>,
    pub(crate) written: Arc<WrittenForms>,
    pub(crate) clearance: Clearance,
    /// What it can write, by manifest: the kind, and today's form.
    pub(crate) writable: BTreeMap<Manifest, (&'static str, Form)>,
    pub(crate) claims: Arc<Semaphore>,
    pub(crate) recoveries: Arc<Semaphore>,
    pub(crate) recovery_timeout: Duration,
    pub(crate) ask_timeout: Duration,
    pub(crate) environment: Environment,
    pub(crate) metrics: ActorMetrics,
    /// Tells caretakers that the node stops; [`Shared::refuses_commands`] is cheaper to ask.
    pub(crate) stop: CancellationToken,
    refuses_commands: AtomicBool,
    pub(crate) tasks: TaskTracker,
    system: ActorSystem,
    actors_stop_within: Duration,
    pub(crate) entities_stop_within: Duration,
    /// Taken by the one that stops the node.
    after_stop: Mutex<Option<BoxFuture<'static, ()>>>,
    commits: GroupCommit,
    /// Someone has begun to stop the node.
    stopping: AtomicBool,
    /// How far it shall stop, and how far it has.
    stop_goal: watch::Sender<Option<StopStage>>,
    stop_reached: watch::Sender<Option<StopStage>>,
    stopped: CancellationToken,
    /// Why it could not go on.
    unreadable: OnceLock<UnreadableStored>,
}

impl Node {
    /// A builder for a node with this name, which stands in its logs.
    pub fn builder(name: impl Into<String>) -> NodeBuilder {
        NodeBuilder::new(name.into())
    }

    /// Reaches the entity of a kind with an id, in memory or not.
    ///
    /// It never fails here: when the kind is not registered, or the id breaks the rules for persistence ids, each ask
    /// fails with [`Failure::NotRegistered`] or [`Failure::InvalidId`].
    pub fn entity<A: PersistentActor>(&self, entity_id: &str) -> EntityRef<A> {
        let Some(entities) =
            self.kinds.get(&TypeId::of::<A>()).and_then(|kind| kind.downcast_ref::<Arc<Entities<A>>>())
        else {
            return EntityRef::nowhere(Failure::NotRegistered { kind: A::KIND });
        };
        match PersistenceId::new(A::KIND, entity_id) {
            Ok(id) => EntityRef::new(id, Arc::clone(entities)),
            Err(invalid) => EntityRef::nowhere(Failure::InvalidId(invalid)),
        }
    }

    /// The entities of a registered kind, for the test kit.
    #[cfg(feature = "testing")]
    pub(crate) fn entities<A: PersistentActor>(&self) -> Option<&Arc<Entities<A>>> {
        self.kinds.get(&TypeId::of::<A>())?.downcast_ref()
    }

    /// Refuses commands from now on, as a process that is gone does.
    #[cfg(feature = "testing")]
    pub(crate) fn is_gone(&self) {
        self.shared.refuse_commands();
    }

    /// In which form everything that this node can write is written now, by what it saw at its last look at who reads what; in the order
    /// of the manifests.
    pub fn written_forms(&self) -> Vec<WrittenForm> {
        let now = self.shared.environment.clock.now();
        let of = |(manifest, (kind, today)): (&Manifest, &(&'static str, Form))| {
            let Permission { written, ask } = self.shared.written.of(manifest, now);
            let form = match written {
                Written::Today => Ok(today.clone()),
                Written::As(form) => Ok(form),
                Written::Refused(reason) => Err(reason),
            };
            WrittenForm { kind, manifest: manifest.clone(), form, ask }
        };
        self.shared.writable.iter().map(of).collect()
    }

    /// How the events of a registered kind become types: as its entities read them. For whoever reads the journal beside them.
    pub fn event_adapter<A: PersistentActor>(&self) -> Option<Arc<dyn EventAdapter<A::Event>>> {
        let entities = self.kinds.get(&TypeId::of::<A>())?.downcast_ref::<Arc<Entities<A>>>()?;
        Some(entities.event_adapter())
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The epoch that this start of the node took from the journal's counter.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The journal, with the node's group commit in front.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
    }

    /// The named records beside the journal.
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.shared.records
    }

    /// The snapshot store.
    pub fn snapshots(&self) -> &Arc<dyn SnapshotStore> {
        self.shared.snapshots.store()
    }

    /// The plain actors of this node, which stop with it; they and its entities share dead letters and event stream.
    pub fn system(&self) -> &ActorSystem {
        &self.shared.system
    }

    /// Stops, in this order:
    ///
    /// 1. The plain actors of its [system](Self::system) handle what waits in their mailboxes and stop, within
    ///    [a time](NodeBuilder::actors_stop_within). Entities are still there for them, and answer.
    /// 2. The entities refuse new commands, carry out those that wait in their mailboxes, within
    ///    [a time](NodeBuilder::entities_stop_within), answer the rest with [`Failure::Stopping`], and take the snapshots that policies
    ///    want at a stop. What their side effects now tell plain actors is a dead letter.
    /// 3. All is on disk; the stores that the node itself has opened, by a URL, are closed, for at most 10 s; and it returns.
    ///
    /// It waits as long as the journal takes to answer the commits on their way, and for queued side effects, each up to its
    /// kind's work limit: put a time limit around it (`tokio::time::timeout`) where the process must end. What is cut off then is
    /// as after a crash: every acknowledged event is there.
    ///
    /// # Cancel safety
    /// Stopping goes on when the future is dropped; call again to wait.
    pub async fn shutdown(&self) {
        self.stop_through(StopStage::Closed).await;
    }

    /// Stops as [`Node::shutdown`] does, up to a stage and no further, for whoever stops more than this node in an order of its own. What
    /// comes before is done first. Ask for [`StopStage::Closed`] in the end.
    ///
    /// # Cancel safety
    /// Stopping goes on when the future is dropped; call again to wait.
    pub async fn stop_through(&self, stage: StopStage) {
        self.shared.begin_to_stop(stage);
        let mut reached = self.shared.stop_reached.subscribe();
        tokio::select! {
            _ = reached.wait_for(|reached| *reached >= Some(stage)) => {}
            // Whatever happened on the way.
            () = self.shared.stopped.cancelled() => {}
        }
    }

    /// Waits until the node has stopped, by [`Node::shutdown`] or because it could not go on.
    ///
    /// # Errors
    /// [`UnreadableStored`]: the process was away for longer than its [lease](NodeBuilder::lease), others went on without it and have
    /// stored versions that this build does not read. Start a newer build.
    pub async fn stopped(&self) -> Result<(), UnreadableStored> {
        self.shared.stopped.cancelled().await;
        self.shared.unreadable.get().map_or(Ok(()), |unreadable| Err(unreadable.clone()))
    }
}

/// In which form an event, a state or a command is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenForm {
    /// The kind of its entities.
    pub kind: &'static str,
    /// What it is today.
    pub manifest: Manifest,
    /// The form; or why it is written in none.
    pub form: Result<Form, String>,
    /// The form was not written by this node yet: others are asked when it is.
    pub ask: bool,
}

/// How long closing the stores may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

impl Shared {
    /// Refuses commands from now on, and has the entities stop.
    fn refuse_commands(&self) {
        self.refuses_commands.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }

    /// What plain actors of the node share.
    pub(crate) fn system(&self) -> &Arc<plain::Shared> {
        &self.system.shared
    }

    /// Reminds those who wait long for an answer.
    pub(crate) fn patience(&self) -> &Patience {
        &self.system.shared.patience
    }

    pub(crate) fn refuses_commands(&self) -> bool {
        self.refuses_commands.load(Ordering::Relaxed)
    }

    fn begin_to_stop(self: &Arc<Self>, stage: StopStage) {
        self.stop_goal.send_if_modified(|goal| {
            let further = *goal < Some(stage);
            *goal = (*goal).max(Some(stage));
            further
        });
        if !self.stopping.swap(true, Ordering::SeqCst) {
            // In a task of its own, so that the order holds when nobody waits any more. The guard tells who does, whatever happens.
            let (shared, done) = (Arc::clone(self), self.stopped.clone().drop_guard());
            tokio::spawn(async move {
                let mut goal = shared.stop_goal.subscribe();
                for stage in StopStage::ALL {
                    // The sender is in `shared`.
                    let _ = goal.wait_for(|goal| *goal >= Some(stage)).await;
                    shared.stop(stage).await;
                    shared.stop_reached.send_replace(Some(stage));
                }
                tracing::info!(node = shared.name, "node stopped");
                drop(done);
            });
        }
    }

    /// Stops a node that does not read what is stored.
    pub(crate) fn stop_because(self: &Arc<Self>, unreadable: UnreadableStored) {
        // A second reason adds nothing.
        let _ = self.unreadable.set(unreadable);
        self.refuse_commands();
        self.begin_to_stop(StopStage::Closed);
    }

    async fn stop(&self, stage: StopStage) {
        match stage {
            StopStage::Actors => {
                if let Err(late) = self.system.shutdown(self.actors_stop_within).await {
                    tracing::warn!(node = self.name, %late, "plain actors did not stop in time: the node stops without them");
                }
            }
            StopStage::Entities => {
                self.refuse_commands();
                self.tasks.close();
                self.tasks.wait().await;
            }
            StopStage::Flushed => self.commits.shutdown().await,
            StopStage::Left => {
                if timeout(CLOSE_LIMIT, self.clearance.leave()).await.is_err() {
                    tracing::warn!(node = self.name, limit = ?CLOSE_LIMIT, "the journal did not remove the node's registration in time: others count it until its lease ends");
                }
            }
            StopStage::Closed => {
                let after_stop = self.after_stop.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(after_stop) = after_stop
                    && timeout(CLOSE_LIMIT, after_stop).await.is_err()
                {
                    tracing::warn!(node = self.name, limit = ?CLOSE_LIMIT, "the stores were not closed in time: they are left as by a crash");
                }
            }
        }
    }

    /// Answers a command that was certainly not carried out. When nobody waits for the answer, it is a dead letter.
    pub(crate) fn fail<A: PersistentActor>(
        &self,
        id: &PersistenceId,
        delivery: Box<dyn Delivery<A>>,
        failure: Failure,
    ) {
        self.metrics.failures.increment(1);
        if let Some(command) = delivery.told() {
            self.dead_letter(id, command, &failure);
        }
        delivery.fail(failure);
    }

    /// A command that was told did not reach its handler.
    pub(crate) fn dead_letter(&self, id: &PersistenceId, command: MessageType, failure: &Failure) {
        if let Some(reason) = failure.undelivered() {
            self.system.shared.dead_command(id, command, reason);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.shared.name)
            .field("epoch", &self.shared.epoch)
            .field("journal", &self.shared.journal)
            .finish_non_exhaustive()
    }
}
