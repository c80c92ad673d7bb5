use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_migrations::{EventAdapter, KindAdapter, ListAdapter, SchemaError, StateAdapter};
use annals_snapshot::{Retention, SnapshotPolicy};

use crate::entity::Bounds;
use crate::plain::{Mailbox, RestartPolicy};
use crate::services::Services;
use crate::{PersistentActor, ServiceNeeds};

/// How a kind of persistent actor is run: its services, its snapshots, its bounds.
///
/// ```
/// # use std::time::Duration;
/// # use annals_actors::{Kind, PersistentActor};
/// # use annals_snapshot::{Retention, SnapshotPolicy};
/// # fn kind<Account: PersistentActor>() -> Kind<Account> {
/// Kind::<Account>::new()
///     .snapshots(SnapshotPolicy::every_events(1_000).or(SnapshotPolicy::on_stop()))
///     .passivate_after(Duration::from_secs(30))
/// # }
/// ```
pub struct Kind<A: PersistentActor> {
    pub(crate) services: Services,
    pub(crate) snapshots: SnapshotPolicy<A, A::Event>,
    pub(crate) retention: Retention,
    pub(crate) keep_revisions: u64,
    pub(crate) adapter: Option<Arc<dyn EventAdapter<A::Event>>>,
    pub(crate) bounds: Bounds,
    pub(crate) mailbox: Mailbox,
    pub(crate) passivate_after: Option<Duration>,
    pub(crate) work_limit: Duration,
}

impl<A: PersistentActor> Default for Kind<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: PersistentActor> Kind<A> {
    /// The kind with its defaults, which each method names.
    pub fn new() -> Self {
        Self {
            services: Services::default(),
            snapshots: SnapshotPolicy::default(),
            retention: Retention::default(),
            keep_revisions: 10,
            adapter: None,
            bounds: Bounds {
                events: 256,
                bytes: 1024 * 1024,
                held: 1024,
                stash: 1024,
                patience: Duration::from_secs(2),
                first_pause: Duration::from_millis(50),
                longest_pause: Duration::from_secs(5),
                restart: RestartPolicy::default(),
            },
            mailbox: Mailbox::bounded(1024),
            passivate_after: Some(Duration::from_secs(120)),
            work_limit: Duration::from_secs(10),
        }
    }

