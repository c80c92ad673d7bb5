use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_migrations::Command;
use annals_snapshot::SnapshotPolicy;
use proptest::strategy::{BoxedStrategy, Just, Strategy, Union};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use super::story::{AnyCommand, Invariant, Step, Story};
use crate::{Handle, Kind, Lists, PersistentActor};

/// Tells an entity random stories, and checks that what must hold does: I2, I5, I6 and I7, all that [`Given`](super::Given)
/// checks of each command, and the invariants of the domain.
///
/// A story is a sequence of commands from your own generators, mixed with crashes (of the writes on their way some are
/// stored), lost answers of the journal and snapshots at random moments. One that breaks something is shrunk to a short one.
///
/// ```no_run
/// use annals_actors::testing::Property;
/// use proptest::prelude::*;
/// # use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor};
/// # use annals_migrations::{Command, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { cents: i64 }
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { cents: i64 } }
/// # #[derive(Debug, Serialize, Deserialize, Command)]
/// # struct Deposit { cents: i64 }
/// # impl PersistentActor for Account {
/// #     const KIND: &'static str = "account";
/// #     type Event = AccountEvent;
/// #     type Commands = (Deposit,);
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         let AccountEvent::Deposited { cents } = event;
/// #         self.cents += cents;
/// #     }
/// # }
/// # impl Handle<Deposit> for Account {
/// #     type Reply = i64;
/// #     type Rejection = NeverRejected;
/// #     fn handle(&self, command: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
/// #         ctx.persist(AccountEvent::Deposited { cents: command.cents }).reply(|account| account.cents)
/// #     }
/// # }
///
/// Property::<Account>::new()
///     .command((1..1_000i64).prop_map(|cents| Deposit { cents }))
///     .invariant("never overdrawn", |account| account.cents >= 0)
///     .check();
/// ```
#[must_use = "a property does nothing before `.check()`"]
pub struct Property<A: PersistentActor> {
    kind: Box<dyn Fn() -> Kind<A>>,
    commands: Vec<BoxedStrategy<AnyCommand<A>>>,
    invariants: Vec<Invariant<A>>,
    config: Config,
    steps: usize,
}

impl<A: PersistentActor> Default for Property<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: PersistentActor> Property<A> {
    /// A kind with its defaults, and no commands yet.
    pub fn new() -> Self {
        Self::of(Kind::new)
    }

    /// The same of a kind that is set up as for a node; it is made anew for each story, so that stories do not share fakes.
    pub fn of(kind: impl Fn() -> Kind<A> + 'static) -> Self {
        let config = Config { failure_persistence: None, ..Config::default() };
        Self { kind: Box::new(kind), commands: Vec::new(), invariants: Vec::new(), config, steps: 30 }
    }

    /// Commands of one type; stories mix all types that are given.
    pub fn command<C, Place>(mut self, generator: impl Strategy<Value = C> + 'static) -> Self
    where
        C: Command + fmt::Debug,
        A: Handle<C>,
        A::Commands: Lists<C, Place>,
    {
        self.commands.push(generator.prop_map(AnyCommand::of).boxed());
        self
    }

    /// What must be true of every state, after each command and each recovery.
    pub fn invariant(
        mut self,
        name: &'static str,
        holds: impl Fn(&A) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.invariants.push((name, Arc::new(holds)));
        self
    }

    /// How many stories are told; default 256, or what the environment variable `PROPTEST_CASES` says.
    pub fn cases(mut self, cases: u32) -> Self {
        self.config.cases = cases;
        self
    }

    /// The most steps of a story; default 30.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps.max(1);
        self
    }

    /// The stories as a proptest strategy, for a `proptest!` of your own that looks at them with [`Self::tell`].
    ///
    /// # Panics
    /// Without a generator of commands.
    pub fn stories(&self) -> BoxedStrategy<Story<A>> {
        self.stories_of(self.steps)
    }

    fn stories_of(&self, steps: usize) -> BoxedStrategy<Story<A>> {
        assert!(!self.commands.is_empty(), "give the property commands with `.command(generator)`");
        let command = Union::new(self.commands.clone()).prop_map(Step::Command);
        let step = proptest::prop_oneof![
            8 => command,
            3 => Just(Step::Acknowledge),
            1 => (0..4usize).prop_map(|stored| Step::Crash { stored }),
            1 => proptest::bool::ANY.prop_map(|stored| Step::LoseAnswer { stored }),
            1 => Just(Step::Snapshot),
        ];
        proptest::collection::vec(step, 1..=steps).prop_map(Story).boxed()
    }

    /// Tells one story.
    ///
    /// # Errors
    /// What was broken, and at which step, as text for a person.
    pub fn tell(&self, story: &Story<A>) -> Result<(), String> {
        let wanted = Arc::new(AtomicBool::new(false));
        let mut kind = (self.kind)();
        let policy = std::mem::take(&mut kind.snapshots);
        let asked = Arc::clone(&wanted);
        kind.snapshots = policy.or(SnapshotPolicy::when(move |_, _, _| asked.swap(false, Ordering::Relaxed)));
        story.tell(kind, &wanted, &self.invariants, TICK)
    }

    /// Leaves out every step without which it still breaks: proptest makes commands smaller after it has left out
    /// steps, and smaller commands need fewer of them.
    fn shorten(&self, mut story: Story<A>, mut reason: String) -> (Story<A>, String) {
        let mut at = 0;
        while at < story.0.len() {
            let mut shorter = story.clone();
            shorter.0.remove(at);
            match self.tell(&shorter) {
                Err(broken) => (story, reason, at) = (shorter, broken, 0),
                Ok(()) => at += 1,
            }
        }
        (story, reason)
    }

    /// Looks for a story with fewer steps, until none breaks: where small commands sum up to what is wrong, no step
    /// of a story can be left out, though fewer and larger ones would do.
    fn retell(&self, mut story: Story<A>, mut reason: String) -> (Story<A>, String) {
        while story.0.len() > 1 {
            let config = Config { cases: self.config.cases.saturating_mul(4), ..self.config.clone() };
            let stories = self.stories_of(story.0.len() - 1);
            let told =
                TestRunner::new(config).run(&stories, |story| self.tell(&story).map_err(TestCaseError::fail));
            let Err(TestError::Fail(broken, shorter)) = told else { break };
            (story, reason) = self.shorten(shorter, broken.to_string());
        }
        (story, reason)
    }

    /// Tells all stories.
    ///
    /// # Panics
    /// When one breaks something: with the shortest story found that does, and what it breaks.
    #[track_caller]
    pub fn check(self) {
        let mut runner = TestRunner::new(self.config.clone());
        let told = runner.run(&self.stories(), |story| self.tell(&story).map_err(TestCaseError::fail));
        match told {
            Ok(()) => {}
            Err(TestError::Fail(reason, story)) => {
                let (story, reason) = self.shorten(story, reason.to_string());
                let (story, reason) = self.retell(story, reason);
                panic!("a short story that breaks it:\n{story:?}{reason}")
            }
            Err(TestError::Abort(reason)) => panic!("the generators gave up: {reason}"),
        }
    }
}

impl<A: PersistentActor> fmt::Debug for Property<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Property")
            .field("kind", &A::KIND)
            .field("commands", &self.commands.len())
            .field("cases", &self.config.cases)
            .finish_non_exhaustive()
    }
}

/// Time between two steps.
const TICK: Duration = Duration::from_secs(1);
