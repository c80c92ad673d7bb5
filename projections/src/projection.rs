use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_actors::plain::{ActorRef, ActorSystem, NoAnswer, Props, SpawnError, SupervisorStrategy};
use annals_journal::{JournalError, ReaderName};
use tokio::sync::watch;

use crate::at_least_once::{RecordsStore, record_key};
use crate::instance::{Instance, Message, Plan, Request};
use crate::status::Status;
use crate::store::{Store, StoreError};
use crate::{DeadLetter, FailurePolicy, Handler, Phase, Source};

/// A running projection: an actor that reads the journal and hands events to a handler, from where it stopped before.
///
/// A clone is another handle. It runs until its actor system stops.
#[derive(Clone)]
pub struct Projection {
    name: Arc<str>,
    actor: ActorRef<Message>,
    status: watch::Receiver<Status>,
    questions: Arc<watch::Sender<u64>>,
    asked: Arc<AtomicU64>,
    dead_letters: Arc<dyn DeadLetters>,
}

/// The part of a store that does not know the events' type.
#[async_trait::async_trait]
trait DeadLetters: Send + Sync {
    async fn all(&self) -> Result<Vec<DeadLetter>, StoreError>;
}

struct Of<E>(Arc<dyn Store<E>>);

#[async_trait::async_trait]
impl<E: 'static> DeadLetters for Of<E> {
    async fn all(&self) -> Result<Vec<DeadLetter>, StoreError> {
        self.0.dead_letters().await
    }
}

impl Projection {
    /// Begins to describe a projection. Its name is what its progress is stored under: 1 to 200 bytes without a slash.
    pub fn builder<E: Send + Sync + 'static>(name: &str, source: Source<E>) -> ProjectionBuilder<E> {
        ProjectionBuilder {
            name: name.to_owned(),
            source,
            parallelism: 1,
            batch: BATCH,
            policy: FailurePolicy::default(),
        }
    }

    /// Where it stands now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until its status is as wanted, and gives it; `None` when the projection has ended with its system before.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn until(&self, wanted: impl FnMut(&Status) -> bool) -> Option<Status> {
        self.status.clone().wait_for(wanted).await.ok().map(|status| status.clone())
    }

    /// Waits until everything is projected that was committed before the call.
    ///
    /// # Errors
    /// [`ProjectionError::NotRunning`] when it does not run (any more).
    pub async fn caught_up(&self) -> Result<(), ProjectionError> {
        let question = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.questions.send_if_modified(|asked| {
            let newer = *asked < question;
            *asked = question.max(*asked);
            newer
        });
        let ended = |phase: &Phase| {
            matches!(phase, Phase::Paused | Phase::Fenced | Phase::Replaced | Phase::Stopped { .. })
        };
        let seen = self.until(|status| status.has_answered(question) || ended(&status.phase)).await;
        match seen {
            Some(status) if status.has_answered(question) => Ok(()),
            Some(status) => Err(ProjectionError::NotRunning { phase: status.phase }),
            None => Err(ProjectionError::Ended),
        }
    }

    /// Pauses it: when this is answered nothing is projected any more, here and after the next start, until it is resumed.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub async fn pause(&self) -> Result<(), ProjectionError> {
        self.request(Request::Pause).await
    }

    /// Has it go on: where it was paused, where it stopped, or where another instance has brought it, which is then fenced.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub async fn resume(&self) -> Result<(), ProjectionError> {
        self.request(Request::Resume).await
    }

    /// Empties the view and begins with the first event again. Where the view is in the database of its progress, both are one step.
    ///
    /// # Errors
    /// [`ProjectionError`]; after [`ProjectionError::Interrupted`] it may have been reset.
    pub async fn reset(&self) -> Result<(), ProjectionError> {
        self.request(Request::Reset).await
    }

    /// Takes the place of a projection that this one was built beside, once it has caught up: in one transaction its tables become the other's
    /// ([`SqliteView::replace`](crate::SqliteView::replace), [`PostgresView::replace`](crate::PostgresView::replace)), its progress goes on under the
    /// other's name, and all instances of the other are fenced. Then `live` goes on with its own handler, on the new tables; this one has ended.
    ///
    /// Both must keep their views in the same database.
    ///
    /// # Errors
    /// [`ProjectionError`]; nothing was replaced, except after [`ProjectionError::Interrupted`], where its status tells.
    pub async fn replace(&self, live: &Self) -> Result<(), ProjectionError> {
        self.caught_up().await?;
        self.request(Request::Replace(Arc::clone(&live.name))).await?;
        live.resume().await
    }

    /// The events that it skipped, oldest first.
    ///
    /// # Errors
    /// [`ProjectionError::Interrupted`].
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ProjectionError> {
        self.dead_letters.all().await.map_err(|error| ProjectionError::of(error, &self.name))
    }

    /// Stops it, without a change of where it stands.
    pub async fn stop(&self) {
        self.actor.stop();
        self.actor.terminated().await;
    }

    async fn request(&self, request: Request) -> Result<(), ProjectionError> {
        let asked = self.actor.ask(|reply_to| Message::Request { request, reply_to }, PATIENCE).await;
        asked.map_err(ProjectionError::NoAnswer)?
    }
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection").field("name", &self.name).field("status", &self.status()).finish()
    }
}

/// Describes a projection; made by [`Projection::builder`].
#[derive(Debug)]
#[must_use = "it runs once it was told where its view is, and started"]
pub struct ProjectionBuilder<E> {
    name: String,
    source: Source<E>,
    parallelism: u16,
    batch: usize,
    policy: FailurePolicy,
}

