use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use annals_journal::testing::FaultyJournal;
use annals_journal::{MemoryJournal, Timestamp};
use annals_snapshot::MemorySnapshotStore;
use annals_snapshot::testing::FaultySnapshots;

use super::kinds::{AnyKind, Maker};
use super::unhurried::Unhurried;
use super::{Probe, TestNode};
use crate::plain::ActorSystem;
use crate::testing::moment::{NEW_YEAR, Seeded, VirtualClock};
use crate::{Clock, Ids, Kind, Node, NodeBuilder, PersistentActor, Stores};

/// Wires a [`TestNode`].
#[must_use = "a node starts with `.start().await`"]
pub struct TestNodeBuilder {
    kinds: Vec<Box<dyn AnyKind>>,
    settings: Vec<Setting>,
    stores: Option<Stores>,
    start: Timestamp,
    seed: u64,
    outside: ActorSystem,
    probes: u64,
}

type Setting = Box<dyn Fn(NodeBuilder) -> NodeBuilder + Send + Sync>;

impl TestNodeBuilder {
    pub(super) fn new() -> Self {
        Self {
            kinds: Vec::new(),
            settings: Vec::new(),
            stores: None,
            start: NEW_YEAR,
            seed: 0,
            outside: ActorSystem::new("outside"),
            probes: 0,
        }
    }

    /// Registers a kind with its defaults.
    pub fn entity<A: PersistentActor>(self) -> Self {
        self.kind(Kind::<A>::new)
    }

    /// Registers a kind: services, snapshot policy, bounds. It is made anew when the node starts again.
    pub fn kind<A: PersistentActor>(mut self, kind: impl Fn() -> Kind<A> + Send + Sync + 'static) -> Self {
        self.kinds.push(Box::new(Maker(Box::new(kind))));
        self
    }

    /// Changes the node's settings, as its time-outs.
    pub fn node(mut self, setting: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) -> Self {
        self.settings.push(Box::new(setting));
        self
    }

    /// The stores below those that fail on order; default: in memory. A SQLite file, say: virtual time stands still while it works.
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = Some(stores);
        self
    }

    /// The moment at which the test begins; default 2026-01-01 00:00 UTC.
    pub fn at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    /// What `ctx.new_id()` draws from; default 0. The same seed gives the same ids in each run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A probe for a service that a kind needs, before there is a node. Must be called within the test's runtime.
    pub fn probe<M: fmt::Debug + Send + 'static>(&mut self) -> Probe<M> {
        self.probes += 1;
        Probe::spawn(&self.outside, &format!("probe-{}", self.probes))
            .unwrap_or_else(|error| panic!("a probe does not start: {error}"))
    }

    /// Starts the node.
    ///
    /// # Panics
    /// When it cannot start, with the [`StartError`](crate::StartError).
    pub async fn start(self) -> TestNode {
        let below = match self.stores {
            Some(stores) => Unhurried::stores(stores),
            None => {
                let journal = Arc::new(MemoryJournal::new());
                let snapshots = Arc::new(MemorySnapshotStore::new());
                Stores { journal: journal.clone(), records: journal, snapshots }
            }
        };
        let journal = FaultyJournal::around(below.journal);
        let snapshots = FaultySnapshots::around(below.snapshots);
        let stores = Stores {
            journal: Arc::new(journal.clone()),
            records: below.records,
            snapshots: Arc::new(snapshots.clone()),
        };
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::starting(self.start));
        let wiring = Wiring {
            kinds: self.kinds,
            settings: self.settings,
            clock: Arc::clone(&clock),
            ids: Arc::new(Seeded::new(self.seed)),
        };
        TestNode {
            node: Mutex::new(wiring.start(&stores).await),
            wiring,
            journal,
            snapshots,
            stores,
            clock,
            outside: self.outside,
            probes: AtomicU64::new(self.probes),
            noted: Mutex::new(HashMap::new()),
        }
    }
}

impl fmt::Debug for TestNodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNodeBuilder").field("kinds", &self.kinds.len()).finish_non_exhaustive()
    }
}

/// What each node of a test is made of.
pub(super) struct Wiring {
    kinds: Vec<Box<dyn AnyKind>>,
    settings: Vec<Setting>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl Wiring {
    pub(super) async fn start(&self, stores: &Stores) -> Node {
        let mut node = Node::builder("test").clock(Arc::clone(&self.clock)).ids(Arc::clone(&self.ids));
        for kind in &self.kinds {
            node = kind.register(node);
        }
        for setting in &self.settings {
            node = setting(node);
        }
        node.start(stores.clone()).await.unwrap_or_else(|error| panic!("the node does not start: {error}"))
    }

    /// Ends all entities of a node where they stand.
    pub(super) async fn crash(&self, node: &Node) {
        for kind in &self.kinds {
            kind.crash(node).await;
        }
    }

    /// A kind as the node has it.
    #[track_caller]
    pub(super) fn kind<A: PersistentActor>(&self) -> Kind<A> {
        let maker = self.kinds.iter().find_map(|kind| kind.as_any().downcast_ref::<Maker<A>>());
        match maker {
            Some(Maker(make)) => make(),
            None => panic!(
                "kind {:?} is not registered: add `.entity::<…>()` to the test node's builder",
                A::KIND
            ),
        }
    }
}
