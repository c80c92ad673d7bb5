use std::fmt;
use std::time::Duration;

use annals_actors::plain::ActorSystem;
use annals_actors::{Kind, Node, NodeBuilder, PersistentActor, Stores};
use annals_journal::{GroupCommitSettings, OpenJournal, OpenJournalError};
use annals_migrations::rewrite::Rewriter;
use annals_snapshot::OpenStoreError;
#[cfg(feature = "encryption")]
use {
    annals_journal::PersistenceId,
    annals_journal::encryption::{InvalidKeySource, KeyScope, KeysError, MasterKeys, ScopeOf},
    std::sync::Arc,
};

use crate::keys::{Keys, OpenKeys};
#[cfg(feature = "shutdown")]
use crate::shutdown::{CoordinatedShutdown, TooLate, limited, take_part};

/// The door: `Annals::builder("bank").journal("sqlite://bank.db").entity::<Account>().start().await`.
#[derive(Debug)]
pub struct Annals;

impl Annals {
    /// Begins to wire a node with this name, which stands in its logs.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder {
            journal: Choice::None,
            node: Node::builder(name),
            keys: Keys::default(),
            #[cfg(feature = "shutdown")]
            shutdown: None,
        }
    }
}

/// Wires a node: a journal, the kinds of its entities, settings.
#[must_use = "a node starts with `.start().await`"]
pub struct Builder {
    journal: Choice,
    node: NodeBuilder,
    keys: Keys,
    #[cfg(feature = "shutdown")]
    shutdown: Option<CoordinatedShutdown>,
}

enum Choice {
    None,
    Url(String),
    Open(OpenJournal),
    Stores(Stores),
}

impl Builder {
    /// Chooses journal and snapshot store by a URL: `sqlite://path`, `postgres://host/database` (feature `postgres`), `cassandra://host/keyspace` (feature `cassandra`) or `memory:`. [`Node::shutdown`] closes them, so that a SQLite file is
    /// whole without its write-ahead log.
    pub fn journal(mut self, url: impl Into<String>) -> Self {
        self.journal = Choice::Url(url.into());
        self
    }

    /// Takes a journal that [`annals_journal::open`] gave, for whoever keeps views in its database, too; [`Node::shutdown`] closes it.
    pub fn open_journal(mut self, journal: OpenJournal) -> Self {
        self.journal = Choice::Open(journal);
        self
    }

    /// Takes stores of your own.
    pub fn stores(mut self, stores: Stores) -> Self {
        self.journal = Choice::Stores(stores);
        self
    }

    /// Seals all events and snapshots, with master keys from `file:PATH`, `env:NAME` or `passphrase:env:NAME`. May be said several times: the
    /// first is the active one, the others open what theirs wrapped.
    ///
    /// A ring is made by `annals keys generate`. A key that is missing, or is another one than the journal knows, refuses the start; so
    /// does a journal that was encrypted, when nothing is said here. Where events lie in the clear, new ones are sealed from now on and old ones read as
    /// they are.
    pub fn keys(mut self, source: impl Into<String>) -> Self {
        self.keys.sources.push(source.into());
        self
    }

    /// The same with master keys of your own, such as those of a key management service.
    #[cfg(feature = "encryption")]
    pub fn master_keys(mut self, masters: Arc<dyn MasterKeys>) -> Self {
        self.keys.masters = Some(masters);
        self
    }

    /// Has every event and snapshot in the clear count as corrupt: for journals that were sealed from the beginning, or
    /// are whole now.
    #[cfg(feature = "encryption")]
    pub fn refuse_plaintext(mut self) -> Self {
        self.keys.refuse_plaintext = true;
        self
    }

    /// Says to which scope an id belongs, such as a tenant or a data subject, so that `annals keys erase --scope` erases all of its ids at once.
    /// `None`: to none. Asked when an id's first data key is made; after that the record of the key says it.
    ///
    /// ```
    /// # use annals::journal::encryption::KeyScope;
    /// // `account|tenant-7/alice` belongs to `tenant-7`.
    /// let builder = annals::Annals::builder("bank")
    ///     .keys("file:ring.json")
    ///     .key_scopes(|id| KeyScope::new(id.entity_id().split_once('/')?.0).ok());
    /// ```
    #[cfg(feature = "encryption")]
    pub fn key_scopes(
        mut self,
        of: impl Fn(&PersistenceId) -> Option<KeyScope> + Send + Sync + 'static,
    ) -> Self {
        self.keys.scopes = Some(ScopeOf::new(of));
        self
    }

