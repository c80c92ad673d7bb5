//! The aggregate: what an account is, what it can be asked, and how it decides.

use annals::actors::{KeepRequests, RequestIdReused, Requests};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::transit::{GiveBack, Part, Pay, Settle, Take, Transit};

/// An account: a balance and the requests that made it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cents: u64,
    /// Number of the newest event.
    pub(crate) seq_nr: u64,
    /// Answered requests: each asked for a change, in cents; a withdrawal is below zero.
    requests: Requests<i64, Balance>,
    /// Transfers that are not over.
    pub(crate) transit: Transit,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    /// Money came in.
    Deposited { cents: u64, request_id: String, at: u64 },
    /// Money went out.
    Withdrawn { cents: u64, request_id: String, at: u64 },
    /// Money went out into a transfer.
    TransferPaid { transfer: String, cents: u64 },
    /// Money came in from a transfer.
    TransferTaken { transfer: String, cents: u64 },
    /// Money came back from a transfer that failed.
    TransferGivenBack { transfer: String, cents: u64 },
    /// A transfer is over.
    TransferSettled { transfer: String },
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    // 3: transfers that are not over.
    const STATE_VERSION: u32 = 3;
    type Event = AccountEvent;
    type Commands = (Deposit, Withdraw, ReadBalance, Pay, Take, GiveBack, Settle);

    fn apply(&mut self, event: &AccountEvent) {
        self.seq_nr += 1;
        match event {
            AccountEvent::Deposited { cents, request_id, at } => {
                self.change_by(signed(*cents), request_id, *at);
            }
            AccountEvent::Withdrawn { cents, request_id, at } => {
                self.change_by(-signed(*cents), request_id, *at);
            }
            AccountEvent::TransferPaid { transfer, cents } => {
                self.cents = self.cents.saturating_sub(*cents);
                self.transit.remember(transfer, Part::Paid { cents: *cents });
            }
            AccountEvent::TransferTaken { transfer, cents } => {
                self.cents = self.cents.saturating_add(*cents);
                self.transit.remember(transfer, Part::Took);
            }
            AccountEvent::TransferGivenBack { transfer, cents } => {
                self.cents = self.cents.saturating_add(*cents);
                self.transit.forget(transfer);
            }
            AccountEvent::TransferSettled { transfer } => self.transit.forget(transfer),
        }
    }
}

/// Put money in.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Deposit {
    pub(crate) cents: u64,
    pub(crate) request_id: String,
}

/// Take money out.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Withdraw {
    pub(crate) cents: u64,
    pub(crate) request_id: String,
}

/// Say the balance.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct ReadBalance;

/// The balance, and the number of the event that made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) cents: u64,
    pub(crate) seq_nr: u64,
}

/// Why an account refuses a change. Nothing is remembered of it: the same request may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("overdrawn: {by} cents are missing; deposit them first or withdraw less")]
    Overdrawn { by: u64 },
    #[error("too much: an account holds at most {} cents; deposit less", MAX_CENTS)]
    TooMuch,
    #[error(transparent)]
    RequestIdReused(#[from] RequestIdReused),
    #[error(transparent)]
    NeverUsed(#[from] NeverUsed),
    #[error("too late: the transfer took longer than it may; begin another one with a new request_id")]
    TooLate,
    #[error(
        "too many transfers of this account are under way; begin another one later with a new request_id"
    )]
    TooManyTransfers,
}

/// There is no event of this account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("this account was never used; deposit something first")]
pub(crate) struct NeverUsed;

/// The most that an account holds: the largest integer that every JSON reader reads exactly.
pub(crate) const MAX_CENTS: u64 = (1 << 53) - 1;

impl Handle<Deposit> for Account {
    type Reply = Balance;
    type Rejection = Refusal;

    fn handle(&self, deposit: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        let Deposit { cents, request_id } = deposit.clone();
        match self.requests.first_answer(&request_id, &signed(cents)) {
            Err(reused) => return ctx.reject(reused.into()),
            Ok(Some(first_answer)) => return ctx.reply(*first_answer),
            Ok(None) => {}
        }
        if !self.has_room_for(cents) {
            return ctx.reject(Refusal::TooMuch);
        }
        let at = ctx.now().as_micros();
        ctx.persist(AccountEvent::Deposited { cents, request_id, at }).reply(Account::balance)
    }
}

impl Handle<Withdraw> for Account {
    type Reply = Balance;
    type Rejection = Refusal;

    fn handle(&self, withdraw: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
        let Withdraw { cents, request_id } = withdraw.clone();
        match self.requests.first_answer(&request_id, &-signed(cents)) {
            Err(reused) => return ctx.reject(reused.into()),
            Ok(Some(first_answer)) => return ctx.reply(*first_answer),
            Ok(None) => {}
        }
        if cents > self.cents {
            return ctx.reject(Refusal::Overdrawn { by: cents - self.cents });
        }
        let at = ctx.now().as_micros();
        ctx.persist(AccountEvent::Withdrawn { cents, request_id, at }).reply(Account::balance)
    }
}

impl Handle<ReadBalance> for Account {
    type Reply = Balance;
    type Rejection = NeverUsed;

    fn handle(&self, _: &ReadBalance, ctx: &mut Context<Self, ReadBalance>) -> Effect<Self, ReadBalance> {
        if self.seq_nr == 0 { ctx.reject(NeverUsed) } else { ctx.reply(self.balance()) }
    }
}

impl Account {
    fn balance(&self) -> Balance {
        Balance { cents: self.cents, seq_nr: self.seq_nr }
    }

    fn change_by(&mut self, change: i64, request_id: &str, at: u64) {
        self.cents = self.cents.saturating_add_signed(change);
        let at = Timestamp::from_micros(at);
        self.requests.remember(request_id, change, self.balance(), at, &KeepRequests::DEFAULT);
    }
}

/// Cents as a change of the balance; above [`MAX_CENTS`] no event was ever decided.
fn signed(cents: u64) -> i64 {
    i64::try_from(cents).unwrap_or(i64::MAX)
}
