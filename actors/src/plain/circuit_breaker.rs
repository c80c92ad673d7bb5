//! Spares a service that does not answer, and its callers the wait.
//!
//! ```text
//!           failures in a row              pause over, one call
//! Closed ─────────────────────→ Open ─────────────────────────→ HalfOpen
//!   ▲                            ▲  (longer pause each time)        │
//!   │                            └──────── it fails ────────────────┤
//!   └───────────────────────────────────── it succeeds ─────────────┘
//! ```

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::Backoff;
use crate::telemetry::{breaker_opened, breaker_refused};

/// Refuses calls at once after too many failed in a row, until a trial call succeeds. Cheap to clone; clones are one breaker.
///
/// ```
/// # use annals_actors::plain::{CallError, CircuitBreaker};
/// # async fn price_of(_: &str) -> Result<u64, std::io::Error> { Ok(250) }
/// # async fn example() {
/// let prices = CircuitBreaker::builder("prices").max_failures(3).build();
/// match prices.call(price_of("tea")).await {
///     Ok(cents) => { /* the service answered */ }
///     Err(CallError::Open { retry_after, .. }) => { /* not called: it failed too often; take a default, or come back */ }
///     Err(CallError::TimedOut { .. }) => { /* called, no answer in time */ }
///     Err(CallError::Failed(error)) => { /* called, and this is what it said */ }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    settings: Settings,
    breaker: Mutex<Breaker>,
    chance: RandomState,
    opened: Counter,
    refused: Counter,
}

/// Sets up a [`CircuitBreaker`].
#[derive(Debug, Clone)]
pub struct CircuitBreakerBuilder {
    name: String,
    settings: Settings,
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// All calls.
    Closed,
    /// None, until its pause is over.
    Open,
    /// One, which decides how it goes on.
    HalfOpen,
}

/// Why a call through a breaker has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// Not called: too many calls failed. Come back later, or do without.
    #[error("circuit breaker {name} is open: not called, come back in {retry_after:?} or do without")]
    Open {
        /// Which breaker.
        name: String,
        /// When a trial call may be made; zero: one is under way.
        retry_after: Duration,
    },
    /// Called, and no answer came in time. It may have been carried out.
    #[error("no answer within {limit:?} through circuit breaker {name}: it may have been carried out")]
    TimedOut {
        /// Which breaker.
        name: String,
        /// How long the call may take.
        limit: Duration,
    },
    /// Called, and it failed.
    #[error("called, and it failed")]
    Failed(#[source] E),
}

impl CircuitBreakerBuilder {
    /// Opens after so many failures in a row (at least one); default 5.
    #[must_use]
    pub fn max_failures(mut self, failures: u32) -> Self {
        self.settings.max_failures = failures.max(1);
        self
    }

    /// How long a call may take before it is cancelled and counts as failed; default 10 s.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.settings.call_timeout = limit;
        self
    }

    /// How long it stays open before a trial call, longer each time that fails; default 5 s to 1 minute.
    #[must_use]
    pub fn reset(mut self, backoff: Backoff) -> Self {
        self.settings.reset = backoff;
        self
    }

    /// The breaker, closed.
    pub fn build(self) -> CircuitBreaker {
        CircuitBreaker {
            shared: Arc::new(Shared {
                opened: breaker_opened(&self.name),
                refused: breaker_refused(&self.name),
                name: self.name,
                breaker: Mutex::new(Breaker::new(self.settings)),
                settings: self.settings,
                chance: RandomState::new(),
            }),
        }
    }
}

impl CircuitBreaker {
    /// A breaker with this name, which stands in its metrics, logs and errors.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerBuilder {
        let reset = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
        let settings = Settings { max_failures: 5, call_timeout: Duration::from_secs(10), reset };
        CircuitBreakerBuilder { name: name.into(), settings }
    }

    /// Makes a call if the breaker lets it through; each error counts as a failure.
    ///
    /// # Errors
    /// [`CallError`] says whether the call was made.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call. It counts neither as failed nor as succeeded.
    pub async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, CallError<E>> {
        self.call_counting(call, |_| true).await
    }

    /// As [`call`](Self::call); only errors for which `counts` is true say something about the service. A rejection by a domain, for
    /// one, shows that it works.
    ///
    /// # Errors
    /// As of [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As of [`call`](Self::call).
    pub async fn call_counting<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        counts: impl FnOnce(&E) -> bool,
    ) -> Result<T, CallError<E>> {
        let shared = &self.shared;
        let pass = match shared.breaker().enter(Instant::now()) {
            Ok(pass) => pass,
            Err(retry_after) => {
                shared.refused.increment(1);
                return Err(CallError::Open { name: shared.name.clone(), retry_after });
            }
        };
        let mut call_under_way = UnderWay { shared, pass: Some(pass) };
        let limit = shared.settings.call_timeout;
        match timeout(limit, call).await {
            Ok(Ok(value)) => {
                call_under_way.leave(Outcome::Succeeded);
                Ok(value)
            }
            Ok(Err(error)) => {
                call_under_way.leave(if counts(&error) { Outcome::Failed } else { Outcome::Succeeded });
                Err(CallError::Failed(error))
            }
            Err(_) => {
                call_under_way.leave(Outcome::Failed);
                Err(CallError::TimedOut { name: shared.name.clone(), limit })
            }
        }
    }

    /// What it lets through now.
    pub fn state(&self) -> CircuitState {
        match self.shared.breaker().state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CircuitBreaker({}, {:?})", self.shared.name, self.state())
    }
}

