//! What becomes of an actor that failed: restart with a growing pause, stop, or escalate.

use std::collections::VecDeque;
use std::time::Duration;

use annals_journal::Timestamp;
use tokio::time::Instant;

use crate::environment::FOR_EVER;

/// What becomes of an actor that failed, by a panic or by an error of its handler. The default is to
/// [restart](RestartPolicy::default).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SupervisorStrategy {
    /// A new instance takes over its mailbox after a pause.
    #[default]
    Restart,
    /// As `Restart`, with settings of one's own.
    RestartWith(RestartPolicy),
    /// It stops; what waits in its mailbox becomes dead letters.
    Stop,
    /// It stops, and its parent fails with it. A top-level actor has no parent: there it is like `Stop`.
    Escalate,
}

impl SupervisorStrategy {
    /// To restart, with settings to be chosen.
    pub fn restart() -> RestartPolicy {
        RestartPolicy::default()
    }
}

impl From<RestartPolicy> for SupervisorStrategy {
    fn from(policy: RestartPolicy) -> Self {
        Self::RestartWith(policy)
    }
}

/// How an actor or an [entity](crate::Kind::restart) is restarted: pauses that double from 100 ms to 30 s with 20 % of jitter, and at
/// most 10 restarts within 5 minutes, then it stops.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    pub(crate) backoff: Backoff,
    pub(crate) limit: Option<(usize, Duration)>,
    reset_after: Duration,
    then_escalate: bool,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            limit: Some((10, Duration::from_secs(300))),
            reset_after: Duration::from_secs(60),
            then_escalate: false,
        }
    }
}

impl RestartPolicy {
    /// The pauses before restarts; default [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// At most so many restarts within this time; default 10 within 5 minutes. One failure more, and the actor stops.
    #[must_use]
    pub fn limit(mut self, restarts: usize, within: Duration) -> Self {
        self.limit = Some((restarts, within));
        self
    }

    /// Restarts without a limit; the pauses still grow.
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.limit = None;
        self
    }

    /// After this time without a failure the pauses are short again; default 1 minute.
    #[must_use]
    pub fn reset_after(mut self, quiet: Duration) -> Self {
        self.reset_after = quiet;
        self
    }

    /// Escalates at the limit, where the default is to stop.
    #[must_use]
    pub fn then_escalate(mut self) -> Self {
        self.then_escalate = true;
        self
    }
}

/// Pauses that double from one to the next; default 100 ms to 30 s with up to 20 % more by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(30), jitter: 0.2 }
    }
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(FOR_EVER);
        Self { first, longest: longest.clamp(first, FOR_EVER), ..Self::default() }
    }

    /// How much of a pause is added by chance, 0.0 to 1.0, so that those that failed together do not come back together.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The pause after so many in a row; `chance` from 0.0 to 1.0.
    pub(crate) fn pause(&self, before: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX));
        self.spread(doubled.min(self.longest), chance)
    }

    /// A pause and its jitter; `chance` from 0.0 to 1.0.
    pub(crate) fn spread(&self, pause: Duration, chance: f64) -> Duration {
        pause.saturating_add(pause.mul_f64(self.jitter * chance.clamp(0.0, 1.0)))
    }
}

/// What supervision decides about one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directive {
    Restart { after: Duration },
    Stop,
    Escalate,
}

/// A moment of some clock.
pub(crate) trait Moment: Copy {
    /// The time since an earlier one; nothing if it was later.
    fn since(self, earlier: Self) -> Duration;
}

