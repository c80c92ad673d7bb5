//! The same application in code that somebody changed, and that still compiles and still reads every event.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::loan::{Loan, LoanEvent};

/// A loan to which an offer no longer says how much it is about: "the amount is what the customer asked for".
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ChangedLoan(Loan);

impl PersistentActor for ChangedLoan {
    const KIND: &'static str = Loan::KIND;
    type Event = LoanEvent;
    type Commands = (Look,);

    fn apply(&mut self, event: &LoanEvent) {
        let asked_for = self.0.amount;
        self.0.apply(event);
        if matches!(event, LoanEvent::OfferCreated { .. }) {
            self.0.amount = asked_for;
        }
    }
}

/// A kind needs a command; this one is of no importance here.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Look;

impl Handle<Look> for ChangedLoan {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        ctx.reply(self.0.amount)
    }
}
