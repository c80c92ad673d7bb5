use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_journal::{PersistenceId, SeqNr, Timestamp};
use annals_migrations::Command;
use uuid::Uuid;

use crate::effect::Events;
use crate::entities::Entities;
use crate::environment::Environment;
use crate::services::Services;
use crate::{Decision, Effect, EntityRef, Failure, Handle, Run, ServiceNeeds};

/// What a handler is given besides state and command: who, when, and the makers of effects.
///
/// Nothing here acts at once. Time and ids are drawn once a command: when the command is decided again, they are the same.
pub struct Context<A: Handle<C>, C: Command> {
    entity: Arc<Identity>,
    seq_nr: SeqNr,
    scope: Scope,
    types: PhantomData<fn(A, C)>,
}

impl<A: Handle<C>, C: Command> Context<A, C> {
    pub(crate) fn new(entity: Arc<Identity>, seq_nr: SeqNr, scope: Scope) -> Self {
        Self { entity, seq_nr, scope, types: PhantomData }
    }

    pub(crate) fn into_scope(self) -> Scope {
        self.scope
    }

    /// The moment of the command; the events that it persists carry the same time stamp.
    pub fn now(&self) -> Timestamp {
        self.scope.now
    }

    /// A new UUIDv7; the n-th call for a command gives the same id each time the command is decided.
    pub fn new_id(&mut self) -> Uuid {
        let drawn = self.scope.ids_used;
        self.scope.ids_used += 1;
        match self.scope.ids.get(drawn) {
            Some(id) => *id,
            None => {
                let id = self.entity.surroundings.environment.ids.new_id(self.scope.now);
                self.scope.ids.push(id);
                id
            }
        }
    }

    /// The entity's id within its kind, `alice` of `account|alice`.
    pub fn entity_id(&self) -> &str {
        self.entity.persistence_id.entity_id()
    }

    /// Kind and entity id.
    pub fn persistence_id(&self) -> &PersistenceId {
        &self.entity.persistence_id
    }

    /// The reference to this entity, for whom it spawns or tells about itself. In given / when / then, where no node runs it, it reaches
    /// nobody.
    pub fn myself(&self) -> EntityRef<A> {
        let entities = self.entity.surroundings.entities.upgrade();
        match entities.and_then(|entities| entities.downcast::<Entities<A>>().ok()) {
            Some(entities) => EntityRef::new(self.persistence_id().clone(), entities),
            None => EntityRef::nowhere(Failure::NotRegistered { kind: A::KIND }),
        }
    }

    /// The number of the last event that the state has seen; the next event has the next number.
    pub fn seq_nr(&self) -> SeqNr {
        self.seq_nr
    }

    /// A service that was given when the kind was registered.
    ///
    /// # Panics
    /// When [`PersistentActor::services`](crate::PersistentActor::services) does not declare it: the command fails with
    /// [`Failure::Panicked`](crate::Failure::Panicked) and this sentence, in the first test that gets here. A service that is
    /// declared and not given is an error when the node starts.
    pub fn service<T: Send + Sync + 'static>(&self) -> Arc<T> {
        let name = std::any::type_name::<T>();
        assert!(
            self.entity.surroundings.needs.declares::<T>(),
            "service {name} is used but not declared: add `needs.service::<{name}>()` to `services` of kind {:?}",
            A::KIND
        );
        match self.entity.surroundings.services.get::<T>() {
            Some(service) => service,
            None => unreachable!("a node does not start while a declared service is missing"),
        }
    }

    /// Persists an event; not an effect until it has a reply.
    pub fn persist(&self, event: A::Event) -> Decision<A, C> {
        Decision::new(Events::One(event))
    }

    /// Persists several events, all or none (I3); an empty list persists nothing.
    pub fn persist_all(&self, events: Vec<A::Event>) -> Decision<A, C> {
        Decision::new(Events::Many(events))
    }

    /// Persists nothing; for what follows a command besides events.
    pub fn none(&self) -> Decision<A, C> {
        Decision::new(Events::None)
    }

    /// Persists nothing and replies.
    pub fn reply(&self, reply: A::Reply) -> Effect<A, C> {
        self.none().reply_with(reply)
    }

    /// Says no.
    pub fn reject(&self, rejection: A::Rejection) -> Effect<A, C> {
        Effect::reject(rejection)
    }

    /// Puts the command aside until another one unstashes.
    pub fn stash(&self) -> Effect<A, C> {
        Effect::stash()
    }

    /// Does asynchronous work before the decision (a price, a fraud check); other commands of the entity wait meanwhile.
    ///
    /// The future yields data and acts on nothing. It is first polled when all that its decision rests on is durable, and dropped
    /// when the entity stops or throws its state away; then it may be made again.
    pub fn run<F>(&self, work: F) -> Run<A, C, F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Run::new(work, self.entity.surroundings.work_limit)
    }
}

impl<A: Handle<C>, C: Command> fmt::Debug for Context<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("persistence_id", &self.entity.persistence_id)
            .field("seq_nr", &self.seq_nr)
            .field("now", &self.scope.now)
            .finish_non_exhaustive()
    }
}

/// What of an entity does not change while it lives.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) persistence_id: PersistenceId,
    pub(crate) surroundings: Arc<Surroundings>,
}

/// What the entities of a kind are given.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) services: Services,
    pub(crate) needs: ServiceNeeds,
    pub(crate) environment: Environment,
    pub(crate) work_limit: Duration,
    /// The [`Entities`] of the kind; nobody where no node runs.
    pub(crate) entities: Weak<dyn Any + Send + Sync>,
}

/// No entities.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn nowhere() -> Weak<dyn Any + Send + Sync> {
    Weak::<()>::new()
}

/// What is drawn once a command, however often it is decided.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) now: Timestamp,
    ids: Vec<Uuid>,
    ids_used: usize,
}

impl Scope {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now, ids: Vec::new(), ids_used: 0 }
    }

    /// The same time and ids for another decision.
    pub(crate) fn again(mut self) -> Self {
        self.ids_used = 0;
        self
    }
}