    /// Gives a service that handlers take with `ctx.service::<T>()`.
    #[must_use]
    pub fn service<T: Send + Sync + 'static>(mut self, service: T) -> Self {
        self.services.add(service);
        self
    }

    /// When snapshots are taken (a [`DurableState`](crate::DurableState) has none, whatever is said here); default: [`SnapshotPolicy::default`].
    #[must_use]
    pub fn snapshots(mut self, policy: SnapshotPolicy<A, A::Event>) -> Self {
        self.snapshots = policy;
        self
    }

    /// What is kept behind a snapshot; default: two snapshots, all events.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// How many revisions of a [`DurableState`](crate::DurableState) may lie behind the newest before they are deleted; default 10, and 0
    /// deletes after each update. What lies behind it when the entity leaves memory is deleted then, in either case.
    ///
    /// A deletion is one more small commit. It waits for no registered reader: one that comes late gets the newest revision.
    #[must_use]
    pub fn keep_revisions(mut self, revisions: u64) -> Self {
        self.keep_revisions = revisions;
        self
    }

    /// How events become bytes; default: [`KindAdapter`].
    #[must_use]
    pub fn event_adapter(mut self, adapter: impl EventAdapter<A::Event>) -> Self {
        self.adapter = Some(Arc::new(ListAdapter::new(adapter)));
        self
    }

    /// How many commands may wait for an entity, and what happens to one more; default: 1,024, more are refused.
    ///
    /// | [`Overflow`](crate::plain::Overflow) | a command that is asked | a command that is told |
    /// |---|---|---|
    /// | `Refuse` | fails with [`Failure::MailboxFull`](crate::Failure::MailboxFull) | the same, and is a dead letter |
    /// | `Wait` | waits for room, for as long as the ask waits at all | waits for room |
    /// | `Drop` | fails with [`Failure::MailboxFull`](crate::Failure::MailboxFull) | is a dead letter; the sender is not told |
    ///
    /// ```
    /// # use annals_actors::{Kind, PersistentActor};
    /// use annals_actors::plain::{Mailbox, Overflow};
    ///
    /// # fn kind<Account: PersistentActor>() -> Kind<Account> {
    /// Kind::new().mailbox(Mailbox::bounded(100).on_overflow(Overflow::Wait))
    /// # }
    /// ```
    #[must_use]
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// How many commands an entity may put aside; default 1,024.
    #[must_use]
    pub fn stash_capacity(mut self, commands: usize) -> Self {
        self.bounds.stash = commands;
        self
    }

    /// How much of an entity may be decided and not durable; default 256 events or 1 MiB. Then commands wait in the mailbox.
    #[must_use]
    pub fn max_pending(mut self, events: usize, bytes: usize) -> Self {
        self.bounds.events = events.max(1);
        self.bounds.bytes = bytes.max(1);
        self
    }

    /// How long an entity without commands stays in memory, at least 1 ms; default 2 minutes.
    #[must_use]
    pub fn passivate_after(mut self, idle: Duration) -> Self {
        self.passivate_after = Some(idle.max(Duration::from_millis(1)));
        self
    }

    /// Keeps entities in memory until they ask to leave or the node stops.
    #[must_use]
    pub fn never_passivate(mut self) -> Self {
        self.passivate_after = None;
        self
    }

    /// Time limit of `ctx.run(…)` and of one side effect; default 10 s.
    #[must_use]
    pub fn work_limit(mut self, limit: Duration) -> Self {
        self.work_limit = limit;
        self
    }

    /// How long commands wait for a journal that cannot be asked before they fail with
    /// [`Failure::JournalUnavailable`](crate::Failure::JournalUnavailable); default 2 s.
    #[must_use]
    pub fn journal_patience(mut self, patience: Duration) -> Self {
        self.bounds.patience = patience;
        self
    }

    /// What becomes of an entity whose handler, `apply` or reply panicked; default: [`RestartPolicy::default`].
    ///
    /// The command that panicked fails at once with [`Failure::Panicked`](crate::Failure::Panicked). The state is thrown away and
    /// replayed, and other commands wait in the mailbox until the pause is over. At the limit the entity leaves memory: for the
    /// longest pause its commands fail with [`Failure::PanickedTooOften`](crate::Failure::PanickedTooOften), then the next one starts
    /// it again. An entity has no parent, so [`then_escalate`](RestartPolicy::then_escalate) changes nothing. Passivation forgets what
    /// has been.
    ///
    /// An entity whose history cannot be read is left alone for these pauses, too, each time longer.
    #[must_use]
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.bounds.restart = policy;
        self
    }

    /// The services that are declared and not given.
    pub(crate) fn missing_services(&self) -> Vec<&'static str> {
        self.services.missing(&Self::needs())
    }

    pub(crate) fn needs() -> ServiceNeeds {
        let mut needs = ServiceNeeds::default();
        A::services(&mut needs);
        needs
    }

    pub(crate) fn states() -> Result<StateAdapter<A>, SchemaError> {
        StateAdapter::with(A::KIND, A::STATE_VERSION, A::state_migrations())
    }

    pub(crate) fn adapter(&self) -> Result<Arc<dyn EventAdapter<A::Event>>, SchemaError> {
        match &self.adapter {
            Some(adapter) => Ok(Arc::clone(adapter)),
            None => Ok(Arc::new(ListAdapter::new(KindAdapter::<A::Event>::new(A::KIND)?))),
        }
    }
}

impl<A: PersistentActor> fmt::Debug for Kind<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("kind", &A::KIND)
            .field("snapshots", &self.snapshots)
            .field("retention", &self.retention)
            .field("keep_revisions", &self.keep_revisions)
            .field("mailbox", &self.mailbox)
            .field("stash_capacity", &self.bounds.stash)
            .field("max_pending", &(self.bounds.events, self.bounds.bytes))
            .field("passivate_after", &self.passivate_after)
            .field("work_limit", &self.work_limit)
            .field("journal_patience", &self.bounds.patience)
            .field("restart", &self.bounds.restart)
            .finish_non_exhaustive()
    }
}
