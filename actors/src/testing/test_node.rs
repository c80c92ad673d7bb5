use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_journal::testing::FaultyJournal;
use annals_journal::{PersistenceId, SeqNr, Timestamp};
use annals_snapshot::testing::FaultySnapshots;

use super::Probe;
use crate::plain::ActorSystem;
use crate::{Clock, EntityRef, Node, PersistentActor, Stores};

mod builder;
mod kinds;
mod stored;
mod unhurried;

pub use builder::TestNodeBuilder;
use builder::Wiring;
pub use stored::Stored;

/// A node for tests: it runs on stores in memory that fail on order, on tokio's virtual time, and can crash.
///
/// Mark the test `#[tokio::test(start_paused = true)]`: time then stands still while something can be done, and jumps to the next timer
/// when nothing can; `ctx.now()` follows it. Tokio's feature `test-util` is needed for it. Time-outs of minutes cost nothing, and nothing
/// races. On an unpaused clock everything works as well, in real time.
///
/// ```
/// use annals_actors::testing::{Outcome, TestNode};
/// # use annals_actors::{AskError, Context, Effect, Handle, NeverRejected, PersistentActor};
/// # use annals_migrations::{Command, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { cents: i64 }
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 } }
/// # #[derive(Serialize, Deserialize, Command)]
/// # struct Deposit { cents: i64 }
/// # impl PersistentActor for Account {
/// #     const KIND: &'static str = "account";
/// #     type Event = AccountEvent;
/// #     type Commands = (Deposit,);
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         let AccountEvent::Deposited { cents } = event;
/// #         self.cents += cents;
/// #     }
/// # }
/// # impl Handle<Deposit> for Account {
/// #     type Reply = i64;
/// #     type Rejection = NeverRejected;
/// #     fn handle(&self, command: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
/// #         ctx.persist(AccountEvent::Deposited { cents: command.cents }).reply(|account| account.cents)
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let kit = TestNode::of::<Account>().await;
/// let account = kit.entity::<Account>("alice");
///
/// // The answer to this write is lost: the entity finds out by itself that it is stored.
/// kit.journal().next_append().outcome_unknown(Outcome::Stored);
/// assert_eq!(account.ask(Deposit { cents: 100 }).await, Ok(100));
///
/// kit.crash::<Account>("alice").await;
/// assert_eq!(account.ask(Deposit { cents: 20 }).await, Ok(120));
/// kit.stored::<Account>("alice")
///     .expect_events([AccountEvent::Deposited { cents: 100 }, AccountEvent::Deposited { cents: 20 }])
///     .await;
/// # }
/// ```
pub struct TestNode {
    node: Mutex<Node>,
    wiring: Wiring,
    journal: FaultyJournal,
    snapshots: FaultySnapshots,
    stores: Stores,
    clock: Arc<dyn Clock>,
    /// Where probes live, which no crash touches.
    outside: ActorSystem,
    probes: AtomicU64,
    /// Up to which number a test has taken note of each id's events.
    noted: Mutex<HashMap<PersistenceId, SeqNr>>,
}

impl TestNode {
    /// A node with one kind and the defaults.
    ///
    /// # Panics
    /// When it cannot start: a service is missing, say.
    pub async fn of<A: PersistentActor>() -> Self {
        Self::builder().entity::<A>().start().await
    }

    /// Begins to wire a node: kinds, services, settings, stores.
    pub fn builder() -> TestNodeBuilder {
        TestNodeBuilder::new()
    }

    /// Reaches an entity. After [`restart`](Self::restart) and [`crash_node`](Self::crash_node) ask for it again: an older
    /// reference belongs to the node that is gone.
    pub fn entity<A: PersistentActor>(&self, entity_id: &str) -> EntityRef<A> {
        self.node().entity(entity_id)
    }

    /// The node of this moment.
    pub fn node(&self) -> Node {
        self.lock_node().clone()
    }

    /// The journal that the node writes to, to order failures of it and to see what it was asked.
    pub fn journal(&self) -> &FaultyJournal {
        &self.journal
    }

    /// The snapshot store that the node saves to, the same way.
    pub fn snapshots(&self) -> &FaultySnapshots {
        &self.snapshots
    }

