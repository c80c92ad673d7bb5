use std::fmt;
use std::sync::Arc;

use super::{Actor, Mailbox, SupervisorStrategy};

/// How an actor is made and run: its factory, its mailbox, its stash, its supervision. Cheap to clone.
///
/// ```
/// # use annals_actors::plain::{Actor, Mailbox, Overflow, Props, SupervisorStrategy};
/// # fn props<Printer: Actor + Default>() -> Props<Printer> {
/// Props::new(Printer::default)
///     .mailbox(Mailbox::bounded(100).on_overflow(Overflow::Wait))
///     .supervisor(SupervisorStrategy::Escalate)
/// # }
/// ```
pub struct Props<A: Actor> {
    pub(crate) plan: Arc<Plan<A>>,
}

/// What all actors of one kind share.
///
/// Lies on lines of its own in every cache: actors that begin read it while another thread counts references for those that come.
#[repr(align(128))]
pub(crate) struct Plan<A> {
    pub(crate) factory: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) mailbox: Mailbox,
    pub(crate) stash: usize,
    pub(crate) supervisor: Arc<SupervisorStrategy>,
}

impl<A: Actor> Props<A> {
    /// With the defaults that each method names. The factory makes each instance: the first, and one for each restart.
    pub fn new(factory: impl Fn() -> A + Send + Sync + 'static) -> Self {
        let plan = Plan {
            factory: Arc::new(factory),
            mailbox: Mailbox::default(),
            stash: 1024,
            supervisor: Arc::default(),
        };
        Self { plan: Arc::new(plan) }
    }

    /// How many messages may wait, and what happens to one more; default [`Mailbox::default`].
    #[must_use]
    pub fn mailbox(self, mailbox: Mailbox) -> Self {
        self.with(|plan| plan.mailbox = mailbox)
    }

    /// How many messages it may [stash](super::ActorContext::stash); default 1,024.
    #[must_use]
    pub fn stash_capacity(self, messages: usize) -> Self {
        self.with(|plan| plan.stash = messages)
    }

    /// What becomes of it when it fails; default [`SupervisorStrategy::Restart`].
    #[must_use]
    pub fn supervisor(self, strategy: impl Into<SupervisorStrategy>) -> Self {
        self.with(|plan| plan.supervisor = Arc::new(strategy.into()))
    }

    /// Others that share the plan keep it as it is.
    fn with(self, change: impl FnOnce(&mut Plan<A>)) -> Self {
        let mut plan = Arc::unwrap_or_clone(self.plan);
        change(&mut plan);
        Self { plan: Arc::new(plan) }
    }
}

impl<A> Clone for Plan<A> {
    fn clone(&self) -> Self {
        Self {
            factory: Arc::clone(&self.factory),
            mailbox: self.mailbox,
            stash: self.stash,
            supervisor: Arc::clone(&self.supervisor),
        }
    }
}

impl<A: Actor> Clone for Props<A> {
    fn clone(&self) -> Self {
        Self { plan: Arc::clone(&self.plan) }
    }
}

impl<A: Actor> fmt::Debug for Props<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Props")
            .field("mailbox", &self.plan.mailbox)
            .field("stash", &self.plan.stash)
            .field("supervisor", &self.plan.supervisor)
            .finish_non_exhaustive()
    }
}
