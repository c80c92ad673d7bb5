use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::PersistenceId;
use annals_migrations::Command;

use crate::answer::{Elapsed, answer};
use crate::delivery::{Parcel, Progress};
use crate::entities::Entities;
use crate::plain::MessageType;
use crate::{AskError, Failure, Handle, Lists, OutcomeUnknown, PersistentActor};

/// Reaches one entity, in memory or not. Cheap to clone and to keep.
pub struct EntityRef<A: PersistentActor> {
    target: Result<Target<A>, Failure>,
}

struct Target<A: PersistentActor> {
    id: PersistenceId,
    hash: u64,
    entities: Arc<Entities<A>>,
}

impl<A: PersistentActor> EntityRef<A> {
    pub(crate) fn new(id: PersistenceId, entities: Arc<Entities<A>>) -> Self {
        let hash = entities.hash(&id);
        Self { target: Ok(Target { id, hash, entities }) }
    }

    /// A reference whose asks all fail alike, so that the caller's error handling is in one place.
    pub(crate) fn nowhere(failure: Failure) -> Self {
        Self { target: Err(failure) }
    }

    /// Kind and entity id.
    ///
    /// # Errors
    /// The [`Failure`] that every ask would have: the kind is not registered, or the id breaks the rules.
    pub fn persistence_id(&self) -> Result<&PersistenceId, Failure> {
        match &self.target {
            Ok(target) => Ok(&target.id),
            Err(failure) => Err(failure.clone()),
        }
    }

    /// Sends a command and waits for its reply, which comes when all it rests on is durable.
    ///
    /// Await the answer at once, or set a [`timeout`](Ask::timeout) (default: the node's, 10 s) or
    /// [`confirmed`](Ask::confirmed) first.
    ///
    /// ```
    /// # use annals_actors::{AskError, EntityRef, Handle, Lists, PersistentActor};
    /// # use annals_migrations::Command;
    /// # async fn example<A, C, At>(account: EntityRef<A>, withdraw: C)
    /// # where A: Handle<C>, C: Command, A::Commands: Lists<C, At> {
    /// match account.ask(withdraw).await {
    ///     Ok(reply) => { /* carried out and durable */ }
    ///     Err(AskError::Rejected(reason)) => { /* the domain said no */ }
    ///     Err(AskError::Failed(failure)) if failure.is_transient() => { /* certainly not done: repeat later */ }
    ///     Err(AskError::Failed(failure)) => { /* certainly not done: an operator must look */ }
    ///     Err(AskError::Unknown(_)) => { /* perhaps done: read, or repeat an idempotent command */ }
    /// }
    /// # }
    /// ```
    pub fn ask<C, At>(&self, command: C) -> Ask<A, C>
    where
        C: Command,
        A: Handle<C>,
        A::Commands: Lists<C, At>,
    {
        Ask { entity: self.clone(), command, timeout: None, confirmed: false }
    }

    /// Sends a command and does not wait. `Ok`: it is in the mailbox; what becomes of it shows in events, logs and metrics only.
    ///
    /// A command that does not get into the mailbox, or that the entity never comes to, is a dead letter of the
    /// [node's system](crate::Node::system).
    ///
    /// # Errors
    /// The [`Failure`] when it could not be put into the mailbox.
    pub fn tell<C, At>(&self, command: C) -> Result<(), Failure>
    where
        C: Command,
        A: Handle<C>,
        A::Commands: Lists<C, At>,
    {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        let parcel = Parcel::new(command, false, Progress::new(), None);
        let delivered = target.entities.deliver(&target.id, target.hash, Box::new(parcel));
        delivered.inspect_err(|failure| {
            target.entities.node.dead_letter(&target.id, MessageType::of::<C>(), failure);
        })
    }
}

impl<A: PersistentActor> Clone for EntityRef<A> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone() }
    }
}

impl<A: PersistentActor> Clone for Target<A> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), hash: self.hash, entities: Arc::clone(&self.entities) }
    }
}

impl<A: PersistentActor> fmt::Debug for EntityRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Ok(target) => write!(f, "EntityRef({})", target.id),
            Err(failure) => write!(f, "EntityRef({failure})"),
        }
    }
}

/// A command about to be sent; await it.
///
/// # Cancel safety
/// Dropping the future after it was first polled leaves the command to its fate: it may be carried out or not.
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<A: Handle<C>, C: Command> {
    entity: EntityRef<A>,
    command: C,
    timeout: Option<Duration>,
    confirmed: bool,
}

impl<A: Handle<C>, C: Command> Ask<A, C> {
    /// Waits at most this long.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Has the entity's token verified in the journal after the command arrived, before a reply without events of its own.
    ///
    /// An owner that was cut off and gets only reads does not notice by itself that another has taken over; with this,
    /// reads are linearizable even then. It costs a share of a commit.
    pub fn confirmed(mut self) -> Self {
        self.confirmed = true;
        self
    }

    async fn send(self) -> Result<A::Reply, AskError<A::Rejection>> {
        let Target { id, hash, entities } = self.entity.target?;
        let limit = self.timeout.unwrap_or(entities.node.ask_timeout);
        let progress = Progress::new();
        let (caller, mut answer) = answer(None);
        let parcel = Parcel::new(self.command, self.confirmed, progress.clone(), Some(caller));
        entities.deliver(&id, hash, Box::new(parcel))?;
        let elapsed = match answer.within(limit, entities.node.patience()).await {
            Ok(Some(answer)) => return answer,
            // The command was dropped without an answer: its entity's task is gone.
            Ok(None) => false,
            Err(Elapsed) => true,
        };
        if progress.give_up() {
            return Err(AskError::Failed(if elapsed {
                Failure::TimedOut { persistence_id: id }
            } else {
                Failure::Stopping { persistence_id: id }
            }));
        }
        // Decided meanwhile: the answer may just have come.
        answer.give_up().unwrap_or(Err(AskError::Unknown(OutcomeUnknown { persistence_id: id })))
    }
}

impl<A: Handle<C>, C: Command> IntoFuture for Ask<A, C> {
    type Output = Result<A::Reply, AskError<A::Rejection>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<A: Handle<C>, C: Command> fmt::Debug for Ask<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({:?})", self.entity)
    }
}
