use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_journal::{PersistenceId, Timestamp};
use annals_migrations::{Command, EventAdapter};
use annals_snapshot::SnapshotPolicy;
use uuid::Uuid;

use super::bench::Bench;
use super::moment::{NEW_YEAR, Numbered};
use super::shown::value;
use super::then::{Then, panic_when_broken};
use crate::panic::message;
use crate::{Handle, Kind, Lists, PersistentActor};

/// What has happened to an entity before the command that a test is about.
///
/// Everything has a default: no events, entity id `test`, 2026-01-01 00:00 UTC, numbered ids, no services.
///
/// ```
/// use annals_actors::testing::Given;
/// # use annals_actors::{Context, Effect, Handle, PersistentActor};
/// # use annals_migrations::{Command, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { cents: i64 }
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 }, Withdrawn { cents: i64 } }
/// # #[derive(Serialize, Deserialize, Command)]
/// # struct Withdraw { cents: i64 }
/// # #[derive(Serialize, Deserialize)]
/// # struct Overdrawn { by: i64 }
/// # impl PersistentActor for Account {
/// #     const KIND: &'static str = "account";
/// #     type Event = AccountEvent;
/// #     type Commands = (Withdraw,);
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             AccountEvent::Deposited { cents } => self.cents += cents,
/// #             AccountEvent::Withdrawn { cents } => self.cents -= cents,
/// #         }
/// #     }
/// # }
/// # impl Handle<Withdraw> for Account {
/// #     type Reply = i64;
/// #     type Rejection = Overdrawn;
/// #     fn handle(&self, command: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
/// #         if command.cents > self.cents {
/// #             return ctx.reject(Overdrawn { by: command.cents - self.cents });
/// #         }
/// #         ctx.persist(AccountEvent::Withdrawn { cents: command.cents }).reply(|account| account.cents)
/// #     }
/// # }
///
/// Given::<Account>::new()
///     .events([AccountEvent::Deposited { cents: 100 }])
///     .when(Withdraw { cents: 30 })
///     .then_events([AccountEvent::Withdrawn { cents: 30 }])
///     .then_reply(70);
///
/// Given::<Account>::new()
///     .when(Withdraw { cents: 30 })
///     .then_rejected(Overdrawn { by: 30 });
/// ```
#[must_use = "a test says `.when(…)` and then what comes of it"]
pub struct Given<A: PersistentActor> {
    kind: Kind<A>,
    entity_id: String,
    events: Vec<A::Event>,
    now: Timestamp,
    ids: Vec<Uuid>,
}

impl<A: PersistentActor> Default for Given<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: PersistentActor> Given<A> {
    /// An entity that nothing has happened to.
    pub fn new() -> Self {
        Self::of(Kind::new())
    }

    /// The same of a kind that is set up as for a node: with its services, its adapter, its snapshot policy.
    pub fn of(kind: Kind<A>) -> Self {
        Self { kind, entity_id: "test".to_owned(), events: Vec::new(), now: NEW_YEAR, ids: Vec::new() }
    }

    /// What has happened, oldest first; called again, it adds.
    pub fn events(mut self, events: impl IntoIterator<Item = A::Event>) -> Self {
        self.events.extend(events);
        self
    }

    /// The moment of the command, what `ctx.now()` gives.
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// The first ids that `ctx.new_id()` gives; numbered ones follow.
    pub fn ids(mut self, ids: impl IntoIterator<Item = Uuid>) -> Self {
        self.ids.extend(ids);
        self
    }

    /// The entity's id within its kind.
    pub fn entity_id(mut self, id: impl Into<String>) -> Self {
        self.entity_id = id.into();
        self
    }

    /// A service, usually a fake, that handlers take with `ctx.service::<T>()`.
    pub fn service<T: Send + Sync + 'static>(mut self, service: T) -> Self {
        self.kind = self.kind.service(service);
        self
    }

    /// When snapshots are taken; default: [`SnapshotPolicy::default`].
    pub fn snapshots(mut self, policy: SnapshotPolicy<A, A::Event>) -> Self {
        self.kind = self.kind.snapshots(policy);
        self
    }

    /// How events become bytes; default: as in a node.
    pub fn event_adapter(mut self, adapter: impl EventAdapter<A::Event>) -> Self {
        self.kind = self.kind.event_adapter(adapter);
        self
    }

    /// Hands the entity a command, and drives all that follows to its end: asynchronous work too, on this thread.
    ///
    /// # Panics
    /// When the aggregate breaks one of the promises in the [module's](super) list, or cannot recover from the given events.
    #[track_caller]
    pub fn when<C, Place>(self, command: C) -> Then<A, C>
    where
        C: Command,
        A: Handle<C>,
        A::Commands: Lists<C, Place>,
    {
        Then::of(self.bench(), command)
    }

    /// The entity, recovered from the given events.
    #[track_caller]
    fn bench(self) -> Bench<A> {
        let id = PersistenceId::new(A::KIND, &self.entity_id).unwrap_or_else(|error| panic!("{error}"));
        let mut bench = Bench::new(self.kind, id, self.now, Numbered::first(self.ids));
        let mut state = A::default();
        for (at, event) in self.events.iter().enumerate() {
            if let Err(error) = bench.given(event) {
                panic!("given event number {} cannot be stored: {error}", at + 1);
            }
            if let Err(panicked) = catch_unwind(AssertUnwindSafe(|| bench.apply_as_live(&mut state, event))) {
                panic!("given event number {}: applying it panicked: {}", at + 1, message(&*panicked));
            }
        }
        if bench.stored.is_empty() {
            return bench;
        }
        bench.restart();
        match bench.live() {
            Some(recovered) => {
                bench.findings.same(&value(&state), &recovered, || {
                    "the given events do not survive serialization, or `apply` is not deterministic: applied as they \
                     are (-) and as they are read back (+), they give different states"
                        .to_owned()
                });
            }
            None => match bench.recovery_failure() {
                Some(error) => panic!("{} does not recover from the given events: {error}", A::KIND),
                None => panic!("{} does not recover from the given events", A::KIND),
            },
        }
        panic_when_broken(&bench.findings);
        bench
    }
}

impl<A: PersistentActor> fmt::Debug for Given<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given")
            .field("kind", &self.kind)
            .field("entity_id", &self.entity_id)
            .field("events", &self.events.len())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
