//! How an entity ends: idle, stopped with its node, fenced, given up.

use annals_journal::{JournalError, Timestamp};

use super::{Action, Entity, Phase, Report, StopReason, Supervision, Told};
use crate::{Failure, PersistentActor, RecoveryError};

impl<A: PersistentActor> Entity<A> {
    pub(super) fn idle(&mut self, now: Timestamp) {
        if self.is_idle()
            && let Phase::Running(running) = &mut self.phase
        {
            running.passivate(now);
        }
    }

    /// Stops when all that it was to finish is done. Who waits in the stash waits for a command that cannot come.
    pub(super) fn stop_when_finished(&mut self, now: Timestamp) {
        let finished = self.retry.is_empty()
            && self.lost.is_none()
            && match &self.phase {
                Phase::Running(running) => running.is_quiet(),
                // It leaves, or is woken again.
                Phase::Stopped => false,
                _ => true,
            };
        if finished {
            self.stop(now);
        }
    }

    /// Stops once what was decided is durable; the rest is answered with a failure.
    pub(super) fn stop(&mut self, now: Timestamp) {
        self.told = Told::Stop;
        match &mut self.phase {
            Phase::Running(running) => running.stop(now, &mut self.retry, &mut self.out),
            Phase::Pausing(_) => {
                self.rested();
                self.stop(now);
            }
            Phase::Stopped => {}
            _ if self.lost.is_some() => {
                // Outcomes are being settled: what waits is refused, what may be stored is not given up.
                let failure = self.stopping();
                self.refuse_waiting(&failure);
            }
            _ => self.halt(StopReason::Stopped, &self.stopping()),
        }
    }

    /// After passivation, when someone already waits again.
    pub(super) fn wake_again(&mut self) {
        if !matches!(self.phase, Phase::Stopped) {
            return;
        }
        match self.told {
            Told::GoOn => self.claim(),
            Told::Finish if !self.retry.is_empty() => self.claim(),
            Told::Finish | Told::Stop => self.halt(StopReason::Stopped, &self.stopping()),
        }
    }

    pub(super) fn stop_when_quiet(&mut self) {
        let Phase::Running(running) = &mut self.phase else { return };
        let Some(reason) =
            running.ready_to_stop(&self.identity, &self.rules, &mut self.saving, &mut self.out)
        else {
            return;
        };
        match reason {
            StopReason::Passivated if !self.retry.is_empty() || !self.stash.is_empty() => {
                self.phase = Phase::Stopped;
                self.out.push(Action::Stop(StopReason::PassivatedWhileNeeded));
            }
            StopReason::Passivated => {
                self.phase = Phase::Stopped;
                self.out.push(Action::Stop(StopReason::Passivated));
            }
            reason => self.halt(reason, &self.stopping()),
        }
    }

    pub(super) fn fenced(&self, error: &JournalError) -> Failure {
        Failure::Fenced { persistence_id: self.identity.persistence_id.clone(), reason: error.to_string() }
    }

    pub(super) fn stopping(&self) -> Failure {
        Failure::Stopping { persistence_id: self.identity.persistence_id.clone() }
    }

    pub(super) fn refuse_waiting(&mut self, failure: &Failure) {
        let stashed = self.stash.drain(..).map(|stashed| stashed.waiting);
        let waiting = self.retry.drain(..).chain(stashed);
        self.out.extend(waiting.map(|waiting| Action::Fail(waiting.delivery, failure.clone())));
    }

    /// The end: everyone who waits is answered.
    pub(super) fn halt(&mut self, reason: StopReason, failure: &Failure) {
        if let Some(lost) = self.lost.take() {
            self.out.extend(lost.into_unknown());
        }
        self.refuse_waiting(failure);
        self.phase = Phase::Stopped;
        self.out.push(Action::RefuseMailbox(failure.clone()));
        self.out.push(Action::Stop(reason));
    }

    pub(super) fn fail_recovery(&mut self, error: RecoveryError) {
        self.out.push(Action::Report(Report::RecoveryFailed(error.clone())));
        let retry_after = self.supervision().recovery_failed();
        self.out.push(Action::LeaveAlone(retry_after));
        let persistence_id = self.identity.persistence_id.clone();
        let failure = Failure::RecoveryFailed { persistence_id, reason: error, retry_after };
        self.halt(StopReason::RecoveryFailed, &failure);
    }

    /// Its key was destroyed on purpose.
    pub(super) fn erased(&mut self) {
        self.out.push(Action::Report(Report::Erased));
        let retry_after = self.supervision().recovery_failed();
        self.out.push(Action::LeaveAlone(retry_after));
        let persistence_id = self.identity.persistence_id.clone();
        self.halt(StopReason::Erased, &Failure::Erased { persistence_id, retry_after });
    }

    /// It has panicked too often.
    pub(super) fn give_up(&mut self, message: String) {
        let retry_after = self.supervision().given_up();
        self.out.push(Action::LeaveAlone(retry_after));
        let persistence_id = self.identity.persistence_id.clone();
        let failure = Failure::PanickedTooOften { persistence_id, message, retry_after };
        self.halt(StopReason::GivenUp, &failure);
    }

    pub(super) fn supervision(&mut self) -> &mut Supervision {
        let policy = &self.rules.bounds.restart;
        self.supervision.get_or_insert_with(|| Box::new(Supervision::new(policy)))
    }

    /// How it has fared, for when it is woken after it was left alone.
    pub(crate) fn take_supervision(&mut self) -> Option<Box<Supervision>> {
        self.supervision.take()
    }
}
