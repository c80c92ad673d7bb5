use std::collections::VecDeque;

use annals_journal::{SeqNr, Token};

use super::Action;
use super::waiting::Waiting;
use crate::PersistentActor;
use crate::effect::{After, SideEffect};

/// A decided command whose reply and side effects wait until all they rest on is durable (I5).
pub(super) struct Held<A: PersistentActor> {
    pub(super) waiting: Waiting<A>,
    /// The last event of the state that the reply was made from.
    pub(super) rests_on: SeqNr,
    /// Whether it has events of its own.
    pub(super) persisted: bool,
    /// The write whose answer frees it.
    pub(super) ticket: u64,
    pub(super) side_effects: Vec<SideEffect<A>>,
    /// What becomes of the entity once it is durable.
    pub(super) after: After,
}

impl<A: PersistentActor> Held<A> {
    pub(super) fn release(self) -> Action<A> {
        Action::Release(self.waiting.delivery, self.side_effects)
    }

    /// Certainly not stored: it waits to be decided again.
    pub(super) fn undo(self) -> Waiting<A> {
        self.waiting.delivery.undo();
        self.waiting
    }
}

/// What is left of a running state that was thrown away.
pub(super) struct Rest<A: PersistentActor> {
    pub(super) token: Token,
    /// The last number that was acknowledged.
    pub(super) durable: SeqNr,
    pub(super) held: VecDeque<Held<A>>,
    /// A command that was not decided to the end.
    pub(super) undecided: Option<Waiting<A>>,
    /// Whether any of what is held may be stored.
    pub(super) maybe_stored: bool,
}

/// Commands whose events may be stored: recovery finds out.
pub(super) struct Lost<A: PersistentActor> {
    token: Token,
    /// The last number known to be stored under that token.
    pub(super) confirmed: SeqNr,
    held: VecDeque<Held<A>>,
}

impl<A: PersistentActor> Lost<A> {
    pub(super) fn new(token: Token, durable: SeqNr, held: VecDeque<Held<A>>) -> Self {
        Self { token, confirmed: durable, held }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// A stored event was read: is it one of ours?
    ///
    /// One that is ours says that all before it are, because each append names the head that it builds on.
    pub(super) fn observe(&mut self, seq_nr: SeqNr, token: Token, ours: bool) {
        if ours && token == self.token && seq_nr > self.confirmed {
            self.confirmed = seq_nr;
        }
    }

    /// All is read: what is stored is answered as it was decided, the rest comes back to be decided again.
    ///
    /// A read that asked for confirmation is always decided again: another owner may have written since.
    pub(super) fn settle(self) -> Settled<A> {
        let (mut stored, mut again, mut after) = (Vec::new(), Vec::new(), After::GoOn);
        for held in self.held {
            let unconfirmed_read = held.waiting.delivery.wants_confirmation() && !held.persisted;
            if held.rests_on <= self.confirmed && !unconfirmed_read {
                after = held.after;
                stored.push(held.release());
            } else {
                again.push(held.undo());
            }
        }
        Settled { stored, again, after }
    }

    /// Nobody will find out: callers whose own events may be stored, and who rest on such, learn that.
    pub(super) fn into_unknown(self) -> impl Iterator<Item = Action<A>> {
        self.held.into_iter().map(|held| Action::Unknown(held.waiting.delivery))
    }

    /// The first number that is not known.
    pub(super) fn first_unknown(&self) -> SeqNr {
        self.confirmed.next()
    }

    /// The last number that was sent.
    pub(super) fn last(&self) -> SeqNr {
        self.held.back().map_or(self.confirmed, |held| held.rests_on)
    }
}

/// What became of lost commands.
pub(super) struct Settled<A: PersistentActor> {
    /// Answers of those that are stored.
    pub(super) stored: Vec<Action<A>>,
    /// The others.
    pub(super) again: Vec<Waiting<A>>,
    /// What the last of those that are stored wants of the entity; a command that is decided again says it again.
    pub(super) after: After,
}

impl<A: PersistentActor> std::fmt::Debug for Lost<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Lost({} commands under {}, confirmed to {:?})",
            self.held.len(),
            self.token,
            self.confirmed
        )
    }
}
