use annals_journal::JournalError;

use super::Running;
use crate::context::Identity;
use crate::entity::held::Rest;
use crate::entity::waiting::Waiting;
use crate::entity::{Action, RestartReason};
use crate::{Failure, PersistentActor};

/// Why the state must be thrown away.
pub(in crate::entity) enum Setback<A: PersistentActor> {
    /// A write was not stored, or may not be.
    Journal(JournalError),
    /// The handler, `apply` or a reply panicked.
    Panicked { waiting: Waiting<A>, message: String },
    /// A child failed, and its supervision says that the entity fails with it.
    ChildFailed { message: String },
    /// Events were applied that the journal would refuse.
    Unstorable { waiting: Waiting<A>, reason: String },
}

impl<A: PersistentActor> Setback<A> {
    pub(in crate::entity) fn reason(&self) -> RestartReason {
        match self {
            Self::Panicked { .. } => RestartReason::Panicked,
            Self::ChildFailed { .. } => RestartReason::ChildFailed,
            Self::Unstorable { .. } => RestartReason::Rejected,
            Self::Journal(error) => match error {
                JournalError::Conflict { .. } => RestartReason::Conflict,
                JournalError::Fenced { .. } => RestartReason::Fenced,
                JournalError::Superseded { .. } => RestartReason::Superseded,
                JournalError::Rejected { .. } => RestartReason::Rejected,
                JournalError::Unavailable { .. } => RestartReason::Unavailable,
                JournalError::Corrupt { .. } => RestartReason::Corrupt,
                JournalError::Erased { .. } => RestartReason::Erased,
                // Unknown, and what later versions of the journal may answer: assume the worst.
                _ => RestartReason::Unknown,
            },
        }
    }
}

impl<A: PersistentActor> Running<A> {
    /// Takes the state apart after a setback.
    pub(in crate::entity) fn dissolve(
        mut self,
        setback: Setback<A>,
        identity: &Identity,
        out: &mut Vec<Action<A>>,
    ) -> Rest<A> {
        let undecided = self.work.take().map(|work| work.waiting);
        let maybe_stored = match setback {
            Setback::Panicked { waiting, message } => {
                let persistence_id = identity.persistence_id.clone();
                out.push(Action::Fail(waiting.delivery, Failure::Panicked { persistence_id, message }));
                !self.unanswered.is_empty()
            }
            Setback::ChildFailed { .. } => !self.unanswered.is_empty(),
            Setback::Unstorable { waiting, reason } => {
                out.push(Action::Fail(waiting.delivery, Failure::NotStorable { reason }));
                !self.unanswered.is_empty()
            }
            Setback::Journal(error) => {
                let reason = Setback::<A>::Journal(error.clone()).reason();
                if matches!(reason, RestartReason::Rejected | RestartReason::Corrupt) {
                    self.refuse_first(&error, out);
                }
                // Appends build on one another: none is stored when the one before it is not. They do not build on a verification.
                let verification = self.unanswered.pop_front().is_some_and(|failed| failed.last.is_none());
                let appends_follow = self.unanswered.iter().any(|write| write.last.is_some());
                reason == RestartReason::Unknown || (verification && appends_follow)
            }
        };
        Rest { token: self.token, durable: self.durable, held: self.held, undecided, maybe_stored }
    }

    /// The command whose write was refused would be refused again.
    fn refuse_first(&mut self, error: &JournalError, out: &mut Vec<Action<A>>) {
        let ticket = self.answered + 1;
        if let Some(at) = self.held.iter().position(|held| held.ticket == ticket)
            && let Some(held) = self.held.remove(at)
        {
            let failure = Failure::NotStorable { reason: error.to_string() };
            out.push(Action::Fail(held.waiting.delivery, failure));
        }
    }
}
