//! Spares a service that does not answer, and its callers the wait.
//!
//! ```text
//!           failures in a row              pause over, one call
//! Closed ─────────────────────→ Open ─────────────────────────→ HalfOpen
//!   ▲                            ▲  (longer pause each time)        │
//!   │                            └──────── it fails ────────────────┤
//!   └───────────────────────────────────── it succeeds ─────────────┘
//! ```

mod breaker;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use self::breaker::{Breaker, Change, Outcome, Pass, Settings, State};
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
