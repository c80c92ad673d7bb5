use std::any::Any;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use annals_migrations::Command;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Context, Handle, PersistentActor};

mod deed;
mod toolkit;

pub(crate) use deed::{Child, Deed, Notice, Schedule, Spawn, TellChild};

/// What a command does; made by the [`Context`].
#[must_use = "an effect does nothing unless the handler returns it"]
pub struct Effect<A: Handle<C>, C: Command>(pub(crate) EffectKind<A, C>);

pub(crate) enum EffectKind<A: Handle<C>, C: Command> {
    Answer { decision: Decision<A, C>, answer: Answer<A, C> },
    Stash,
    Run { work: Work, limit: Duration, then: Continuation<A, C> },
}

pub(crate) enum Answer<A: Handle<C>, C: Command> {
    Now(A::Reply),
    From(ReplyFrom<A, <A as Handle<C>>::Reply>),
    No(A::Rejection),
}

/// Asynchronous work and what it yields.
pub(crate) type Work = BoxFuture<'static, Box<dyn Any + Send>>;
/// Decides with what the work yielded.
pub(crate) type Continuation<A, C> =
    Box<dyn FnOnce(&A, &C, Box<dyn Any + Send>, &mut Context<A, C>) -> Effect<A, C> + Send>;
/// Makes a reply from the state.
type ReplyFrom<A, R> = Box<dyn FnOnce(&A) -> R + Send>;

/// Something done once durable.
pub(crate) enum SideEffect<A: PersistentActor> {
    /// Beside the entity's commands.
    Run(BoxFuture<'static, ()>),
    /// By its timers, watches and children, at once.
    Do(Box<Deed<A>>),
}

/// Makes a side effect from the state.
pub(crate) enum Then<A: PersistentActor> {
    Run(RunFrom<A>),
    Do(Box<Deed<A>>),
}

/// Makes a future from the state.
type RunFrom<A> = Box<dyn FnOnce(&A) -> BoxFuture<'static, ()> + Send>;

impl<A: PersistentActor> Then<A> {
    pub(crate) fn evaluate(self, state: &A) -> SideEffect<A> {
        match self {
            Self::Run(run) => SideEffect::Run(run(state)),
            Self::Do(deed) => SideEffect::Do(deed),
        }
    }
}

impl<A: Handle<C>, C: Command> Effect<A, C> {
    pub(crate) fn reject(rejection: A::Rejection) -> Self {
        Self(EffectKind::Answer { decision: Decision::new(Events::None), answer: Answer::No(rejection) })
    }

    pub(crate) fn stash() -> Self {
        Self(EffectKind::Stash)
    }
}

impl<A: Handle<C>, C: Command> fmt::Debug for Effect<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            EffectKind::Answer { answer: Answer::No(_), .. } => "Effect(reject)",
            EffectKind::Answer { decision, .. } if decision.events.is_empty() => "Effect(reply)",
            EffectKind::Answer { .. } => "Effect(persist)",
            EffectKind::Stash => "Effect(stash)",
            EffectKind::Run { .. } => "Effect(run)",
        })
    }
}

/// Events and what follows them; an [`Effect`] once it has a reply, so that a forgotten reply does not compile.
#[must_use = "a decision is an effect only once it has a reply"]
pub struct Decision<A: Handle<C>, C: Command> {
    pub(crate) events: Events<A::Event>,
    pub(crate) then: Vec<Then<A>>,
    pub(crate) unstash: bool,
    pub(crate) after: After,
    command: std::marker::PhantomData<fn(C)>,
}

impl<A: Handle<C>, C: Command> Decision<A, C> {
    pub(crate) fn new(events: Events<A::Event>) -> Self {
        Self {
            events,
            then: Vec::new(),
            unstash: false,
            after: After::GoOn,
            command: std::marker::PhantomData,
        }
    }

