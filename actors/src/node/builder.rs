use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_journal::{
    GroupCommit, GroupCommitSettings, Journal, JournalError, Readers, WriterId, next_epoch,
};
use annals_migrations::{DuplicateManifest, ManifestRegistry, Role, SchemaError, WrittenForms};
use annals_snapshot::SnapshotKeeper;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Node, Shared, Stores};
use crate::caretaker::take_care;
use crate::entities::Entities;
use crate::environment::{Clock, Environment, Ids};
use crate::plain::ActorSystem;
use crate::telemetry::ActorMetrics;
use crate::{CommandList, Kind, PersistentActor};

/// Wires a [`Node`].
pub struct NodeBuilder {
    name: String,
    kinds: Vec<Box<dyn Registration>>,
    max_recoveries: usize,
    recovery_timeout: Duration,
    ask_timeout: Duration,
    commits: GroupCommitSettings,
    environment: Environment,
    system: Option<ActorSystem>,
    actors_stop_within: Duration,
    entities_stop_within: Duration,
    after_stop: Option<BoxFuture<'static, ()>>,
    written: Arc<WrittenForms>,
}

impl NodeBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            kinds: Vec::new(),
            max_recoveries: 50,
            recovery_timeout: Duration::from_secs(30),
            ask_timeout: Duration::from_secs(10),
            commits: GroupCommitSettings::default(),
            environment: Environment::default(),
            system: None,
            actors_stop_within: Duration::from_secs(10),
            entities_stop_within: Duration::from_secs(10),
            after_stop: None,
            written: Arc::default(),
        }
    }

    /// Registers a kind with its defaults.
    #[must_use]
    pub fn entity<A: PersistentActor>(self) -> Self {
        self.kind(Kind::<A>::new())
    }

    /// Registers a kind.
    #[must_use]
    pub fn kind<A: PersistentActor>(mut self, kind: Kind<A>) -> Self {
        self.kinds.push(Box::new(kind));
        self
    }

    /// How many entities may recover at once; default 50. Others wait their turn.
    #[must_use]
    pub fn max_recoveries(mut self, recoveries: usize) -> Self {
        self.max_recoveries = recoveries.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long a recovery waits for the next answer of journal or snapshot store; default 30 s.
    #[must_use]
    pub fn recovery_timeout(mut self, limit: Duration) -> Self {
        self.recovery_timeout = limit;
        self
    }

    /// How long an ask waits that says nothing else; default 10 s.
    #[must_use]
    pub fn ask_timeout(mut self, limit: Duration) -> Self {
        self.ask_timeout = limit;
        self
    }

    /// How large a commit may become.
    #[must_use]
    pub fn group_commit(mut self, settings: GroupCommitSettings) -> Self {
        self.commits = settings;
        self
    }

    /// Takes over a system of plain actors, so that kinds can be given references to its actors as services; default: a new one
    /// with the node's name. It stops with the node.
    #[must_use]
    pub fn system(mut self, system: ActorSystem) -> Self {
        self.system = Some(system);
        self
    }

    /// How long plain actors may take to stop when the node does; default 10 s. Those that take longer are aborted.
    #[must_use]
    pub fn actors_stop_within(mut self, limit: Duration) -> Self {
        self.actors_stop_within = limit;
        self
    }

    /// How long entities may carry out the commands that wait for them when the node stops, or when one
    /// [is stopped](crate::EntityRef::stop); default 10 s. Those that wait longer are refused with
    /// [`Failure::Stopping`](crate::Failure::Stopping).
    #[must_use]
    pub fn entities_stop_within(mut self, limit: Duration) -> Self {
        self.entities_stop_within = limit;
        self
    }

    /// Has something done when [`Node::shutdown`] has stopped all else, such as closing the stores; for at most 10 s, after which the log has a
    /// warning. It is never polled before, nor when the node is only dropped.
    #[must_use]
    pub fn after_stop(mut self, close: impl Future<Output = ()> + Send + 'static) -> Self {
        self.after_stop = Some(Box::pin(close));
        self
    }

    /// In which forms events and snapshots are written, for as long as builds run that do not read today's; shared, so that it can be
    /// changed while the node runs. Default: all in today's form.
    ///
    /// What is written in an older form is applied to live state as reading it back gives it, so that replay gives the same.
    #[must_use]
    pub fn written_forms(mut self, forms: Arc<WrittenForms>) -> Self {
        self.written = forms;
        self
    }

    /// Takes the time from elsewhere, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.environment.clock = clock;
        self
    }

    /// Takes ids from elsewhere, for tests.
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.environment.ids = ids;
        self
    }

    /// Checks the registrations, takes an epoch, and starts.
    ///
    /// # Errors
    /// [`StartError`] when a kind is registered twice, two types would be stored under one manifest, a declared service is
    /// missing, or the journal cannot be asked for an epoch.
    pub async fn start(self, stores: Stores) -> Result<Node, StartError> {
        check(&self.kinds)?;
        let epoch = next_epoch(&*stores.records).await.map_err(StartError::Journal)?;
        let commits = GroupCommit::new(stores.journal, self.commits);
        let journal: Arc<dyn Journal> = Arc::new(commits.clone());
        let readers = Readers::new(Arc::clone(&stores.records));
        let keeper = SnapshotKeeper::new(stores.snapshots, Arc::clone(&journal), readers);
        let shared = Arc::new(Shared {
            epoch,
            writer: WriterId::random(),
            activations: Arc::default(),
            journal,
            records: stores.records,
            snapshots: Arc::new(keeper),
            written: self.written,
            recoveries: Arc::new(Semaphore::new(self.max_recoveries)),
            recovery_timeout: self.recovery_timeout,
            ask_timeout: self.ask_timeout,
            environment: self.environment,
            metrics: ActorMetrics::new(),
            stop: CancellationToken::new(),
            refuses_commands: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            system: self.system.unwrap_or_else(|| ActorSystem::new(&self.name)),
            actors_stop_within: self.actors_stop_within,
            entities_stop_within: self.entities_stop_within,
            after_stop: Mutex::new(self.after_stop),
            commits,
            stopping: AtomicBool::new(false),
            stopped: CancellationToken::new(),
            name: self.name,
        });
        let mut kinds = HashMap::new();
        for kind in self.kinds {
            let (id, entities) = kind.open(Arc::clone(&shared))?;
            kinds.insert(id, entities);
        }
        tracing::info!(node = shared.name, %epoch, writer = %shared.writer, kinds = kinds.len(), "node started");
        Ok(Node { shared, kinds: Arc::new(kinds) })
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("name", &self.name)
            .field("max_recoveries", &self.max_recoveries)
            .field("recovery_timeout", &self.recovery_timeout)
            .field("ask_timeout", &self.ask_timeout)
            .field("actors_stop_within", &self.actors_stop_within)
            .field("entities_stop_within", &self.entities_stop_within)
            .field("group_commit", &self.commits)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two registrations have one kind.
    #[error("kind {kind:?} is registered twice: give each PersistentActor a KIND of its own")]
    DuplicateKind {
        /// The kind.
        kind: &'static str,
    },
    /// A service is declared and not given.
    #[error("kind {kind:?} needs {service}: give it with `Kind::new().service(…)`")]
    MissingService {
        /// The kind.
        kind: &'static str,
        /// The service's type.
        service: &'static str,
    },
    /// Two types would be stored under one name.
    #[error(transparent)]
    DuplicateManifest(#[from] DuplicateManifest),
    /// A type says something about its stored form that cannot be.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The journal did not hand out an epoch.
    #[error("the journal did not hand out an epoch")]
    Journal(#[source] JournalError),
}

/// A kind without its type, until the node starts.
trait Registration: Send {
    fn kind(&self) -> &'static str;
    fn missing_services(&self) -> Vec<&'static str>;
    fn register(&self, registry: &mut ManifestRegistry) -> Result<(), StartError>;
    fn open(self: Box<Self>, node: Arc<Shared>) -> Result<(TypeId, Box<dyn Any + Send + Sync>), StartError>;
}

impl<A: PersistentActor> Registration for Kind<A> {
    fn kind(&self) -> &'static str {
        A::KIND
    }

    fn missing_services(&self) -> Vec<&'static str> {
        Kind::missing_services(self)
    }

    fn register(&self, registry: &mut ManifestRegistry) -> Result<(), StartError> {
        for (role, versions) in [
            (Role::Event, self.adapter()?.versions()),
            (Role::Command, A::Commands::versions(A::KIND)?),
            (Role::State, Self::states()?.versions()),
        ] {
            let manifests = versions.into_iter().map(|of| (of.manifest, *of.reads.end()));
            registry.register(A::KIND, role, manifests)?;
        }
        Ok(())
    }

    fn open(self: Box<Self>, node: Arc<Shared>) -> Result<(TypeId, Box<dyn Any + Send + Sync>), StartError> {
        let entities = Entities::open(*self, Arc::clone(&node))?;
        node.tasks.spawn(take_care(Arc::downgrade(&entities)));
        Ok((TypeId::of::<A>(), Box::new(entities)))
    }
}

/// Finds what is wrong with the registrations before anything starts.
fn check(kinds: &[Box<dyn Registration>]) -> Result<(), StartError> {
    let mut registry = ManifestRegistry::new();
    for (at, kind) in kinds.iter().enumerate() {
        let name = kind.kind();
        if kinds[..at].iter().any(|earlier| earlier.kind() == name) {
            return Err(StartError::DuplicateKind { kind: name });
        }
        if let Some(service) = kind.missing_services().first() {
            return Err(StartError::MissingService { kind: name, service });
        }
        kind.register(&mut registry)?;
    }
    Ok(())
}