impl Shared {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Whole at every point where its holder could panic.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, pass: Pass, outcome: Outcome) {
        let now = Instant::now();
        let bits = u32::try_from(self.chance.hash_one(now) >> 32).unwrap_or_default();
        let change = self.breaker().leave(pass, outcome, now, f64::from(bits) / f64::from(u32::MAX));
        match change {
            Some(Change::Opened { pause }) => {
                self.opened.increment(1);
                warn!(breaker = self.name, ?pause, "circuit breaker opened: calls are refused");
            }
            Some(Change::Closed) => info!(breaker = self.name, "circuit breaker closed: calls go through"),
            None => {}
        }
    }
}

/// A call that was let through; one that is dropped is abandoned.
struct UnderWay<'a> {
    shared: &'a Shared,
    pass: Option<Pass>,
}

impl UnderWay<'_> {
    fn leave(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            self.shared.leave(pass, outcome);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.leave(Outcome::Abandoned);
    }
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    max_failures: u32,
    call_timeout: Duration,
    reset: Backoff,
}

/// The state machine: no clock, no chance of its own.
#[derive(Debug)]
struct Breaker {
    settings: Settings,
    state: State,
    /// Counts changes of state: a call that was let through in an earlier one says nothing about this one.
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { trial: bool, times: u32 },
}

/// Lets one call through.
#[derive(Debug)]
struct Pass {
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Failed,
    Abandoned,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Opened { pause: Duration },
    Closed,
}

