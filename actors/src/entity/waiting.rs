use annals_journal::SeqNr;

use crate::PersistentActor;
use crate::delivery::Delivery;

/// A command that waits to be decided.
pub(super) struct Waiting<A: PersistentActor> {
    pub(super) delivery: Box<dyn Delivery<A>>,
    /// The order in which commands came in, which is kept when they are decided again.
    pub(super) arrival: u64,
}

/// A command that asked to be put aside.
pub(super) struct Stashed<A: PersistentActor> {
    pub(super) waiting: Waiting<A>,
    /// The last event of the state that it was put aside on.
    pub(super) rests_on: SeqNr,
}
