use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::system::Shared;
use super::{ActorPath, ActorRef, DeadLetterReason, NoAnswer, NotDelivered, ReplyTo, Undeliverable};
use crate::answer::{Asked, answer_within};

/// Actors that do the same work: what a [`Router`] chooses from. Made by
/// [`ActorSystem::spawn_pool`](super::ActorSystem::spawn_pool), [`ActorContext::spawn_pool`](super::ActorContext::spawn_pool), or
/// [`ActorSystem::group`](super::ActorSystem::group) from actors that exist.
pub struct Group<M> {
    path: ActorPath,
    routees: Vec<ActorRef<M>>,
    system: Arc<Shared>,
}

/// Sends each message to one of a [`Group`]. Cheap to clone; it is no actor, so it costs no hop.
///
/// A routee that has stopped is passed over; one that is being restarted is not: its messages wait in its mailbox.
pub struct Router<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    path: ActorPath,
    routees: Vec<Routee<M>>,
    system: Arc<Shared>,
    routing: Routing<M>,
}

struct Routee<M> {
    actor: ActorRef<M>,
    /// Of its path, so that routers made anew from the same actors agree.
    hash: u64,
}

enum Routing<M> {
    RoundRobin(AtomicUsize),
    ByKey(Box<dyn Fn(&M) -> u64 + Send + Sync>),
}

impl<M: Send + 'static> Group<M> {
    pub(crate) fn new(path: ActorPath, routees: Vec<ActorRef<M>>, system: Arc<Shared>) -> Self {
        Self { path, routees, system }
    }

    /// The actors.
    pub fn routees(&self) -> &[ActorRef<M>] {
        &self.routees
    }

    /// Each message goes to the next one.
    pub fn round_robin(self) -> Router<M> {
        self.router(Routing::RoundRobin(AtomicUsize::new(0)))
    }

    /// Messages of one key go to one actor, as long as it has not stopped. When one stops, only its keys move (rendezvous hashing).
    pub fn by_key<K: Hash>(self, key: impl Fn(&M) -> K + Send + Sync + 'static) -> Router<M> {
        self.router(Routing::ByKey(Box::new(move |message| hash(&key(message)))))
    }

    fn router(self, routing: Routing<M>) -> Router<M> {
        let routees = self.routees.into_iter();
        let routees = routees.map(|actor| Routee { hash: hash(actor.path()), actor }).collect();
        Router { inner: Arc::new(Inner { path: self.path, routees, system: self.system, routing }) }
    }
}

impl<M: Send + 'static> Router<M> {
    /// Sends a message to one of the routees, as [`ActorRef::tell`].
    ///
    /// # Errors
    /// As of [`ActorRef::tell`], and [`Undeliverable::NoRoutee`] when none runs; then the message is a dead letter, too.
    ///
    /// # Cancel safety
    /// As of [`ActorRef::tell`].
    pub async fn tell(&self, message: M) -> Result<(), NotDelivered<M>> {
        match self.choose(&message) {
            Some(routee) => routee.tell(message).await,
            None => Err(NotDelivered { message, reason: self.no_routee() }),
        }
    }

    /// As [`tell`](Self::tell), but never waits, as [`ActorRef::try_tell`].
    ///
    /// # Errors
    /// As of [`tell`](Self::tell).
    pub fn try_tell(&self, message: M) -> Result<(), NotDelivered<M>> {
        match self.choose(&message) {
            Some(routee) => routee.try_tell(message),
            None => Err(NotDelivered { message, reason: self.no_routee() }),
        }
    }

    /// Asks one of the routees, as [`ActorRef::ask`].
    ///
    /// # Errors
    /// As of [`ActorRef::ask`], and [`Undeliverable::NoRoutee`] when none runs.
    ///
    /// # Cancel safety
    /// As of [`ActorRef::ask`].
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(ReplyTo<R>) -> M,
        limit: Duration,
    ) -> Result<R, NoAnswer> {
        let asked = Asked { recipient: &self.inner.path, system: &self.inner.system };
        let (answerer, answer) = answer_within(limit, &self.inner.system.patience, Some(asked)).await;
        let question = question(ReplyTo::new(answerer));
        match self.choose(&question) {
            Some(routee) => routee.converse(question, answer, limit).await,
            None => Err(self.no_routee().into()),
        }
    }

    /// Has all routees stop gracefully, as [`ActorRef::stop`].
    pub fn stop(&self) {
        for routee in &self.inner.routees {
            routee.actor.stop();
        }
    }

    /// Waits until all routees have terminated.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn terminated(&self) {
        for routee in &self.inner.routees {
            routee.actor.terminated().await;
        }
    }

    /// Where the router stands, for logs and dead letters.
    pub fn path(&self) -> &ActorPath {
        &self.inner.path
    }

    fn choose(&self, message: &M) -> Option<&ActorRef<M>> {
        let routees = &self.inner.routees;
        let running = |routee: &&Routee<M>| !routee.actor.is_stopped();
        let chosen = match &self.inner.routing {
            Routing::RoundRobin(next) => {
                let first = next.fetch_add(1, Ordering::Relaxed) % routees.len().max(1);
                routees[first..].iter().chain(&routees[..first]).find(running)
            }
            Routing::ByKey(key) => {
                let key = key(message);
                routees.iter().filter(running).max_by_key(|routee| hash(&(routee.hash, key)))
            }
        };
        chosen.map(|routee| &routee.actor)
    }

    fn no_routee(&self) -> Undeliverable {
        self.inner.system.dead_letter::<M>(&self.inner.path, DeadLetterReason::NoRoutee);
        Undeliverable::NoRoutee { router: self.inner.path.clone() }
    }
}

/// The same in all routers of a process.
fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<M> Clone for Router<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M> fmt::Debug for Router<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({}, {} routees)", self.inner.path, self.inner.routees.len())
    }
}

impl<M> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({}, {} actors)", self.path, self.routees.len())
    }
}
