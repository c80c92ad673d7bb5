//! A command on its way through an entity, without its type.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use annals_journal::{PersistenceId, SeqNr, Timestamp};
use annals_migrations::Command;

use crate::answer::Answerer;
use crate::context::{Identity, Scope};
use crate::effect::{Answer, Continuation, EffectKind, Outcome, SideEffect, Then};
use crate::plain::MessageType;
use crate::{AskError, Context, Effect, Failure, Handle, OutcomeUnknown, PersistentActor};

/// One command, its caller, and what was decided about it.
pub(crate) trait Delivery<A: PersistentActor>: Send {
    /// The command's name, for spans.
    fn name(&self) -> &'static str;
    /// What it is, when it was told and nobody waits for an answer: if it cannot be delivered, it is a dead letter.
    fn told(&self) -> Option<MessageType> {
        None
    }
    /// Its JSON, for the test kit; `None`: it is none of a user's.
    #[cfg(feature = "testing")]
    fn shown(&self) -> Option<serde_json::Value> {
        None
    }
    /// Marks it as being decided; `false`: the caller gave up before, drop it.
    fn begin(&self) -> bool;
    /// Marks it as certainly not stored again.
    fn undo(&self);
    /// Whether the caller wants the token verified before a reply without events.
    fn wants_confirmation(&self) -> bool;
    /// Calls the handler and keeps what is typed of its effect.
    fn decide(&mut self, state: &A, turn: Turn<'_>) -> Outcome<A>;
    /// Goes on with what the work yielded.
    fn resume(&mut self, state: &A, output: Box<dyn Any + Send>, turn: Turn<'_>) -> Outcome<A>;
    /// Computes reply and side effects on the state after the command's own events.
    fn evaluate(&mut self, state: &A) -> Vec<SideEffect<A>>;
    /// The time that the command's events carry.
    fn timestamp(&self) -> Timestamp;
    /// Sends the reply or rejection; `true`: it was a rejection.
    fn release(self: Box<Self>) -> bool;
    /// Answers that it was certainly not carried out.
    fn fail(self: Box<Self>, failure: Failure);
    /// Answers that nobody knows.
    fn unknown(self: Box<Self>, id: &PersistenceId);
}

/// Where and when a decision is made.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) entity: &'a Arc<Identity>,
    pub(crate) seq_nr: SeqNr,
    pub(crate) now: Timestamp,
}

/// How far a command has come, shared with its caller: whoever moves first away from `WAITING` decides whether a caller
/// whose time is up learns "certainly not carried out" or "unknown".
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<AtomicU8>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITING)))
    }

    /// The caller gives up; `true`: the command will not be carried out.
    pub(crate) fn give_up(&self) -> bool {
        self.0.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn begin(&self) -> bool {
        self.0.compare_exchange(WAITING, DECIDED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn undo(&self) {
        // A failed exchange means that the caller gave up, which stays.
        let _ = self.0.compare_exchange(DECIDED, WAITING, Ordering::AcqRel, Ordering::Acquire);
    }
}

const WAITING: u8 = 0;
const DECIDED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// What a caller waits for.
pub(crate) type Response<A, C> = Result<<A as Handle<C>>::Reply, AskError<<A as Handle<C>>::Rejection>>;

/// The typed form of a [`Delivery`].
pub(crate) struct Parcel<A: Handle<C>, C: Command> {
    command: C,
    confirmed: bool,
    progress: Progress,
    caller: Option<Answerer<Response<A, C>>>,
    scope: Option<Scope>,
    stage: Stage<A, C>,
}

enum Stage<A: Handle<C>, C: Command> {
    Waiting,
    Working(Continuation<A, C>),
    Decided { answer: Answer<A, C>, then: Vec<Then<A>> },
    Evaluated(Result<A::Reply, A::Rejection>),
}

impl<A: Handle<C>, C: Command> Parcel<A, C> {
    pub(crate) fn new(
        command: C,
        confirmed: bool,
        progress: Progress,
        caller: Option<Answerer<Response<A, C>>>,
    ) -> Self {
        Self { command, confirmed, progress, caller, scope: None, stage: Stage::Waiting }
    }

    fn context(&mut self, turn: Turn<'_>) -> Context<A, C> {
        let scope = self.scope.take().unwrap_or_else(|| Scope::new(turn.now));
        Context::new(turn.entity.clone(), turn.seq_nr, scope)
    }

    fn keep(&mut self, effect: Effect<A, C>, ctx: Context<A, C>) -> Outcome<A> {
        self.scope = Some(ctx.into_scope());
        match effect.0 {
            EffectKind::Answer { decision, answer } => {
                self.stage = Stage::Decided { answer, then: decision.then };
                Outcome::Answer { events: decision.events, unstash: decision.unstash, after: decision.after }
            }
            EffectKind::Stash => {
                self.stage = Stage::Waiting;
                Outcome::Stash
            }
            EffectKind::Run { work, limit, then } => {
                self.stage = Stage::Working(then);
                Outcome::Run { work, limit }
            }
        }
    }

    /// What the evaluated command is about to answer.
    #[cfg(feature = "testing")]
    pub(crate) fn evaluated(&self) -> Option<Result<&A::Reply, &A::Rejection>> {
        match &self.stage {
            Stage::Evaluated(result) => Some(result.as_ref()),
            _ => None,
        }
    }

    /// A parcel for the same moment and ids, without a caller.
    #[cfg(feature = "testing")]
    pub(crate) fn twin(&self, command: C) -> Self {
        let scope = self.scope.clone().map(Scope::again);
        Self { scope, ..Self::new(command, self.confirmed, Progress::new(), None) }
    }

    /// The command.
    #[cfg(feature = "testing")]
    pub(crate) fn command(&self) -> &C {
        &self.command
    }

    fn answer(self, response: Response<A, C>) {
        if let Some(caller) = self.caller {
            // A caller that no longer waits has been told by its time limit.
            let _ = caller.send(response);
        }
    }
}

impl<A: Handle<C>, C: Command> Delivery<A> for Parcel<A, C> {
    fn name(&self) -> &'static str {
        let name = std::any::type_name::<C>();
        name.rsplit("::").next().unwrap_or(name)
    }

    fn told(&self) -> Option<MessageType> {
        self.caller.is_none().then(MessageType::of::<C>)
    }

    #[cfg(feature = "testing")]
    fn shown(&self) -> Option<serde_json::Value> {
        serde_json::to_value(&self.command).ok()
    }

    fn begin(&self) -> bool {
        self.progress.begin()
    }

    fn undo(&self) {
        self.progress.undo();
    }

    fn wants_confirmation(&self) -> bool {
        self.confirmed
    }

    fn decide(&mut self, state: &A, turn: Turn<'_>) -> Outcome<A> {
        self.stage = Stage::Waiting;
        self.scope = self.scope.take().map(Scope::again);
        let mut ctx = self.context(turn);
        let effect = state.handle(&self.command, &mut ctx);
        self.keep(effect, ctx)
    }

    fn resume(&mut self, state: &A, output: Box<dyn Any + Send>, turn: Turn<'_>) -> Outcome<A> {
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Working(then) => {
                let mut ctx = self.context(turn);
                let effect = then(state, &self.command, output, &mut ctx);
                self.keep(effect, ctx)
            }
            _ => unreachable!("only a command that works is resumed"),
        }
    }

    fn evaluate(&mut self, state: &A) -> Vec<SideEffect<A>> {
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Decided { answer, then } => {
                self.stage = Stage::Evaluated(match answer {
                    Answer::Now(reply) => Ok(reply),
                    Answer::From(reply) => Ok(reply(state)),
                    Answer::No(rejection) => Err(rejection),
                });
                then.into_iter().map(|then| then.evaluate(state)).collect()
            }
            _ => unreachable!("only a decided command is evaluated"),
        }
    }

    fn timestamp(&self) -> Timestamp {
        self.scope.as_ref().map(|scope| scope.now).unwrap_or_default()
    }

    fn release(mut self: Box<Self>) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Evaluated(result) => {
                let rejected = result.is_err();
                self.answer(result.map_err(AskError::Rejected));
                rejected
            }
            _ => unreachable!("only an evaluated command is released"),
        }
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.answer(Err(AskError::Failed(failure)));
    }

    fn unknown(self: Box<Self>, id: &PersistenceId) {
        self.answer(Err(AskError::Unknown(OutcomeUnknown { persistence_id: id.clone() })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_first_decides_what_becomes_of_a_command() {
        // It is begun, undone, given up.
        const TABLE: [(u8, [u8; 3]); 3] = [
            (WAITING, [DECIDED, WAITING, GIVEN_UP]),
            (DECIDED, [DECIDED, WAITING, DECIDED]),
            (GIVEN_UP, [GIVEN_UP, GIVEN_UP, GIVEN_UP]),
        ];
        for (from, [begun, undone, given_up]) in TABLE {
            let at = || Progress(Arc::new(AtomicU8::new(from)));
            let is = |progress: &Progress| progress.0.load(Ordering::Relaxed);
            let progress = at();
            assert_eq!(progress.begin(), from == WAITING);
            assert_eq!(is(&progress), begun);
            let progress = at();
            progress.undo();
            assert_eq!(is(&progress), undone);
            let progress = at();
            assert_eq!(progress.give_up(), from == WAITING);
            assert_eq!(is(&progress), given_up);
        }
    }
}
