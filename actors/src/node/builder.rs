use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use annals_journal::{
    GroupCommit, GroupCommitSettings, InvalidName, Journal, JournalError, Manifest, Readers, WriterId,
    is_encrypted, next_epoch,
};
use annals_migrations::rewrite::Rewriter;
use annals_migrations::{
    Announcement, DEFAULT_LEASE, DuplicateManifest, ManifestRegistry, MemberError, Role, SchemaError,
    UnreadableStored, Versions,
};
use annals_snapshot::SnapshotKeeper;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Node, Shared, Stores};
use crate::caretaker::take_care;
use crate::entities::Entities;
use crate::environment::{Clock, Environment, Ids};
use crate::plain::ActorSystem;
use crate::telemetry::ActorMetrics;
use crate::versions::{Clearance, Keeper, Kept};
use crate::{CommandList, Kind, PersistentActor};

/// Puts a journal around the node's.
type Layer =
    Box<dyn FnOnce(Arc<dyn Journal>) -> BoxFuture<'static, Result<Arc<dyn Journal>, JournalError>> + Send>;

/// Wires a [`Node`].
pub struct NodeBuilder {
    name: String,
    kinds: Vec<Box<dyn Registration>>,
    max_claims: usize,
    max_recoveries: usize,
    recovery_timeout: Duration,
    ask_timeout: Duration,
    commits: GroupCommitSettings,
    layer: Option<Layer>,
    environment: Environment,
    system: Option<ActorSystem>,
    actors_stop_within: Duration,
    entities_stop_within: Duration,
    after_stop: Option<BoxFuture<'static, ()>>,
    holds: Vec<(String, u32)>,
    allow_unreadable: Vec<String>,
    lease: Duration,
}

