//! A loan application as today's code understands it.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// One application.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Loan {
    /// What the customer asks for, then what was offered last, in euros.
    pub(crate) amount: u64,
    pub(crate) offers: u64,
    pub(crate) stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    #[default]
    New,
    Submitted,
    Offered,
    Approved,
    Declined,
    Cancelled,
}

/// What can happen to it.
#[derive(Serialize, Deserialize, Event)]
pub(crate) enum LoanEvent {
    Submitted { amount: u64 },
    OfferCreated { amount: u64 },
    OfferSentBack,
    Approved,
    Declined { reason: String },
    Cancelled,
}

/// Asks for a loan.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Submit {
    pub(crate) amount: u64,
}
/// Offers one.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Offer {
    pub(crate) amount: u64,
}
/// The customer sends the last offer back, signed or not.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct SendBack {
    pub(crate) signed: bool,
}
/// Ends it without a loan.
#[derive(Serialize, Deserialize, Command)]
pub(crate) enum End {
    Decline { reason: String },
    Cancel,
}

/// The command does not fit the stage.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NotNow(pub(crate) Stage);

impl PersistentActor for Loan {
    const KIND: &'static str = "loan";
    type Event = LoanEvent;
    type Commands = (Submit, Offer, SendBack, End);

    fn apply(&mut self, event: &LoanEvent) {
        match event {
            LoanEvent::Submitted { amount } => {
                self.amount = *amount;
                self.stage = Stage::Submitted;
            }
            LoanEvent::OfferCreated { amount } => {
                self.amount = *amount;
                self.offers += 1;
                self.stage = Stage::Offered;
            }
            LoanEvent::OfferSentBack => self.stage = Stage::Submitted,
            LoanEvent::Approved => self.stage = Stage::Approved,
            LoanEvent::Declined { .. } => self.stage = Stage::Declined,
            LoanEvent::Cancelled => self.stage = Stage::Cancelled,
        }
    }
}

impl Handle<Submit> for Loan {
    type Reply = Stage;
    type Rejection = NotNow;

    fn handle(&self, command: &Submit, ctx: &mut Context<Self, Submit>) -> Effect<Self, Submit> {
        match self.stage {
            Stage::New => {
                ctx.persist(LoanEvent::Submitted { amount: command.amount }).reply(|loan| loan.stage)
            }
            stage => ctx.reject(NotNow(stage)),
        }
    }
}

impl Handle<Offer> for Loan {
    type Reply = Stage;
    type Rejection = NotNow;

    fn handle(&self, command: &Offer, ctx: &mut Context<Self, Offer>) -> Effect<Self, Offer> {
        match self.stage {
            Stage::Submitted => {
                ctx.persist(LoanEvent::OfferCreated { amount: command.amount }).reply(|loan| loan.stage)
            }
            stage => ctx.reject(NotNow(stage)),
        }
    }
}

impl Handle<SendBack> for Loan {
    type Reply = Stage;
    type Rejection = NotNow;

    fn handle(&self, command: &SendBack, ctx: &mut Context<Self, SendBack>) -> Effect<Self, SendBack> {
        match (self.stage, command.signed) {
            (Stage::Offered, true) => {
                let events = vec![LoanEvent::OfferSentBack, LoanEvent::Approved];
                ctx.persist_all(events).reply(|loan| loan.stage)
            }
            (Stage::Offered, false) => ctx.persist(LoanEvent::OfferSentBack).reply(|loan| loan.stage),
            (stage, _) => ctx.reject(NotNow(stage)),
        }
    }
}

impl Handle<End> for Loan {
    type Reply = Stage;
    type Rejection = NotNow;

    fn handle(&self, command: &End, ctx: &mut Context<Self, End>) -> Effect<Self, End> {
        match (self.stage, command) {
            (Stage::Submitted | Stage::Offered, End::Decline { reason }) => {
                ctx.persist(LoanEvent::Declined { reason: reason.clone() }).reply(|loan| loan.stage)
            }
            (Stage::Submitted | Stage::Offered, End::Cancel) => {
                ctx.persist(LoanEvent::Cancelled).reply(|loan| loan.stage)
            }
            (stage, _) => ctx.reject(NotNow(stage)),
        }
    }
}
