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
    pub(crate) factory: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) mailbox: Mailbox,
    pub(crate) stash: usize,
    pub(crate) supervisor: SupervisorStrategy,
}

impl<A: Actor> Props<A> {
    /// With the defaults that each method names. The factory makes each instance: the first, and one for each restart.
    pub fn new(factory: impl Fn() -> A + Send + Sync + 'static) -> Self {
        Self {
            factory: Arc::new(factory),
            mailbox: Mailbox::default(),
            stash: 1024,
            supervisor: SupervisorStrategy::default(),
        }
    }

    /// How many messages may wait, and what happens to one more; default [`Mailbox::default`].
    #[must_use]
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// How many messages it may [stash](super::ActorContext::stash); default 1,024.
    #[must_use]
    pub fn stash_capacity(mut self, messages: usize) -> Self {
        self.stash = messages;
        self
    }

    /// What becomes of it when it fails; default [`SupervisorStrategy::Restart`].
    #[must_use]
    pub fn supervisor(mut self, strategy: impl Into<SupervisorStrategy>) -> Self {
        self.supervisor = strategy.into();
        self
    }
}

impl<A: Actor> Clone for Props<A> {
    fn clone(&self) -> Self {
        Self {
            factory: Arc::clone(&self.factory),
            mailbox: self.mailbox,
            stash: self.stash,
            supervisor: self.supervisor.clone(),
        }
    }
}

impl<A: Actor> fmt::Debug for Props<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Props")
            .field("mailbox", &self.mailbox)
            .field("stash", &self.stash)
            .field("supervisor", &self.supervisor)
            .finish_non_exhaustive()
    }
}