impl<E: Send + Sync + 'static> ProjectionBuilder<E> {
    /// How many readers share the slices, 1 to 1,024; default 1. Events of one id stay in their order. It may be another number at every
    /// start: no offset is lost.
    pub fn parallelism(self, readers: u16) -> Self {
        Self { parallelism: readers, ..self }
    }

    /// The most events that are read and committed together, at least 1; default 500.
    pub fn batch(self, events: usize) -> Self {
        Self { batch: events.max(1), ..self }
    }

    /// What it does with an event that the handler cannot take; default [`FailurePolicy::stop`].
    pub fn on_failure(self, policy: FailurePolicy) -> Self {
        Self { policy, ..self }
    }

    /// The view is in this SQLite file, each event in it exactly once.
    #[cfg(feature = "sqlite")]
    pub fn in_sqlite<V: crate::SqliteView<Event = E>>(
        self,
        database: &annals_journal::sqlite::Database,
        view: V,
    ) -> Ready<E> {
        let store = crate::sqlite::SqliteStore::new(&self.name, database.clone(), view);
        Ready { store: Ok(Arc::new(store)), builder: self }
    }

    /// The view is in this schema of a PostgreSQL server, each event in it exactly once.
    #[cfg(feature = "postgres")]
    pub fn in_postgres<V: crate::PostgresView<Event = E>>(
        self,
        database: &annals_journal::postgres::Database,
        view: V,
    ) -> Ready<E> {
        let store = crate::postgres::PostgresStore::new(&self.name, database.clone(), view);
        Ready { store: Ok(Arc::new(store)), builder: self }
    }

    /// The handler does something anywhere for each event, at least once. Its progress is a record beside the journal.
    pub fn at_least_once<H: Handler<Event = E>>(self, handler: H) -> Ready<E> {
        let records = Arc::clone(self.source.records());
        let store = record_key(&self.name)
            .map(|key| Arc::new(RecordsStore::new(&self.name, key, records, handler)) as Arc<dyn Store<E>>);
        Ready { store, builder: self }
    }
}

/// A projection that can be started.
#[must_use = "it runs once it was started"]
pub struct Ready<E> {
    store: Result<Arc<dyn Store<E>>, JournalError>,
    builder: ProjectionBuilder<E>,
}

impl<E: Send + Sync + 'static> Ready<E> {
    /// Starts it as an actor `projection-NAME` of a system, usually the node's ([`Node::system`](annals_actors::Node::system)): it stops
    /// before the node does.
    ///
    /// Whatever goes wrong later, such as a database that is away, is in its [status](Projection::status).
    ///
    /// # Errors
    /// [`ProjectionError::Name`], [`ProjectionError::Spawn`].
    pub fn start(self, system: &ActorSystem) -> Result<Projection, ProjectionError> {
        let Self { store, builder } = self;
        let ProjectionBuilder { name, source, parallelism, batch, policy } = builder;
        let wrong = |error: String| ProjectionError::Name { name: name.clone(), reason: error };
        record_key(&name).map_err(|error| wrong(error.to_string()))?;
        let reader =
            ReaderName::new(&format!("projection/{name}")).map_err(|error| wrong(error.to_string()))?;
        let store = store.map_err(|error| wrong(error.to_string()))?;
        let (status, seen) = watch::channel(Status::starting());
        let questions = Arc::new(watch::channel(0).0);
        let name: Arc<str> = name.into();
        let plan = Arc::new(Plan {
            name: Arc::clone(&name),
            source: Arc::new(source),
            store: Arc::clone(&store),
            parallelism,
            batch,
            policy,
            reader,
            status: Arc::new(status),
            questions: Arc::clone(&questions),
        });
        let props = Props::new(move || Instance::new(Arc::clone(&plan)))
            .supervisor(SupervisorStrategy::restart().without_limit());
        let actor = system.spawn(&format!("projection-{name}"), props)?;
        let dead_letters = Arc::new(Of(store));
        Ok(Projection { name, actor, status: seen, questions, asked: Arc::default(), dead_letters })
    }
}

impl<E> fmt::Debug for Ready<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("name", &self.builder.name).finish_non_exhaustive()
    }
}

/// Why a projection did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// It can have no such name.
    #[error("no projection can be named {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is allowed.
        reason: String,
    },
    /// Its actor could not be spawned.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Its actor gave no answer in time, or has stopped.
    #[error(transparent)]
    NoAnswer(NoAnswer),
    /// It has ended with its actor system.
    #[error("the projection has ended with its actor system")]
    Ended,
    /// It does not run.
    #[error("the projection does not run: {phase:?}; resume it")]
    NotRunning {
        /// What it does.
        phase: Phase,
    },
    /// A newer instance has it; nothing was changed.
    #[error("a newer instance has the projection {name:?}: ask that one, or resume this one to take it over")]
    Fenced {
        /// Which.
        name: String,
    },
    /// The store could not be asked; it may have been done.
    #[error(transparent)]
    Interrupted(JournalError),
    /// The handler, or what is stored, says no.
    #[error("the projection {name:?}: {reason}")]
    Refused {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
}

impl ProjectionError {
    pub(crate) fn of(error: StoreError, name: &str) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced { name: name.to_owned() },
            StoreError::Interrupted(error) => Self::Interrupted(error),
            StoreError::Refused(reason) => Self::Refused { name: name.to_owned(), reason },
        }
    }
}

const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);