impl Moment for Instant {
    fn since(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Moment for Timestamp {
    fn since(self, earlier: Self) -> Duration {
        Self::since(self, earlier)
    }
}

/// Keeps count of an actor's failures. No clock, no chance of its own.
#[derive(Debug)]
pub(crate) struct Supervisor<T> {
    strategy: SupervisorStrategy,
    /// When restarts were decided, within the limit's window only; never longer than the limit.
    restarts: VecDeque<T>,
    in_a_row: u32,
    /// The last failure, and the pause after it.
    last: Option<(T, Duration)>,
}

impl<T: Moment> Supervisor<T> {
    pub(crate) fn new(strategy: SupervisorStrategy) -> Self {
        let strategy = match strategy {
            SupervisorStrategy::Restart => RestartPolicy::default().into(),
            other => other,
        };
        Self { strategy, restarts: VecDeque::new(), in_a_row: 0, last: None }
    }

    pub(crate) fn failed(&mut self, now: T, chance: f64) -> Directive {
        let policy = match &self.strategy {
            SupervisorStrategy::RestartWith(policy) => policy,
            SupervisorStrategy::Escalate => return Directive::Escalate,
            // `new` has turned `Restart` into `RestartWith`.
            SupervisorStrategy::Stop | SupervisorStrategy::Restart => return Directive::Stop,
        };
        if let Some((most, within)) = policy.limit {
            while self.restarts.front().is_some_and(|first| now.since(*first) >= within) {
                self.restarts.pop_front();
            }
            if self.restarts.len() >= most {
                return if policy.then_escalate { Directive::Escalate } else { Directive::Stop };
            }
            self.restarts.push_back(now);
        }
        if self
            .last
            .is_some_and(|(failed, pause)| now.since(failed) >= pause.saturating_add(policy.reset_after))
        {
            self.in_a_row = 0;
        }
        let after = policy.backoff.pause(self.in_a_row, chance);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = Some((now, after));
        Directive::Restart { after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SEC: Duration = Duration::from_secs(1);

    fn policy() -> RestartPolicy {
        SupervisorStrategy::restart().backoff(Backoff::new(100 * MS, SEC).jitter(0.0)).without_limit()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut supervisor = Supervisor::new(policy().into());
        let now = Instant::now();
        let pauses: Vec<_> = (0..6).map(|_| supervisor.failed(now, 0.0)).collect();
        let expected = [100, 200, 400, 800, 1000, 1000].map(|ms| Directive::Restart { after: ms * MS });
        assert_eq!(pauses, expected);
    }

    #[test]
    fn pauses_are_short_again_after_a_quiet_time() {
        let mut supervisor = Supervisor::new(policy().reset_after(10 * SEC).into());
        let now = Instant::now();
        supervisor.failed(now, 0.0);
        assert_eq!(supervisor.failed(now + 9 * SEC, 0.0), Directive::Restart { after: 200 * MS });
        assert_eq!(supervisor.failed(now + 20 * SEC, 0.0), Directive::Restart { after: 100 * MS });
    }

    #[test]
    fn a_failure_beyond_the_limit_stops_or_escalates() {
        let now = Instant::now();
        let limited = policy().limit(2, 10 * SEC);
        let mut supervisor = Supervisor::new(limited.clone().into());
        for second in [0, 1] {
            assert!(matches!(supervisor.failed(now + second * SEC, 0.0), Directive::Restart { .. }));
        }
        assert_eq!(supervisor.failed(now + 2 * SEC, 0.0), Directive::Stop);
        let mut supervisor = Supervisor::new(limited.limit(0, SEC).then_escalate().into());
        assert_eq!(supervisor.failed(now, 0.0), Directive::Escalate);
    }

    #[test]
    fn failures_outside_the_window_do_not_count() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(policy().limit(1, 10 * SEC).into());
        for n in 0..5 {
            assert!(matches!(supervisor.failed(now + n * 10 * SEC, 0.0), Directive::Restart { .. }));
        }
        assert_eq!(supervisor.restarts.len(), 1);
    }

    #[test]
    fn chance_adds_at_most_the_jitter() {
        let backoff = Backoff::new(SEC, SEC).jitter(0.5);
        assert_eq!(backoff.pause(0, 0.0), SEC);
        assert_eq!(backoff.pause(0, 1.0), 1500 * MS);
        assert_eq!(backoff.pause(200, 1.0), 1500 * MS, "no overflow however many came before");
        assert_eq!(Backoff::default().jitter(f64::NAN).jitter, 0.0);
        let endless = Backoff::new(SEC, Duration::MAX).jitter(1.0).pause(200, 1.0);
        assert!(Instant::now().checked_add(endless).is_some(), "a clock shows its end: {endless:?}");
    }

    #[test]
    fn the_default_gives_up_on_an_actor_that_never_works() {
        let mut supervisor = Supervisor::new(SupervisorStrategy::default());
        let mut now = Timestamp::from_micros(0);
        let mut restarts = 0;
        while let Directive::Restart { after } = supervisor.failed(now, 0.5) {
            now = now.plus(after);
            restarts += 1;
        }
        assert_eq!(restarts, 10);
    }
}