impl NodeBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            kinds: Vec::new(),
            max_claims: 256,
            max_recoveries: 50,
            recovery_timeout: Duration::from_secs(30),
            ask_timeout: Duration::from_secs(10),
            commits: GroupCommitSettings::default(),
            layer: None,
            environment: Environment::default(),
            system: None,
            actors_stop_within: Duration::from_secs(10),
            entities_stop_within: Duration::from_secs(10),
            after_stop: None,
            holds: Vec::new(),
            allow_unreadable: Vec::new(),
            lease: DEFAULT_LEASE,
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

    /// How many entities may claim their ids at once, which is how a recovery begins; default 256. Others wait their turn. Claims
    /// that wait together share a commit.
    #[must_use]
    pub fn max_claims(mut self, claims: usize) -> Self {
        self.max_claims = claims.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many entities that have claimed may recover at once; default 50. Others wait their turn.
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

    /// Puts a journal around the node's group commit, such as one that seals: what it does is done in each caller's task, and the
    /// writer only writes.
    #[must_use]
    pub fn journal_layer<F>(mut self, layer: impl FnOnce(Arc<dyn Journal>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Arc<dyn Journal>, JournalError>> + Send + 'static,
    {
        self.layer = Some(Box::new(move |journal| Box::pin(layer(journal))));
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

    /// Makes the two times before as long as these at most, for whoever stops the node within deadlines of its own.
    #[must_use]
    pub fn stop_within_at_most(mut self, actors: Duration, entities: Duration) -> Self {
        self.actors_stop_within = self.actors_stop_within.min(actors);
        self.entities_stop_within = self.entities_stop_within.min(entities);
        self
    }

    /// Has something done when [`Node::shutdown`] has stopped all else, such as closing the stores; for at most 10 s, after which the log has a
    /// warning. It is never polled before, nor when the node is only dropped.
    #[must_use]
    pub fn after_stop(mut self, close: impl Future<Output = ()> + Send + 'static) -> Self {
        self.after_stop = Some(Box::pin(close));
        self
    }

    /// Has nobody who uses the journal write a manifest (as `account.withdrawn`; a state is `account.state`) above a version, as long as
    /// this node runs; 0: not at all. Default: none. A deploy can so be watched while going back is still free; `annals schema hold` does
    /// the same for the journal, whoever runs.
    ///
    /// What is written in an older form is applied to live state as reading it back gives it, so that replay gives the same.
    #[must_use]
    pub fn hold(mut self, manifest: impl Into<String>, version: u32) -> Self {
        self.holds.push((manifest.into(), version));
        self
    }

    /// Starts although versions of this manifest may be stored that this build does not read, and lets others write them. Entities that
    /// hold such events fail with [`RecoveryError::Event`](crate::RecoveryError::Event), the others are served. Default: none.
    #[must_use]
    pub fn allow_unreadable(mut self, manifest: impl Into<String>) -> Self {
        self.allow_unreadable.push(manifest.into());
        self
    }

    /// How long others count on this node after it has vanished without a stop, at least 100 ms; default 30 s. As long they write nothing
    /// that it could not read.
    ///
    /// It is renewed three times as often. A node that is away for longer writes nothing before it has registered again; when others have
    /// stored meanwhile what it does not read, it stops, see [`Node::stopped`].
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
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

    /// What rewrites the events and snapshots of the kinds that are registered: for an application's own `migrate rewrite`. Needs none of
    /// their services.
    ///
    /// # Errors
    /// [`StartError`], as [`NodeBuilder::start`] finds it in the registrations.
    pub fn rewriter(&self) -> Result<Rewriter, StartError> {
        check_names(&self.kinds)?;
        self.kinds.iter().try_fold(Rewriter::new(), |rewriter, kind| kind.rewrite(rewriter))
    }

    /// Checks the registrations, takes an epoch, registers with all others that use the journal, and starts.
    ///
    /// # Errors
    /// [`StartError`] when a kind is registered twice, two types would be stored under one manifest, a declared service is
    /// missing, the journal cannot be asked for an epoch, or versions are stored that this build does not read.
    pub async fn start(self, stores: Stores) -> Result<Node, StartError> {
        check(&self.kinds)?;
        let (announcement, kept) = self.announcement()?;
        // A journal that keeps no marks for others seals, or never had a sealed event.
        if self.layer.is_none()
            && stores.journal.limits().marks
            && is_encrypted(&*stores.records).await.map_err(StartError::Journal)?
        {
            return Err(StartError::Encrypted);
        }
        let commits = GroupCommit::new(stores.journal, self.commits);
        let journal: Arc<dyn Journal> = match self.layer {
            None => Arc::new(commits.clone()),
            Some(layer) => layer(Arc::new(commits.clone())).await.map_err(StartError::Layer)?,
        };
        let epoch = next_epoch(&*stores.records).await.map_err(StartError::Journal)?;
        let writer = WriterId::random();
        let today = |(manifest, kept): (&Manifest, &Kept)| {
            Some((manifest.clone(), (kept.kind, kept.versions.writes.first()?.clone())))
        };
        let writable = kept.iter().filter_map(today).collect();
        let versions = Keeper::register(
            Arc::clone(&stores.records),
            writer,
            announcement,
            kept,
            self.lease,
            Arc::clone(&self.environment.clock),
        )
        .await
        .map_err(StartError::of_versions)?;
        let (clearance, asked) = Clearance::new();
        let readers = Readers::new(Arc::clone(&stores.records));
        let keeper = SnapshotKeeper::new(stores.snapshots, Arc::clone(&journal), readers);
        let shared = Arc::new(Shared {
            epoch,
            writer,
            activations: Arc::default(),
            journal,
            records: stores.records,
            snapshots: Arc::new(keeper),
            written: Arc::clone(versions.forms()),
            clearance,
            writable,
            claims: Arc::new(Semaphore::new(self.max_claims)),
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
            stop_goal: watch::Sender::new(None),
            stop_reached: watch::Sender::new(None),
            stopped: CancellationToken::new(),
            unreadable: OnceLock::new(),
            name: self.name,
        });
        let mut kinds = HashMap::new();
        for kind in self.kinds {
            match kind.open(Arc::clone(&shared)) {
                Ok((id, entities)) => _ = kinds.insert(id, entities),
                Err(error) => {
                    versions.leave().await;
                    return Err(error);
                }
            }
        }
        tokio::spawn(versions.run(asked, Arc::downgrade(&shared)));
        tracing::info!(node = shared.name, %epoch, writer = %shared.writer, kinds = kinds.len(), "node started");
        Ok(Node { shared, kinds: Arc::new(kinds) })
    }

    /// What this build reads and holds, and what it can write.
    fn announcement(&self) -> Result<(Announcement, BTreeMap<Manifest, Kept>), StartError> {
        let mut announcement = Announcement::new(self.name.clone());
        let mut kept = BTreeMap::new();
        for kind in &self.kinds {
            for (role, versions) in kind.versions()? {
                announcement.hosts(kind.kind(), &versions);
                for versions in versions.into_iter().filter(|of| !of.writes.is_empty()) {
                    let (manifest, kind) = (versions.manifest.clone(), kind.kind());
                    kept.insert(manifest, Kept { kind, role, versions, said: None });
                }
            }
        }
        let manifest = |name: &str| Manifest::new(name).map_err(StartError::Manifest);
        for (name, version) in &self.holds {
            announcement.hold(manifest(name)?, *version);
        }
        for name in &self.allow_unreadable {
            announcement.allow_unreadable(&manifest(name)?);
        }
        Ok((announcement, kept))
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("name", &self.name)
            .field("max_claims", &self.max_claims)
            .field("max_recoveries", &self.max_recoveries)
            .field("recovery_timeout", &self.recovery_timeout)
            .field("ask_timeout", &self.ask_timeout)
            .field("actors_stop_within", &self.actors_stop_within)
            .field("entities_stop_within", &self.entities_stop_within)
            .field("holds", &self.holds)
            .field("allow_unreadable", &self.allow_unreadable)
            .field("lease", &self.lease)
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
    /// A hold, or `allow_unreadable`, is about what cannot be a manifest.
    #[error("no manifest can be called so: {0}")]
    Manifest(#[source] InvalidName),
    /// Versions are stored that this build does not read.
    #[error(transparent)]
    Unreadable(UnreadableStored),
    /// The journal's records do not answer who reads what.
    #[error("the node cannot be registered")]
    Versions(#[source] MemberError),
    /// The journal did not hand out an epoch.
    #[error("the journal did not hand out an epoch")]
    Journal(#[source] JournalError),
    /// The journal is encrypted, and the node has no keys.
    #[error(
        "the journal is encrypted and this node has no keys: give it the ring with `.keys(\"file:ring.json\")`, so that it does not write in the clear"
    )]
    Encrypted,
    /// The journal around the node's own does not open.
    #[error("the journal's layer does not open")]
    Layer(#[source] JournalError),
}

impl StartError {
    fn of_versions(error: MemberError) -> Self {
        match error {
            MemberError::Unreadable(unreadable) => Self::Unreadable(unreadable),
            other => Self::Versions(other),
        }
    }
}

/// A kind without its type, until the node starts.
trait Registration: Send {
    fn kind(&self) -> &'static str;
    fn missing_services(&self) -> Vec<&'static str>;
    /// What it reads and writes.
    fn versions(&self) -> Result<[(Role, Vec<Versions>); 3], StartError>;
    fn register(&self, registry: &mut ManifestRegistry) -> Result<(), StartError>;
    fn rewrite(&self, rewriter: Rewriter) -> Result<Rewriter, StartError>;
    fn open(self: Box<Self>, node: Arc<Shared>) -> Result<(TypeId, Box<dyn Any + Send + Sync>), StartError>;
}

impl<A: PersistentActor> Registration for Kind<A> {
    fn kind(&self) -> &'static str {
        A::KIND
    }

    fn missing_services(&self) -> Vec<&'static str> {
        Kind::missing_services(self)
    }

    fn versions(&self) -> Result<[(Role, Vec<Versions>); 3], StartError> {
        Ok([
            (Role::Event, self.adapter()?.versions()),
            (Role::Command, A::Commands::versions(A::KIND)?),
            // Where the events are the states there are no snapshots.
            (Role::State, if A::REPLACES_STATE { Vec::new() } else { Self::states()?.versions() }),
        ])
    }

    fn register(&self, registry: &mut ManifestRegistry) -> Result<(), StartError> {
        for (role, versions) in Registration::versions(self)? {
            let manifests = versions.into_iter().map(|of| (of.manifest, *of.reads.end()));
            registry.register(A::KIND, role, manifests)?;
        }
        Ok(())
    }

    fn rewrite(&self, rewriter: Rewriter) -> Result<Rewriter, StartError> {
        Ok(rewriter.kind(A::KIND, self.adapter()?, Self::states()?))
    }

    fn open(self: Box<Self>, node: Arc<Shared>) -> Result<(TypeId, Box<dyn Any + Send + Sync>), StartError> {
        let entities = Entities::open(*self, Arc::clone(&node))?;
        node.tasks.spawn(take_care(Arc::downgrade(&entities)));
        Ok((TypeId::of::<A>(), Box::new(entities)))
    }
}

/// Finds what is wrong with the registrations before anything starts.
fn check(kinds: &[Box<dyn Registration>]) -> Result<(), StartError> {
    check_names(kinds)?;
    for kind in kinds {
        if let Some(service) = kind.missing_services().first() {
            return Err(StartError::MissingService { kind: kind.kind(), service });
        }
    }
    Ok(())
}

/// Finds what cannot be stored beside each other.
fn check_names(kinds: &[Box<dyn Registration>]) -> Result<(), StartError> {
    let mut registry = ManifestRegistry::new();
    for (at, kind) in kinds.iter().enumerate() {
        let name = kind.kind();
        if kinds[..at].iter().any(|earlier| earlier.kind() == name) {
            return Err(StartError::DuplicateKind { kind: name });
        }
        kind.register(&mut registry)?;
    }
    Ok(())
}
