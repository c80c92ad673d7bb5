use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_journal::PersistenceId;
use annals_migrations::Command;

use super::bench::Bench;
use super::moment::{NEW_YEAR, Numbered};
use crate::panic::message;
use crate::{Handle, Kind, PersistentActor};

/// What happens to one entity, in order; [`Property`](super::Property) makes them.
pub struct Story<A: PersistentActor>(pub(super) Vec<Step<A>>);

/// One step of a story.
pub(super) enum Step<A: PersistentActor> {
    /// A command comes in.
    Command(AnyCommand<A>),
    /// The journal answers everything that is on its way.
    Acknowledge,
    /// The process dies; of the writes on their way this many are stored.
    Crash { stored: usize },
    /// The journal's next answer gets lost, after it stored the write or before.
    LoseAnswer { stored: bool },
    /// A snapshot is due at the next event.
    Snapshot,
}

/// A property of states, by name.
pub(super) type Invariant<A> = (&'static str, Arc<dyn Fn(&A) -> bool + Send + Sync>);

/// A command of any type that the actor handles.
pub(super) struct AnyCommand<A: PersistentActor> {
    shown: String,
    send: Sending<A>,
}

/// Hands the command to the entity on a bench.
type Sending<A> = Arc<dyn Fn(&mut Bench<A>) -> Result<(), String> + Send + Sync>;

impl<A: PersistentActor> AnyCommand<A> {
    pub(super) fn of<C: Command + fmt::Debug>(command: C) -> Self
    where
        A: Handle<C>,
    {
        let shown = format!("{command:?}");
        let send = move |bench: &mut Bench<A>| {
            // Told anew for each attempt to shrink: a command need not be `Clone`, its JSON is.
            let copy = serde_json::to_vec(&command).and_then(|json| serde_json::from_slice::<C>(&json));
            let copy =
                copy.map_err(|error| format!("the command does not survive serialization: {error}"))?;
            drop(bench.send(copy));
            Ok(())
        };
        Self { shown, send: Arc::new(send) }
    }
}

impl<A: PersistentActor> Story<A> {
    /// Tells it to a new entity, and looks at everything after each step.
    pub(super) fn tell(
        &self,
        kind: Kind<A>,
        snapshot_wanted: &AtomicBool,
        invariants: &[Invariant<A>],
        tick: Duration,
    ) -> Result<(), String> {
        let id = PersistenceId::new(A::KIND, "story").map_err(|error| error.to_string())?;
        let mut bench = Bench::new(kind, id, NEW_YEAR, Numbered::default());
        for (at, step) in self.0.iter().enumerate() {
            bench.pass(tick);
            step.take(&mut bench, snapshot_wanted)
                .and_then(|()| look(&mut bench, invariants))
                .map_err(|broken| format!("after step {}: {broken}", at + 1))?;
        }
        bench.acknowledge_all();
        look(&mut bench, invariants).map_err(|broken| format!("at the end: {broken}"))
    }
}

impl<A: PersistentActor> Step<A> {
    fn take(&self, bench: &mut Bench<A>, snapshot_wanted: &AtomicBool) -> Result<(), String> {
        if bench.stopped.is_some() && matches!(self, Self::Command(_)) {
            bench.restart();
        }
        match self {
            Self::Command(command) => (command.send)(bench)?,
            Self::Acknowledge => bench.acknowledge_all(),
            Self::Crash { stored } => bench.crash(*stored),
            Self::LoseAnswer { stored } => bench.lose_answer(*stored),
            Self::Snapshot => snapshot_wanted.store(true, Ordering::Relaxed),
        }
        Ok(())
    }
}

/// Compares the live state with replay whenever all of it is durable, and asks the domain's invariants.
fn look<A: PersistentActor>(bench: &mut Bench<A>, invariants: &[Invariant<A>]) -> Result<(), String> {
    if let Some(error) = bench.recovery_failure() {
        return Err(format!("I6: the entity does not recover: {error}"));
    }
    if bench.is_durable()
        && let Some(live) = bench.live()
    {
        bench.check_recovery(&live);
    }
    let seen = bench.findings.lock();
    if let Some(broken) = seen.broken.first().or(seen.faults.first()) {
        return Err(broken.clone());
    }
    drop(seen);
    let state = bench.fold()?;
    for (name, holds) in invariants {
        match catch_unwind(AssertUnwindSafe(|| holds(&state))) {
            Ok(true) => {}
            Ok(false) => return Err(format!("invariant {name:?} does not hold of the state that is stored")),
            Err(panic) => return Err(format!("invariant {name:?}: {}", message(&*panic))),
        }
    }
    Ok(())
}

impl<A: PersistentActor> fmt::Debug for Story<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            writeln!(f, "{:>4}. {step:?}", at + 1)?;
        }
        Ok(())
    }
}

impl<A: PersistentActor> fmt::Debug for Step<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => command.fmt(f),
            Self::Acknowledge => f.write_str("the journal answers"),
            Self::Crash { stored } => {
                write!(f, "crash; of the writes on their way the first {stored} are stored")
            }
            Self::LoseAnswer { stored: true } => {
                f.write_str("the journal stores a write, its answer is lost")
            }
            Self::LoseAnswer { stored: false } => f.write_str("a write is lost on its way to the journal"),
            Self::Snapshot => f.write_str("a snapshot is due at the next event"),
        }
    }
}

impl<A: PersistentActor> fmt::Debug for AnyCommand<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl<A: PersistentActor> Clone for Story<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: PersistentActor> Clone for Step<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Command(command) => {
                Self::Command(AnyCommand { shown: command.shown.clone(), send: Arc::clone(&command.send) })
            }
            Self::Acknowledge => Self::Acknowledge,
            Self::Crash { stored } => Self::Crash { stored: *stored },
            Self::LoseAnswer { stored } => Self::LoseAnswer { stored: *stored },
            Self::Snapshot => Self::Snapshot,
        }
    }
}
