//! What becomes of commands when the state that they were decided on is thrown away.

use std::collections::VecDeque;

use annals_journal::{JournalError, SeqNr, Timestamp};

use super::held::{Held, Lost};
use super::running::Setback;
use super::{Action, Entity, Phase, Report, RestartReason, StopReason, Told};
use crate::PersistentActor;
use crate::plain::ActorFailure;

impl<A: PersistentActor> Entity<A> {
    /// The state is no longer the journal's: recover under a new activation, or stop when a newer epoch owns the id.
    pub(super) fn throw_away(&mut self, now: Timestamp, setback: Setback<A>) {
        let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::Stopped) else { return };
        self.out.push(Action::ForgetWrites);
        self.out.push(Action::CancelWork);
        let reason = setback.reason();
        let fenced = match &setback {
            Setback::Journal(error @ JournalError::Fenced { .. }) => Some(self.fenced(error)),
            _ => None,
        };
        let panic = match &setback {
            Setback::Panicked { message, .. } | Setback::ChildFailed { message } => Some(message.clone()),
            _ => None,
        };
        if panic.is_some() {
            // What else throws a state away leaves what durable commands have begun as it is.
            self.out.push(Action::ClearToolkit);
        }
        let rest = running.dissolve(setback, &self.identity, &mut self.out);
        let held = rest.held.len();
        let report = match panic {
            Some(message) => {
                let pause = self.supervision().panicked(now, &message);
                Report::Panicked { reason, message, held, pause }
            }
            None => Report::Restart { reason, held },
        };
        self.out.push(Action::Report(report));
        self.retry.extend(rest.undecided);
        if rest.maybe_stored {
            self.lost = Some(Box::new(Lost::new(rest.token, rest.durable, rest.held)));
        } else {
            let durable = rest.durable;
            self.retry.extend(rest.held.into_iter().map(Held::undo));
            self.reconsider_stash(durable);
        }
        self.order_retry();
        // With something lost, the claim will be fenced too, and what is stored is settled before the end.
        if let Some(failure) = fenced
            && self.lost.is_none()
        {
            self.halt(StopReason::Fenced, &failure);
            return;
        }
        if reason == RestartReason::Erased && self.lost.is_none() {
            self.erased();
            return;
        }
        if self.told == Told::Stop && self.lost.is_none() {
            self.halt(StopReason::Stopped, &self.stopping());
            return;
        }
        if self.lost.is_none()
            && let Some(message) = self.supervision.as_mut().and_then(|so_far| so_far.takes_effect_now())
        {
            self.give_up(message);
            return;
        }
        if matches!(reason, RestartReason::Panicked | RestartReason::ChildFailed | RestartReason::Rejected) {
            // The command that is to blame was answered and does not come again. What panics cost comes after the recovery.
            self.claim();
            return;
        }
        self.setbacks = self.setbacks.saturating_add(1);
        match reason {
            // The first time at once: a lost race needs no pause.
            _ if self.setbacks <= 1 => self.claim(),
            RestartReason::Conflict | RestartReason::Superseded => self.claim(),
            _ => self.rest(),
        }
    }

    /// A child's failure is the entity's: as after a panic, the state is thrown away and replayed.
    pub(super) fn child_failed(&mut self, now: Timestamp, failure: &ActorFailure) {
        let message = failure.to_string();
        match &self.phase {
            // What fails on the way out changes nothing any more.
            Phase::Stopped | Phase::Settling(_) => {}
            Phase::Running(running) if running.is_stopping() => {}
            Phase::Running(_) => self.throw_away(now, Setback::ChildFailed { message }),
            Phase::Pausing(_) => {
                self.rested();
                self.throw_away(now, Setback::ChildFailed { message });
            }
            // There is no state to be thrown away: what the failure costs comes after the recovery.
            Phase::Claiming(_) | Phase::Resting | Phase::Loading(_) | Phase::Replaying(_) => {
                self.out.push(Action::ClearToolkit);
                let (reason, held) = (RestartReason::ChildFailed, self.held());
                let pause = self.supervision().panicked(now, &message);
                self.out.push(Action::Report(Report::Panicked { reason, message, held, pause }));
            }
        }
    }

    /// Commands stashed on a state that is gone are decided again.
    pub(super) fn reconsider_stash(&mut self, still_there: SeqNr) {
        let (keep, again): (VecDeque<_>, VecDeque<_>) =
            self.stash.drain(..).partition(|stashed| stashed.rests_on <= still_there);
        self.stash = keep;
        self.retry.extend(again.into_iter().map(|stashed| stashed.waiting));
    }

    pub(super) fn order_retry(&mut self) {
        self.retry.make_contiguous().sort_by_key(|waiting| waiting.arrival);
    }
}
