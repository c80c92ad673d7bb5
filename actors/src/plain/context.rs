use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::error;

use super::alarm::Alarm;
use super::cell::{AnyCell, Cell, Watchable, Watcher};
use super::event_stream::Registration;
use super::inbox::Halt;
use super::piped::Piped;
use super::props::Plan;
use super::system::pool;
use super::timers::Timers;
use super::{
    Actor, ActorId, ActorPath, ActorRef, ActorSystem, BoxError, DeadLetterReason, Group, Props, Publishable,
    Published, SpawnError, StashFull, Terminated, TimerKey, TooMuchUnderWay,
};
use crate::{EntityRef, Failure, PersistentActor};

/// What an actor can do besides handling its messages: spawn children, watch, start timers, put messages aside, change its
/// behaviour, stop.
///
/// Timers, piped work, watches, subscriptions, and a changed behaviour belong to the instance: they end when it is restarted, and the new
/// instance sets them up in [`Signal::Started`](super::Signal::Started). Children stop then too; what was stashed is handled
/// by the new instance first.
pub struct ActorContext<A: Actor> {
    pub(crate) cell: Arc<Cell<A::Message>>,
    /// What most actors never need is made when it is needed: an idle actor should cost little.
    pub(crate) rare: Option<Box<Rare<A>>>,
    plan: Arc<Plan<A>>,
    /// Says that no child may be spawned any more.
    pub(crate) leaving: bool,
}

pub(crate) struct Rare<A: Actor> {
    pub(crate) children: HashMap<ActorPath, (ActorId, Arc<dyn AnyCell>)>,
    pub(crate) timers: Timers<A::Message>,
    pub(crate) alarm: Alarm,
    pub(crate) piped: Piped<A::Message>,
    pub(crate) behavior: Option<Behavior<A>>,
    /// Handled before anything from the mailbox.
    pub(crate) unstashed: VecDeque<A::Message>,
    stash: VecDeque<A::Message>,
    watching: HashMap<ActorId, Watch<A::Message>>,
    subscriptions: Vec<Registration>,
}

/// How an actor handles messages after [`ActorContext::becomes`].
pub(crate) type Behavior<A> = Arc<
    dyn for<'a> Fn(
            &'a mut A,
            <A as Actor>::Message,
            &'a mut ActorContext<A>,
        ) -> BoxFuture<'a, Result<(), BoxError>>
        + Send
        + Sync,
>;

struct Watch<M> {
    watched: Arc<dyn Watchable>,
    /// Comes in place of the signal.
    message: Option<M>,
}

/// What the end of a watched actor means to its watcher.
pub(crate) enum Notice<M> {
    Signal(Terminated),
    Message(M),
}

impl<A: Actor> ActorContext<A> {
    pub(crate) fn new(cell: Arc<Cell<A::Message>>, plan: Arc<Plan<A>>) -> Self {
        Self { cell, rare: None, plan, leaving: false }
    }

    pub(crate) fn plan(&self) -> &Plan<A> {
        &self.plan
    }

    pub(crate) fn rare(&mut self) -> &mut Rare<A> {
        self.rare.get_or_insert_with(|| Box::new(Rare::new()))
    }

    /// The reference to this actor.
    pub fn myself(&self) -> ActorRef<A::Message> {
        ActorRef { cell: Arc::clone(&self.cell) }
    }

    /// Where this actor stands among its ancestors.
    pub fn path(&self) -> &ActorPath {
        &self.cell.path
    }

    /// The system that it runs in.
    pub fn system(&self) -> ActorSystem {
        ActorSystem { shared: Arc::clone(&self.cell.system) }
    }

    /// Spawns a child, which stops when this actor stops or is restarted.
    ///
    /// # Errors
    /// [`SpawnError`] when a child has the name, the name blurs paths, or this actor is on its way out.
    pub fn spawn<C: Actor>(
        &mut self,
        name: &str,
        props: Props<C>,
    ) -> Result<ActorRef<C::Message>, SpawnError> {
        if self.leaving {
            return Err(SpawnError::Stopping { parent: self.path().clone() });
        }
        let path = self.path().child(name)?;
        if self.rare().children.contains_key(&path) {
            return Err(SpawnError::NameTaken { path });
        }
        let system = Arc::clone(&self.cell.system);
        let parent = Arc::clone(&self.cell) as Arc<dyn Watcher>;
        let child = system.launch(path.clone(), props, Some(parent))?;
        self.rare().children.insert(path, (child.id(), child.any()));
        Ok(child)
    }