    /// Registers a kind with its defaults.
    pub fn entity<A: PersistentActor>(mut self) -> Self {
        self.node = self.node.entity::<A>();
        self
    }

    /// Registers a kind.
    pub fn kind<A: PersistentActor>(mut self, kind: Kind<A>) -> Self {
        self.node = self.node.kind(kind);
        self
    }

    /// How many entities may recover at once; default 50.
    pub fn max_recoveries(mut self, recoveries: usize) -> Self {
        self.node = self.node.max_recoveries(recoveries);
        self
    }

    /// How long a recovery waits for the next answer of journal or snapshot store; default 30 s.
    pub fn recovery_timeout(mut self, limit: Duration) -> Self {
        self.node = self.node.recovery_timeout(limit);
        self
    }

    /// How long an ask waits that says nothing else; default 10 s.
    pub fn ask_timeout(mut self, limit: Duration) -> Self {
        self.node = self.node.ask_timeout(limit);
        self
    }

    /// Takes over a system of plain actors, so that kinds can be given references to its actors as services; default: a new one
    /// with the node's name. It stops with the node.
    pub fn system(mut self, system: ActorSystem) -> Self {
        self.node = self.node.system(system);
        self
    }

    /// How long plain actors may take to stop when the node does; default 10 s. Those that take longer are aborted.
    pub fn actors_stop_within(mut self, limit: Duration) -> Self {
        self.node = self.node.actors_stop_within(limit);
        self
    }

    /// How long entities may carry out the commands that wait for them when the node stops; default 10 s. Those that wait longer are
    /// refused with [`Failure::Stopping`](annals_actors::Failure::Stopping).
    pub fn entities_stop_within(mut self, limit: Duration) -> Self {
        self.node = self.node.entities_stop_within(limit);
        self
    }

    /// Has the node stop with the process, [in the phases](crate::shutdown) of a coordinated shutdown. A node that cannot go on begins it, with
    /// [`Reason::Incompatible`](crate::shutdown::Reason::Incompatible).
    ///
    /// [`Builder::actors_stop_within`] and [`Builder::entities_stop_within`] become nine tenths of the deadlines of their phases, if they are
    /// longer.
    #[cfg(feature = "shutdown")]
    pub fn shutdown(mut self, shutdown: &CoordinatedShutdown) -> Self {
        self.shutdown = Some(shutdown.clone());
        self
    }

    /// How large a commit may become.
    pub fn group_commit(mut self, settings: GroupCommitSettings) -> Self {
        self.node = self.node.group_commit(settings);
        self
    }

    /// Has nobody who uses the journal write a manifest above a version, as long as this node runs; 0: not at all. See
    /// [`NodeBuilder::hold`].
    pub fn hold(mut self, manifest: impl Into<String>, version: u32) -> Self {
        self.node = self.node.hold(manifest, version);
        self
    }

    /// Starts although versions of this manifest may be stored that this build does not read: only the entities that hold such events
    /// fail. See [`NodeBuilder::allow_unreadable`].
    pub fn allow_unreadable(mut self, manifest: impl Into<String>) -> Self {
        self.node = self.node.allow_unreadable(manifest);
        self
    }

    /// How long others count on this node after it has vanished without a stop; default 30 s. See [`NodeBuilder::lease`].
    pub fn lease(mut self, lease: Duration) -> Self {
        self.node = self.node.lease(lease);
        self
    }

    /// What rewrites the events and snapshots of the kinds that are registered: for an application's own `migrate rewrite`. See
    /// [`NodeBuilder::rewriter`].
    ///
    /// # Errors
    /// [`StartError::Node`] when the registrations would not let a node start.
    pub fn rewriter(&self) -> Result<Rewriter, StartError> {
        Ok(self.node.rewriter()?)
    }

