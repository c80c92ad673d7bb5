use std::time::Duration;

use super::phase::DEFAULT_GRACE;
use super::{Phase, Report};

/// How long a process may take to stop, and what ends it.
#[derive(Debug, Clone)]
#[must_use]
pub struct ShutdownSettings {
    grace: Option<Duration>,
    deadlines: [Duration; Phase::ALL.len()],
    signals: bool,
    exits: bool,
    exit_code: fn(&Report) -> u8,
}

impl Default for ShutdownSettings {
    /// [`ShutdownSettings::within`] 30 s, which Kubernetes and others grant.
    fn default() -> Self {
        Self::within(DEFAULT_GRACE)
    }
}

impl ShutdownSettings {
    /// Shares out a grace period, which is what the supervisor grants between SIGTERM and SIGKILL: `terminationGracePeriodSeconds` in
    /// Kubernetes, `TimeoutStopSec` in systemd. Each phase has its share; a thirtieth is left.
    pub fn within(grace: Duration) -> Self {
        Self {
            grace: Some(grace),
            deadlines: Phase::ALL.map(|phase| share(phase, grace)),
            signals: true,
            exits: true,
            exit_code: Report::exit_code,
        }
    }

    /// How long a phase may take at most. What is not done then is dropped, reported, and the next phase begins.
    pub fn deadline(mut self, phase: Phase, limit: Duration) -> Self {
        self.deadlines[phase as usize] = limit;
        self
    }

    /// There is no grace period: deadlines may add up to any time.
    pub fn without_grace_period(mut self) -> Self {
        self.grace = None;
        self
    }

    /// Whether SIGTERM and SIGINT begin it; default true. A second one ends the process at once.
    pub fn signals(mut self, listen: bool) -> Self {
        self.signals = listen;
        self
    }

    /// Whether the process exits when the shutdown has ended, whatever `main` waits for; default true. False is for tests, and for a
    /// `main` that awaits [`ended`](super::CoordinatedShutdown::ended) and returns [`Report::exit_code`].
    pub fn exits(mut self, exits: bool) -> Self {
        self.exits = exits;
        self
    }

    /// Which code the process exits with; default [`Report::exit_code`]. A second signal always has its own.
    pub fn exit_code(mut self, of: fn(&Report) -> u8) -> Self {
        self.exit_code = of;
        self
    }

    /// How long a phase may take.
    pub fn deadline_of(&self, phase: Phase) -> Duration {
        self.deadlines[phase as usize]
    }

    pub(super) fn listens(&self) -> bool {
        self.signals
    }

    pub(super) fn does_exit(&self) -> bool {
        self.exits
    }

    pub(super) fn code(&self, report: &Report) -> u8 {
        (self.exit_code)(report)
    }

    /// Checks that all phases fit the grace period.
    ///
    /// # Errors
    /// [`DeadlinesTooLong`]: the supervisor would kill the process before its last phases have begun.
    pub fn check(&self) -> Result<(), DeadlinesTooLong> {
        let sum = self.deadlines.iter().fold(Duration::ZERO, |sum, deadline| sum.saturating_add(*deadline));
        match self.grace {
            Some(grace) if sum > grace => Err(DeadlinesTooLong { sum, grace }),
            _ => Ok(()),
        }
    }
}

fn share(phase: Phase, grace: Duration) -> Duration {
    grace.mul_f64(phase.default_deadline().as_secs_f64() / DEFAULT_GRACE.as_secs_f64())
}

/// The deadlines of all phases together are longer than the grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the deadlines of shutdown add up to {sum:?}, and the supervisor kills after {grace:?}: have it grant more \
     (terminationGracePeriodSeconds, TimeoutStopSec) and say so with `ShutdownSettings::within`, or shorten a phase"
)]
pub struct DeadlinesTooLong {
    /// Of all phases.
    pub sum: Duration,
    /// What is granted.
    pub grace: Duration,
}