    /// Spawns so many children of one kind, to put behind a [router](Group::round_robin): `name-1`, `name-2`…
    ///
    /// # Errors
    /// As of [`spawn`](Self::spawn); then those that were spawned are stopped.
    pub fn spawn_pool<C: Actor>(
        &mut self,
        name: &str,
        size: usize,
        props: Props<C>,
    ) -> Result<Group<C::Message>, SpawnError> {
        let path = self.path().child(name)?;
        let routees = pool(name, size, |name| self.spawn(name, props.clone()))?;
        Ok(Group::new(path, routees, Arc::clone(&self.cell.system)))
    }

    /// How many children have not terminated.
    pub fn children(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.children.len())
    }

    /// Has this actor told of another's end with [`Signal::Terminated`](super::Signal::Terminated); at once, if it has
    /// terminated. The notice goes before all messages and is never dropped.
    pub fn watch<M: Send + 'static>(&mut self, actor: &ActorRef<M>) {
        self.watch_for(actor, None);
    }

    /// As [`watch`](Self::watch), with a message in place of the signal.
    pub fn watch_with<M: Send + 'static>(&mut self, actor: &ActorRef<M>, message: A::Message) {
        self.watch_for(actor, Some(message));
    }

    fn watch_for<M: Send + 'static>(&mut self, actor: &ActorRef<M>, message: Option<A::Message>) {
        self.watch_any(actor.any(), message);
    }

    fn watch_any(&mut self, watched: Arc<dyn Watchable>, message: Option<A::Message>) {
        self.rare().watching.insert(watched.id(), Watch { watched: Arc::clone(&watched), message });
        watched.watched_by(Arc::clone(&self.cell) as Arc<dyn Watcher>);
    }

    /// Has this actor not told of the other's end, even if that has come.
    pub fn unwatch<M: Send + 'static>(&mut self, actor: &ActorRef<M>) {
        if let Some(watch) = self.rare().watching.remove(&actor.id()) {
            watch.watched.unwatched_by(self.cell.id);
        }
    }

    /// Has this actor told, with [`Signal::Terminated`](super::Signal::Terminated), when an entity leaves memory, and
    /// [why](super::TerminationReason): it was idle, was stopped, failed for good, or has a newer owner. At once, if it is not in memory.
    ///
    /// The watch ends with this stay in memory: whoever wants to hear of the next one watches again when the entity is back. A panic that
    /// the entity survives is not its end. The notice goes before all messages and is never dropped.
    ///
    /// # Errors
    /// The [`Failure`] that every ask would have: the kind is not registered, or the id breaks the rules.
    pub fn watch_entity<E: PersistentActor>(&mut self, entity: &EntityRef<E>) -> Result<(), Failure> {
        self.watch_any(entity.activation()?, None);
        Ok(())
    }

    /// As [`watch_entity`](Self::watch_entity), with a message in place of the signal.
    ///
    /// # Errors
    /// As of [`watch_entity`](Self::watch_entity).
    pub fn watch_entity_with<E: PersistentActor>(
        &mut self,
        entity: &EntityRef<E>,
        message: A::Message,
    ) -> Result<(), Failure> {
        self.watch_any(entity.activation()?, Some(message));
        Ok(())
    }

    /// Has this actor not told that the entity leaves memory, even if it has.
    ///
    /// # Errors
    /// As of [`watch_entity`](Self::watch_entity).
    pub fn unwatch_entity<E: PersistentActor>(&mut self, entity: &EntityRef<E>) -> Result<(), Failure> {
        let path = entity.path()?;
        let Some(rare) = &mut self.rare else { return Ok(()) };
        for (_, watch) in rare.watching.extract_if(|_, watch| *watch.watched.path() == path) {
            watch.watched.unwatched_by(self.cell.id);
        }
        Ok(())
    }

    /// Has `message` come once, after a while. A timer with this key is replaced. Timers go before the
    /// mailbox; those that come due while a timer's message is handled let one message pass.
    pub fn start_single_timer(&mut self, key: impl Into<TimerKey>, after: Duration, message: A::Message) {
        self.rare().timers.single(Instant::now(), key.into(), after, message);
    }

    /// Has a message come again and again, each this long after the one before was taken. A timer with this key is replaced.
    pub fn start_timer_with_fixed_delay(
        &mut self,
        key: impl Into<TimerKey>,
        every: Duration,
        message: impl FnMut() -> A::Message + Send + 'static,
    ) {
        self.rare().timers.fixed_delay(Instant::now(), key.into(), every, Box::new(message));
    }

    /// Has a message come at multiples of a period; what a busy actor missed comes once. A timer with this key is replaced.
    pub fn start_timer_at_fixed_rate(
        &mut self,
        key: impl Into<TimerKey>,
        every: Duration,
        message: impl FnMut() -> A::Message + Send + 'static,
    ) {
        self.rare().timers.fixed_rate(Instant::now(), key.into(), every, Box::new(message));
    }

    /// Cancels a timer: its message does not come after this. `false`: there was none.
    pub fn cancel_timer(&mut self, key: &str) -> bool {
        self.rare.as_mut().is_some_and(|rare| rare.timers.cancel(key))
    }

    /// Whether a timer with this key is under way.
    pub fn is_timer_active(&self, key: &str) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.timers.is_active(key))
    }

    /// Puts a message aside until [`unstash_all`](Self::unstash_all).
    ///
    /// # Errors
    /// [`StashFull`]; the message is a dead letter.
    pub fn stash(&mut self, message: A::Message) -> Result<(), StashFull> {
        let capacity = self.plan.stash;
        if self.stashed() >= capacity {
            self.cell.dead_letter(DeadLetterReason::StashFull);
            return Err(StashFull { actor: self.path().clone(), capacity });
        }
        self.rare().stash.push_back(message);
        self.cell.system.metrics.stashed_messages.increment(1.0);
        Ok(())
    }

    /// Has the messages that were put aside handled next, in their old order, before the mailbox.
    pub fn unstash_all(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        self.cell.system.metrics.stashed_messages.decrement(rare.stash.len() as f64);
        // What was put aside now came before what was unstashed earlier and waits still.
        rare.stash.append(&mut rare.unstashed);
        std::mem::swap(&mut rare.unstashed, &mut rare.stash);
    }

    /// How many messages are put aside.
    pub fn stashed(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.stash.len())
    }

    /// Changes the behaviour: from the next message on, `receive` handles messages in place of [`Actor::receive`].
    ///
    /// ```
    /// # use annals_actors::plain::{Actor, ActorContext, BoxError};
    /// # use futures::FutureExt;
    /// struct Door;
    ///
    /// impl Actor for Door {
    ///     type Message = &'static str;
    ///     async fn receive(&mut self, message: &'static str, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
    ///         if message == "lock" {
    ///             ctx.becomes(|door, message, ctx| door.locked(message, ctx).boxed());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Door {
    ///     async fn locked(&mut self, message: &'static str, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
    ///         if message == "unlock" {
    ///             ctx.unbecome();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn becomes(
        &mut self,
        receive: impl for<'a> Fn(
            &'a mut A,
            A::Message,
            &'a mut ActorContext<A>,
        ) -> BoxFuture<'a, Result<(), BoxError>>
        + Send
        + Sync
        + 'static,
    ) {
        self.rare().behavior = Some(Arc::new(receive));
    }

    /// Goes back to [`Actor::receive`].
    pub fn unbecome(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.behavior = None;
        }
    }

    /// Hears all events of a type that are [published](super::EventStream::publish) from now on, as messages. They take room in
    /// the mailbox like others; when it is full, they are missed, counted, and [reported](Published::Missed) later.
    pub fn subscribe<E: Publishable>(
        &mut self,
        message: impl Fn(Published<E>) -> A::Message + Send + Sync + 'static,
    ) {
        let (cell, system) = (Arc::downgrade(&self.cell), Arc::downgrade(&self.cell.system));
        let registration = self.cell.system.events.register(move |published| {
            let (Some(cell), Some(system)) = (cell.upgrade(), system.upgrade()) else { return false };
            // A panic here is not the publisher's.
            let Ok(message) = catch_unwind(AssertUnwindSafe(|| message(published))) else {
                error!(actor = %cell.path, "making a message of a published event panicked");
                return false;
            };
            let taken = cell.inbox.offer(message).is_ok();
            if taken {
                system.metrics.waiting_messages.increment(1.0);
            }
            taken
        });
        self.rare().subscriptions.push(registration);
    }

    /// Runs a future beside the actor's turns, and brings what it yields as a message, before those of the mailbox: so that it need
    /// not be awaited in a handler, which keeps all other messages waiting.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use annals_actors::plain::{Actor, ActorContext, ActorRef, BoxError, NoAnswer, ReplyTo};
    /// # enum Till { Total { reply_to: ReplyTo<u64> } }
    /// # struct Accountant { till: ActorRef<Till> }
    /// enum Message {
    ///     Audit,
    ///     Counted(Result<u64, NoAnswer>),
    /// }
    ///
    /// # impl Actor for Accountant {
    /// # type Message = Message;
    /// async fn receive(&mut self, message: Message, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
    ///     match message {
    ///         Message::Audit => {
    ///             let till = self.till.clone();
    ///             let count = async move { till.ask(|reply_to| Till::Total { reply_to }, Duration::from_secs(1)).await };
    ///             ctx.pipe_to_self(count, Message::Counted)?;
    ///         }
    ///         Message::Counted(total) => println!("{total:?}"),
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// A panic in it is a failure of the actor. A graceful stop waits for it; otherwise it is cancelled with the instance.
    ///
    /// # Errors
    /// [`TooMuchUnderWay`] when 1,024 are under way; the future is dropped.
    pub fn pipe_to_self<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        message: impl FnOnce(T) -> A::Message + Send + 'static,
    ) -> Result<(), TooMuchUnderWay> {
        if self.rare().piped.len() >= MAX_PIPED {
            return Err(TooMuchUnderWay { actor: self.path().clone(), most: MAX_PIPED });
        }
        self.rare().piped.spawn(async move { message(work.await) });
        Ok(())
    }

    /// Has this actor stop gracefully, as [`ActorRef::stop`].
    pub fn stop(&mut self) {
        self.cell.halt(Halt::Drain);
    }

    /// Has this actor stop after this message, as [`ActorRef::stop_now`].
    pub fn stop_now(&mut self) {
        self.cell.halt(Halt::Now);
    }

    /// Frees the name of a child that is gone.
    pub(crate) fn forget_child(&mut self, child: &Terminated) {
        let Some(rare) = &mut self.rare else { return };
        if rare.children.get(&child.path).is_some_and(|(id, _)| *id == child.id) {
            rare.children.remove(&child.path);
        }
    }

    pub(crate) fn behavior(&self) -> Option<Behavior<A>> {
        self.rare.as_ref()?.behavior.clone()
    }

    pub(crate) fn for_each_child(&self, what: impl Fn(&dyn AnyCell)) {
        let children = self.rare.iter().flat_map(|rare| rare.children.values());
        children.for_each(|(_, child)| what(&**child));
    }

    /// What the notice means; `None`: it is no longer watched.
    pub(crate) fn noticed(&mut self, terminated: Terminated) -> Option<Notice<A::Message>> {
        let watch = self.rare.as_mut()?.watching.remove(&terminated.id)?;
        Some(match watch.message {
            Some(message) => Notice::Message(message),
            None => Notice::Signal(terminated),
        })
    }

    /// Ends what belongs to the instance.
    pub(crate) fn forget_instance(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        rare.timers.clear();
        rare.piped.clear();
        rare.behavior = None;
        rare.subscriptions.clear();
        for (_, watch) in rare.watching.drain() {
            watch.watched.unwatched_by(self.cell.id);
        }
        self.unstash_all();
    }
}

impl<A: Actor> Rare<A> {
    fn new() -> Self {
        Self {
            children: HashMap::new(),
            timers: Timers::new(),
            alarm: Alarm::new(),
            piped: Piped::new(),
            behavior: None,
            unstashed: VecDeque::new(),
            stash: VecDeque::new(),
            watching: HashMap::new(),
            subscriptions: Vec::new(),
        }
    }
}

impl<A: Actor> fmt::Debug for ActorContext<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorContext")
            .field("path", self.path())
            .field("children", &self.children())
            .field("timers", &self.rare.as_ref().map(|rare| &rare.timers))
            .field("stashed", &self.stashed())
            .finish_non_exhaustive()
    }
}

/// Futures of one actor that may be under way.
const MAX_PIPED: usize = 1024;