    /// Replies with what the state gives right after the command's own events; the reply is held until they are durable.
    pub fn reply(self, reply: impl FnOnce(&A) -> A::Reply + Send + 'static) -> Effect<A, C> {
        Effect(EffectKind::Answer { decision: self, answer: Answer::From(Box::new(reply)) })
    }

    /// Replies with a value, held until the command's events are durable.
    pub fn reply_with(self, reply: A::Reply) -> Effect<A, C> {
        Effect(EffectKind::Answer { decision: self, answer: Answer::Now(reply) })
    }

    /// Runs a side effect once the command's events are durable.
    ///
    /// The closure is called right after the events are applied, with the state of that moment; the future that it yields is held,
    /// and run at most once, never on replay. Side effects of an entity run one after the other in the order of their commands, before
    /// the entity stops; commands go on meanwhile. One that takes longer than the entity's work limit is dropped and logged.
    pub fn then_run<F>(mut self, side_effect: impl FnOnce(&A) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.then.push(Then::Run(Box::new(move |state| side_effect(state).boxed())));
        self
    }

    /// Decides all stashed commands again, in their old order, before any other waiting command.
    pub fn unstash_all(mut self) -> Self {
        self.unstash = true;
        self
    }

    /// Lets the entity leave memory once all is durable; its next command wakes it again.
    ///
    /// Commands that wait in the mailbox or stash survive: they wake it at once.
    pub fn passivate(mut self) -> Self {
        self.after = After::Passivate;
        self
    }

    /// Stops the entity once all is durable; commands that wait in the mailbox or stash are answered with
    /// [`Failure::Stopping`](crate::Failure::Stopping). A later command starts it again.
    pub fn stop(mut self) -> Self {
        self.after = After::Stop;
        self
    }
}

impl<A: Handle<C>, C: Command> fmt::Debug for Decision<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("events", &self.events.len())
            .field("unstash", &self.unstash)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// Work before a decision; an [`Effect`] once it says what to do [`then`](Run::then).
#[must_use = "work before a decision is an effect only with `.then(…)`"]
pub struct Run<A, C, O> {
    work: Work,
    limit: Duration,
    types: std::marker::PhantomData<fn(A, C, O)>,
}

impl<A: Handle<C>, C: Command, O: Send + 'static> Run<A, C, O> {
    pub(crate) fn new(work: impl Future<Output = O> + Send + 'static, limit: Duration) -> Self {
        let work = work.map(|output| Box::new(output) as Box<dyn Any + Send>).boxed();
        Self { work, limit, types: std::marker::PhantomData }
    }

    /// Replaces the time limit (default: the entity's work limit, 10 s).
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Decides with what the work yielded, on the state of that moment.
    pub fn then(
        self,
        decide: impl FnOnce(&A, &C, O, &mut Context<A, C>) -> Effect<A, C> + Send + 'static,
    ) -> Effect<A, C> {
        let then: Continuation<A, C> =
            Box::new(move |state, command, output, ctx| match output.downcast::<O>() {
                Ok(output) => decide(state, command, *output, ctx),
                Err(_) => unreachable!("the work of this continuation yields its input"),
            });
        Effect(EffectKind::Run { work: self.work, limit: self.limit, then })
    }
}

impl<A, C, O> fmt::Debug for Run<A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What happens to the entity once the command is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    GoOn,
    Passivate,
    Stop,
}

/// The events of one command; most have one, which then costs no list.
#[derive(Debug)]
pub(crate) enum Events<E> {
    None,
    One(E),
    Many(Vec<E>),
}

impl<E> Events<E> {
    pub(crate) fn as_slice(&self) -> &[E] {
        match self {
            Self::None => &[],
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }
}

/// An effect without the command's type, for the entity.
pub(crate) enum Outcome<A: PersistentActor> {
    Answer { events: Events<A::Event>, unstash: bool, after: After },
    Stash,
    Run { work: Work, limit: Duration },
}
