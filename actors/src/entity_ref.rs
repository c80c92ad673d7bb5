use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::PersistenceId;
use annals_migrations::Command;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::answer::{Elapsed, answer_within, before};
use crate::delivery::{Delivery, Parcel, Progress};
use crate::entities::{Entities, Undelivered};
use crate::inbox::{Call, Inbox};
use crate::plain::{ActorPath, MessageType, Overflow, TerminationReason};
use crate::vigils::Activation;
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

    /// Sends a command and does not wait for what becomes of it, which shows in events, logs and metrics only. `Ok`: it is in the
    /// mailbox, or the mailbox was full and [drops](Overflow::Drop) what is too much.
    ///
    /// Waits only when the mailbox is full and has senders [wait](Overflow::Wait): see [`Kind::mailbox`](crate::Kind::mailbox).
    /// A command that does not get into the mailbox, or that the entity never comes to, is a dead letter of the
    /// [node's system](crate::Node::system).
    ///
    /// # Errors
    /// The [`Failure`] when it could not be put into the mailbox.
    ///
    /// # Cancel safety
    /// The command is not delivered, and no dead letter, when the future is dropped before it is done.
    pub async fn tell<C, At>(&self, command: C) -> Result<(), Failure>
    where
        C: Command,
        A: Handle<C>,
        A::Commands: Lists<C, At>,
    {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        match target.offer(command) {
            Err(Undelivered::Full { inbox, delivery }) if target.entities.overflow() == Overflow::Wait => {
                let told = target.when_there_is_room(inbox, delivery).await;
                told.inspect_err(|failure| target.dead_letter::<C>(failure))
            }
            told => target.told::<C>(told),
        }
    }

    /// As [`tell`](Self::tell), but never waits: a full mailbox that has senders wait refuses the command.
    ///
    /// # Errors
    /// As [`tell`](Self::tell).
    pub fn try_tell<C, At>(&self, command: C) -> Result<(), Failure>
    where
        C: Command,
        A: Handle<C>,
        A::Commands: Lists<C, At>,
    {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        target.told::<C>(target.offer(command))
    }

    /// Has the entity stop gracefully: from now on it takes no commands ([`Failure::Stopping`]), carries out those that wait, at
    /// most for [a time](crate::NodeBuilder::entities_stop_within), and leaves memory. Commands in its stash are refused.
    ///
    /// Returns at once; [`terminated`](Self::terminated) waits for the end. The next command after the end starts it again. Nothing
    /// happens to an entity that is not in memory.
    pub fn stop(&self) {
        self.call(Call::Drain);
    }

    /// Has the entity stop after the command that it handles now: what was decided is finished, those that wait fail with
    /// [`Failure::Stopping`]. Otherwise as [`stop`](Self::stop).
    pub fn stop_now(&self) {
        self.call(Call::Stop);
    }

    fn call(&self, call: Call) {
        if let Some(inbox) = self.inbox() {
            inbox.stop(call);
        }
    }

    fn inbox(&self) -> Option<Arc<Inbox<A>>> {
        let target = self.target.as_ref().ok()?;
        target.entities.inbox(&target.id, target.hash)
    }
}

impl<A: PersistentActor> Target<A> {
    fn offer<C: Command>(&self, command: C) -> Result<(), Undelivered<A>>
    where
        A: Handle<C>,
    {
        let parcel = Parcel::new(command, false, Progress::new(), None);
        self.entities.deliver(&self.id, self.hash, Box::new(parcel))
    }

    /// In a box, because hardly anybody waits.
    fn when_there_is_room<'a>(
        &'a self,
        inbox: Arc<Inbox<A>>,
        delivery: Box<dyn Delivery<A>>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.entities.deliver_when_there_is_room(&self.id, self.hash, inbox, delivery).boxed()
    }

    /// What the sender of a command learns that does not wait for room.
    fn told<C: Command>(&self, told: Result<(), Undelivered<A>>) -> Result<(), Failure> {
        let Err(undelivered) = told else { return Ok(()) };
        let dropped =
            matches!(undelivered, Undelivered::Full { .. } if self.entities.overflow() == Overflow::Drop);
        let failure = self.entities.refused(&self.id, undelivered);
        self.dead_letter::<C>(&failure);
        if dropped { Ok(()) } else { Err(failure) }
    }

    fn dead_letter<C: Command>(&self, failure: &Failure) {
        self.entities.node.dead_letter(&self.id, MessageType::of::<C>(), failure);
    }
}

impl<A: PersistentActor> EntityRef<A> {
    /// Waits until the entity leaves memory, and says why it has; at once when it is not in memory. It does not wake it, and does not keep
    /// it there. A plain actor watches it with [`watch_entity`](crate::plain::ActorContext::watch_entity).
    ///
    /// # Errors
    /// The [`Failure`] that every ask would have: the kind is not registered, or the id breaks the rules.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn terminated(&self) -> Result<TerminationReason, Failure> {
        Ok(self.activation()?.until_terminated().await)
    }

    /// The present stay in memory.
    pub(crate) fn activation(&self) -> Result<Arc<Activation>, Failure> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        Ok(target.entities.activation(&target.id, target.hash))
    }

    /// Where it stands among the actors of its node.
    pub(crate) fn path(&self) -> Result<ActorPath, Failure> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        Ok(target.entities.node.system().entity_path(&target.id))
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
/// Dropping the future after it was first polled leaves the command to its fate: it may be carried out or not. One that still
/// waits for room in the mailbox is not.
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<A: Handle<C>, C: Command> {
    entity: EntityRef<A>,
    command: C,
    timeout: Option<Duration>,
    confirmed: bool,
}

impl<A: Handle<C>, C: Command> Ask<A, C> {
    /// Waits at most this long; with 2 s and more up to 20 ms longer on a runtime with several threads.
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
        let target = self.entity.target?;
        let Target { id, hash, entities } = &target;
        let limit = self.timeout.unwrap_or(entities.node.ask_timeout);
        let progress = Progress::new();
        let (caller, mut answer) = answer_within(limit, entities.node.patience(), None).await;
        let parcel = Parcel::new(self.command, self.confirmed, progress.clone(), Some(caller));
        let answered = match entities.deliver(id, *hash, Box::new(parcel)) {
            Ok(()) => answer.within(limit).await,
            Err(Undelivered::Full { inbox, delivery }) if entities.overflow() == Overflow::Wait => {
                let deadline = Instant::now().checked_add(limit);
                match before(deadline, target.when_there_is_room(inbox, delivery)).boxed().await {
                    Ok(delivered) => {
                        delivered?;
                        answer.until(deadline).boxed().await
                    }
                    Err(elapsed) => Err(elapsed),
                }
            }
            Err(undelivered) => return Err(entities.refused(id, undelivered).into()),
        };
        let elapsed = match answered {
            Ok(Some(answer)) => return answer,
            // The command was dropped without an answer: its entity's task is gone.
            Ok(None) => false,
            Err(Elapsed) => true,
        };
        let persistence_id = target.id;
        if progress.give_up() {
            return Err(AskError::Failed(if elapsed {
                Failure::TimedOut { persistence_id }
            } else {
                Failure::Stopping { persistence_id }
            }));
        }
        // Decided meanwhile: the answer may just have come.
        answer.give_up().unwrap_or(Err(AskError::Unknown(OutcomeUnknown { persistence_id })))
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