    /// What is stored of an entity, past all ordered failures.
    ///
    /// # Panics
    /// When the kind is not registered, or the id is not valid.
    #[track_caller]
    pub fn stored<A: PersistentActor>(&self, entity_id: &str) -> Stored<'_, A> {
        Stored::new(self, self.wiring.kind::<A>(), persistence_id::<A>(entity_id))
    }

    /// Lets time pass: all that falls due meanwhile happens in its order, and is done. Needs a paused clock, or takes so long.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The moment that handlers see. It begins at 2026-01-01 00:00 UTC, or where the builder says.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new [probe](Probe), an actor outside of the node: it outlives crashes and restarts.
    pub fn probe<M: fmt::Debug + Send + 'static>(&self) -> Probe<M> {
        let number = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        Probe::spawn(&self.outside, &format!("probe-{number}"))
            .unwrap_or_else(|error| panic!("a probe does not start: {error}"))
    }

    /// The plain actors of the node of this moment, its dead letters and its event stream. It goes with the node.
    pub fn system(&self) -> ActorSystem {
        self.node().system().clone()
    }

    /// Has one entity crash: its memory is gone at once, with the commands in its mailbox and the replies that it held; callers are
    /// answered as when a process dies. A write that the journal has not begun is gone, one that it has begun goes on. The next
    /// command starts the entity again, and it recovers. Says whether it was in memory.
    pub async fn crash<A: PersistentActor>(&self, entity_id: &str) -> bool {
        let id = persistence_id::<A>(entity_id);
        let node = self.node();
        match node.entities::<A>() {
            Some(entities) => entities.crash(Some(&id)).await > 0,
            None => false,
        }
    }

    /// Has the whole node crash, as by `kill -9`, plain actors too, and starts a new one under a newer epoch on the same stores.
    ///
    /// A write that the journal has begun goes on, and comes to nothing if a new entity has claimed the id first. To have one under way,
    /// order `next_append().takes(…)` (not stored yet) or `.answers_after(…)` (stored, not acknowledged).
    ///
    /// # Panics
    /// When the new node cannot start.
    pub async fn crash_node(&self) {
        let node = self.node();
        self.wiring.crash(&node).await;
        node.is_gone();
        // No time to stop in: they are aborted where they wait.
        let _ = node.system().shutdown(Duration::ZERO).await;
        // Who came in between.
        self.wiring.crash(&node).await;
        self.start_again().await;
    }

    /// Shuts the node down gracefully, and starts a new one under a newer epoch on the same stores.
    ///
    /// # Panics
    /// When the new node cannot start.
    pub async fn restart(&self) {
        self.node().shutdown().await;
        self.start_again().await;
    }

    /// Shuts the node down gracefully.
    pub async fn shutdown(&self) {
        self.node().shutdown().await;
    }

    /// Whether an entity is in memory.
    pub fn is_active<A: PersistentActor>(&self, entity_id: &str) -> bool {
        let id = persistence_id::<A>(entity_id);
        self.node().entities::<A>().is_some_and(|entities| entities.inbox(&id, entities.hash(&id)).is_some())
    }

    async fn start_again(&self) {
        let node = self.wiring.start(&self.stores).await;
        *self.lock_node() = node;
    }

    /// The newest things that the journal was asked about an id, for a failure's message.
    fn asked(&self, id: &PersistenceId) -> String {
        let calls = self.journal.calls();
        let about: Vec<_> = calls.iter().filter(|call| call.persistence_id.as_ref() == Some(id)).collect();
        if about.is_empty() {
            return format!("the journal was asked nothing about {id}");
        }
        let mut text = "what the journal was asked:".to_owned();
        if about.len() > SHOWN {
            text.push_str(&format!("\n    … {} before", about.len() - SHOWN));
        }
        for call in about.iter().skip(about.len().saturating_sub(SHOWN)) {
            text.push_str(&format!("\n    {call}"));
        }
        text
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<PersistenceId, SeqNr>> {
        // Each change is one call on the map.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many calls are shown in a failure's message.
const SHOWN: usize = 20;

#[track_caller]
fn persistence_id<A: PersistentActor>(entity_id: &str) -> PersistenceId {
    PersistenceId::new(A::KIND, entity_id).unwrap_or_else(|error| panic!("{error}"))
}

impl fmt::Debug for TestNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNode")
            .field("node", &*self.lock_node())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