    /// Opens the journal and starts the node.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do.
    pub async fn start(self) -> Result<Node, StartError> {
        #[cfg(feature = "shutdown")]
        let node = self.shutdown.iter().fold(self.node, limited);
        #[cfg(not(feature = "shutdown"))]
        let node = self.node;
        let (stores, opened) = match self.journal {
            Choice::None => return Err(StartError::NoJournal),
            Choice::Stores(stores) => (stores, None),
            Choice::Url(url) => {
                let opened = annals_journal::open(&url).await?;
                (beside(&opened).await?, Some(opened))
            }
            Choice::Open(opened) => (beside(&opened).await?, Some(opened)),
        };
        let mut closes = Closes { opened, keys: OpenKeys::default() };
        let node = match start(node, self.keys, stores, &mut closes).await {
            Ok(node) => node,
            Err(error) => {
                closes.close().await;
                return Err(error);
            }
        };
        #[cfg(feature = "shutdown")]
        if let Some(shutdown) = self.shutdown
            && let Err(late) = take_part(&node, &shutdown)
        {
            node.shutdown().await;
            return Err(StartError::ShuttingDown(late));
        }
        Ok(node)
    }
}

/// What is closed when the node has stopped.
#[derive(Clone)]
struct Closes {
    opened: Option<OpenJournal>,
    keys: OpenKeys,
}

impl Closes {
    async fn close(self) {
        self.keys.close().await;
        if let Some(opened) = self.opened {
            opened.close().await;
        }
    }
}

async fn start(
    mut node: NodeBuilder,
    keys: Keys,
    mut stores: Stores,
    closes: &mut Closes,
) -> Result<Node, StartError> {
    if keys.are_wanted() {
        (stores, node) = keys.seal(stores, node, &mut closes.keys).await?;
    }
    let closes = closes.clone();
    // Stores of somebody's own stay open.
    if closes.opened.is_some() || closes.keys.are_open() {
        node = node.after_stop(async move { closes.close().await });
    }
    Ok(node.start(stores).await?)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The stores of an open journal: snapshots live beside the events.
async fn beside(opened: &OpenJournal) -> Result<Stores, StartError> {
    let snapshots = annals_snapshot::open_beside(opened).await?;
    Ok(Stores { journal: opened.journal.clone(), records: opened.records.clone(), snapshots })
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No journal was chosen.
    #[error(
        "no journal: choose one with `.journal(\"sqlite://path.db\")`, or `.journal(\"memory:\")` for a test"
    )]
    NoJournal,
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] OpenJournalError),
    /// The snapshot store beside it could not be opened.
    #[error(transparent)]
    Snapshots(#[from] OpenStoreError),
    /// The process shuts down already, and is beyond a phase in which the node would have had to stop.
    #[cfg(feature = "shutdown")]
    #[error("the node was stopped as soon as it had started: the process shuts down")]
    ShuttingDown(#[source] TooLate),
    /// Keys were given, and this build cannot seal.
    #[cfg(not(feature = "encryption"))]
    #[error("keys were given, and this build has not the feature \"encryption\" of annals")]
    NotBuilt,
    /// A source of keys is spelled in no way that there is.
    #[cfg(feature = "encryption")]
    #[error("the keys: {0}")]
    KeySource(#[from] InvalidKeySource),
    /// The master keys cannot be read, or are not those of the journal.
    #[cfg(feature = "encryption")]
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Plaintext is refused, or ids have scopes, and there are no keys to seal with.
    #[cfg(feature = "encryption")]
    #[error(
        "`.refuse_plaintext()` and `.key_scopes(…)` need keys: give them with `.keys(\"file:ring.json\")`"
    )]
    NoKeys,
    /// Keys were given in two ways.
    #[cfg(feature = "encryption")]
    #[error("keys come from `.keys(…)` or from `.master_keys(…)`, not from both")]
    TwoKindsOfKeys,
    /// The node's registrations or its journal do not allow a start.
    #[error(transparent)]
    Node(#[from] annals_actors::StartError),
}