impl Breaker {
    fn new(settings: Settings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, period: 0 }
    }

    /// `Err`: not now; when to come back.
    fn enter(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < until => return Err(until - now),
            State::Open { times, .. } => self.turn(State::HalfOpen { trial: true, times }),
            State::HalfOpen { trial: true, .. } => return Err(Duration::ZERO),
            State::HalfOpen { trial: false, times } => self.state = State::HalfOpen { trial: true, times },
        }
        Ok(Pass { period: self.period })
    }

    fn leave(&mut self, pass: Pass, outcome: Outcome, now: Instant, chance: f64) -> Option<Change> {
        if pass.period != self.period {
            return None;
        }
        match (self.state, outcome) {
            (State::Closed { .. }, Outcome::Succeeded) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Outcome::Failed) if failures + 1 >= self.settings.max_failures => {
                return Some(self.open(0, now, chance));
            }
            (State::Closed { failures }, Outcome::Failed) => {
                self.state = State::Closed { failures: failures + 1 };
            }
            (State::HalfOpen { .. }, Outcome::Succeeded) => {
                self.turn(State::Closed { failures: 0 });
                return Some(Change::Closed);
            }
            (State::HalfOpen { times, .. }, Outcome::Failed) => {
                return Some(self.open(times.saturating_add(1), now, chance));
            }
            (State::HalfOpen { times, .. }, Outcome::Abandoned) => {
                self.state = State::HalfOpen { trial: false, times };
            }
            (State::Closed { .. }, Outcome::Abandoned) => {}
            // No call is let through while it is open, so none of this period ends.
            (State::Open { .. }, _) => {}
        }
        None
    }

    fn open(&mut self, times: u32, now: Instant, chance: f64) -> Change {
        let pause = self.settings.reset.pause(times, chance);
        self.turn(State::Open { until: now + pause, times });
        Change::Opened { pause }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let reset = Backoff::new(SEC, 4 * SEC).jitter(0.0);
        let settings = Settings { max_failures: 2, call_timeout: SEC, reset };
        (Breaker::new(settings), Instant::now())
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let pass = breaker.enter(now).unwrap();
        breaker.leave(pass, Outcome::Failed, now, 0.0)
    }

    fn opened(now: Instant, breaker: &mut Breaker) {
        fail(breaker, now);
        assert_eq!(fail(breaker, now), Some(Change::Opened { pause: SEC }));
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let (mut breaker, now) = breaker();
        for _ in 0..5 {
            assert_eq!(fail(&mut breaker, now), None);
            let pass = breaker.enter(now).unwrap();
            assert_eq!(breaker.leave(pass, Outcome::Succeeded, now, 0.0), None);
        }
        opened(now, &mut breaker);
        assert_eq!(breaker.enter(now).unwrap_err(), SEC);
    }

    #[test]
    fn half_open_lets_one_through_which_decides() {
        let (mut breaker, now) = breaker();
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        assert_eq!(breaker.enter(now + SEC).unwrap_err(), Duration::ZERO);
        assert_eq!(breaker.leave(trial, Outcome::Succeeded, now + SEC, 0.0), Some(Change::Closed));
        assert_eq!(breaker.state, State::Closed { failures: 0 });
    }

    #[test]
    fn pauses_grow_while_trials_fail_and_are_short_again_after_a_success() {
        let (mut breaker, mut now) = breaker();
        opened(now, &mut breaker);
        for pause in [2, 4, 4] {
            now += 10 * SEC;
            assert_eq!(fail(&mut breaker, now), Some(Change::Opened { pause: pause * SEC }));
        }
        now += 10 * SEC;
        let trial = breaker.enter(now).unwrap();
        breaker.leave(trial, Outcome::Succeeded, now, 0.0);
        opened(now, &mut breaker);
    }

    #[test]
    fn a_trial_that_is_abandoned_makes_way_for_another() {
        let (mut breaker, now) = breaker();
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        assert_eq!(breaker.leave(trial, Outcome::Abandoned, now + SEC, 0.0), None);
        assert!(breaker.enter(now + SEC).is_ok());
    }

    #[test]
    fn a_call_of_an_earlier_period_decides_nothing() {
        let (mut breaker, now) = breaker();
        let slow = [breaker.enter(now).unwrap(), breaker.enter(now).unwrap()];
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        for pass in slow {
            assert_eq!(breaker.leave(pass, Outcome::Failed, now + SEC, 0.0), None);
        }
        assert_eq!(breaker.leave(trial, Outcome::Succeeded, now + SEC, 0.0), Some(Change::Closed));
    }

    const STATES: [&str; 5] = ["Closed", "Open", "Open, pause over", "HalfOpen, trial under way", "HalfOpen"];

    /// A breaker in this state, with a call of its period where there is one, and one of an earlier period where there was one.
    fn at(state: &str) -> (Breaker, Option<Pass>, Option<Pass>, Instant) {
        let (mut breaker, mut now) = breaker();
        let mut pass = breaker.enter(now).ok();
        let mut earlier = None;
        if state != "Closed" {
            earlier = pass.take();
            opened(now, &mut breaker);
        }
        if state != "Open" {
            now += SEC;
        }
        if state.starts_with("HalfOpen") {
            pass = breaker.enter(now).ok();
        }
        if state == "HalfOpen" {
            breaker.leave(pass.take().unwrap(), Outcome::Abandoned, now, 0.0);
        }
        (breaker, pass, earlier, now)
    }

    fn name(breaker: &Breaker, now: Instant) -> &'static str {
        match breaker.state {
            State::Closed { .. } => "Closed",
            State::Open { until, .. } if now < until => "Open",
            State::Open { .. } => "Open, pause over",
            State::HalfOpen { trial: true, .. } => "HalfOpen, trial under way",
            State::HalfOpen { trial: false, .. } => "HalfOpen",
        }
    }

    #[test]
    fn each_input_leads_where_the_table_says_from_each_state() {
        // A call comes; the call under way succeeds, fails, is abandoned; a call of an earlier period fails.
        // `=`: it stays. `no`: refused, and it stays. `-`: impossible, no such call can be under way.
        const TABLE: [[&str; 5]; 5] = [
            ["=", "=", "Open", "=", "-"],
            ["no", "-", "-", "-", "="],
            ["HalfOpen, trial under way", "-", "-", "-", "="],
            ["no", "Closed", "Open", "HalfOpen", "="],
            ["HalfOpen, trial under way", "-", "-", "-", "="],
        ];
        for (state, row) in STATES.iter().zip(TABLE) {
            for (input, expected) in
                ["call", "succeeds", "fails", "abandoned", "earlier fails"].iter().zip(row)
            {
                let (mut breaker, pass, earlier, now) = at(state);
                assert_eq!(name(&breaker, now), *state);
                if (*state, *input) == ("Closed", "fails") {
                    // The second in a row is one too many.
                    assert_eq!(fail(&mut breaker, now), None);
                }
                let outcome = match *input {
                    "succeeds" => Some(Outcome::Succeeded),
                    "fails" | "earlier fails" => Some(Outcome::Failed),
                    "abandoned" => Some(Outcome::Abandoned),
                    _ => None,
                };
                let call = if *input == "earlier fails" { earlier } else { pass };
                let came = match (outcome, call) {
                    (None, _) => breaker.enter(now).map(|_| ()).map_err(|_| "no"),
                    (Some(_), None) => Err("-"),
                    (Some(outcome), Some(call)) => {
                        breaker.leave(call, outcome, now, 0.0);
                        Ok(())
                    }
                };
                let to = name(&breaker, now);
                let found = came.map_or_else(|why| why, |()| if to == *state { "=" } else { to });
                println!("{state:25} {input:13} {found}");
                assert_eq!(found, expected, "{state}, {input}");
                assert!(came.is_ok() || to == *state);
            }
        }
    }
}
