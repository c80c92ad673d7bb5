use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::script::Standing;
use super::{Gate, JournalAnswer, JournalOperation, Outcome, Script};
use crate::PersistenceId;

/// Says what becomes of the next call: first of which one (the next, if nothing is said), then what.
///
/// Orders wait side by side. Of those that fit a call the oldest is carried out; those of all calls ([`always`](Self::always)) come after
/// those of the next ones.
#[must_use = "an order is given when it says what happens: `.fails_unavailable()`, `.takes(…)`…"]
pub struct Order<Op: 'static, A, K = ()> {
    pub(super) script: Script<Op, A>,
    pub(super) standing: Standing<Op, A>,
    pub(super) kind: PhantomData<K>,
}

/// An order about appends, claims or verifications.
pub type WriteOrder = Order<JournalOperation, JournalAnswer, Writing>;
/// An order about deletions or replacements.
pub type DeleteOrder = Order<JournalOperation, JournalAnswer, Deleting>;
/// An order about replays.
pub type ReplayOrder = Order<JournalOperation, JournalAnswer, Replaying>;
/// An order about other reads.
pub type ReadOrder = Order<JournalOperation, JournalAnswer, Reading>;

/// Kind of a [`WriteOrder`].
#[derive(Debug)]
pub enum Writing {}
/// Kind of a [`DeleteOrder`].
#[derive(Debug)]
pub enum Deleting {}
/// Kind of a [`ReplayOrder`].
#[derive(Debug)]
pub enum Replaying {}
/// Kind of a [`ReadOrder`].
#[derive(Debug)]
pub enum Reading {}

impl<Op: Copy + PartialEq + 'static, A: Clone + Default, K> Order<Op, A, K> {
    /// Only calls about this id.
    pub fn of(mut self, id: &PersistenceId) -> Self {
        self.standing.id = Some(id.clone());
        self
    }

    /// So many calls; default one. 0 counts as one.
    pub fn times(mut self, calls: u64) -> Self {
        self.standing.left = Some(calls.max(1));
        self
    }

    /// All calls, until the orders are cleared.
    pub fn always(mut self) -> Self {
        self.standing.left = None;
        self
    }

    /// Lets so many calls that fit pass before.
    pub fn skip(mut self, calls: u64) -> Self {
        self.standing.skip = calls;
        self
    }

    /// The call waits so long before it goes on.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.standing.fault.delay = delay;
        self
    }

    /// The call waits at this gate too, which other calls wait at.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.standing.fault.gate = Some(gate.bars());
        self
    }

    /// Gives the order: the call takes so long, and is then carried out.
    pub fn takes(self, time: Duration) {
        self.delayed(time).answers(A::default());
    }

    /// Gives the order: the call is carried out at once, its answer takes so long.
    pub fn answers_after(mut self, time: Duration) {
        self.standing.fault.answer_delay = time;
        self.answers(A::default());
    }

    /// Gives the order: the call waits until the gate lets it pass, and is then carried out.
    pub fn waits(self) -> Gate {
        let gate = Gate::new();
        self.behind(&gate).answers(A::default());
        gate
    }

    /// Gives the order: the call is answered this.
    pub fn answers(mut self, answer: A) {
        self.standing.fault.answer = answer;
        self.script.give(self.standing);
    }
}

impl<K> Order<JournalOperation, JournalAnswer, K> {
    /// Gives the order: the journal [cannot be asked](crate::JournalError::Unavailable); nothing is stored.
    pub fn fails_unavailable(self) {
        self.answers(JournalAnswer::Unavailable("a test ordered it".into()));
    }

    /// Gives the order: what is stored [is not what was written](crate::JournalError::Corrupt).
    pub fn is_corrupt(self, reason: impl Into<String>) {
        self.answers(JournalAnswer::Corrupt(reason.into()));
    }

    /// Gives the order: the call panics.
    pub fn panics(self, message: impl Into<String>) {
        self.answers(JournalAnswer::Panic(message.into()));
    }
}

impl WriteOrder {
    /// Gives the order: an append meets a [conflict](crate::JournalError::Conflict), as if another writer had been faster. Nothing is
    /// stored, by nobody.
    pub fn conflicts(self) {
        self.answers(JournalAnswer::Conflict);
    }

    /// Gives the order: a newer epoch claims the id just before, so that the journal itself answers [fenced](crate::JournalError::Fenced),
    /// to this write and to all that follow under an older epoch.
    pub fn is_fenced(self) {
        self.answers(JournalAnswer::Fenced);
    }

    /// Gives the order: a newer activation of the same epoch claims the id just before, so that the journal itself answers
    /// [superseded](crate::JournalError::Superseded).
    pub fn is_superseded(self) {
        self.answers(JournalAnswer::Superseded);
    }

    /// Gives the order: certainly not stored, and [refused](crate::JournalError::Rejected) whenever it comes again.
    pub fn is_rejected(self, reason: impl Into<String>) {
        self.answers(JournalAnswer::Rejected(reason.into()));
    }

    /// Gives the order: the caller learns that the outcome is [unknown](crate::JournalError::Unknown); what it really is.
    pub fn outcome_unknown(self, outcome: Outcome) {
        self.answers(JournalAnswer::Unknown(outcome));
    }

    /// Gives the order: the list that this write is in gets one answer too few.
    pub fn gets_too_few_answers(self) {
        self.answers(JournalAnswer::TooFewAnswers);
    }
}

impl DeleteOrder {
    /// Gives the order: certainly not done, and [refused](crate::JournalError::Rejected) whenever it comes again.
    pub fn is_rejected(self, reason: impl Into<String>) {
        self.answers(JournalAnswer::Rejected(reason.into()));
    }

    /// Gives the order: the caller learns that the outcome is [unknown](crate::JournalError::Unknown); what it really is.
    /// [`Outcome::Late`] is never done.
    pub fn outcome_unknown(self, outcome: Outcome) {
        self.answers(JournalAnswer::Unknown(outcome));
    }
}

impl ReplayOrder {
    /// In the middle: so many events come first. A replay that has fewer is not touched.
    pub fn after_events(mut self, events: u64) -> Self {
        self.standing.fault.after_events = events;
        self
    }
}

impl<Op: fmt::Debug + 'static, A: fmt::Debug, K> fmt::Debug for Order<Op, A, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("of", &self.standing.operations)
            .field("fault", &self.standing.fault)
            .finish_non_exhaustive()
    }
}
