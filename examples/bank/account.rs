//! The aggregate: what an account is, what it can be asked, and how it decides.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::requests::{Remembered, Requests};

/// An account: a balance and the requests that made it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    cents: u64,
    /// Number of the newest event: each change is one.
    seq_nr: u64,
    requests: Requests,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    /// Money came in.
    Deposited { cents: u64, request_id: String, at: u64 },
    /// Money went out.
    Withdrawn { cents: u64, request_id: String, at: u64 },
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit, Withdraw, ReadBalance);

    fn apply(&mut self, event: &AccountEvent) {
        let (change, request_id, at) = match event {
            AccountEvent::Deposited { cents, request_id, at } => (signed(*cents), request_id, *at),
            AccountEvent::Withdrawn { cents, request_id, at } => (-signed(*cents), request_id, *at),
        };
        self.cents = self.cents.saturating_add_signed(change);
        self.seq_nr += 1;
        self.requests.remember(Remembered {
            request_id: request_id.clone(),
            change,
            cents: self.cents,
            seq_nr: self.seq_nr,
            at,
        });
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
    #[error(
        "request_id {request_id:?} was used for another change of this account; \
         send a new request_id for a new change, or the same body to hear the first answer again"
    )]
    RequestIdReused { request_id: String },
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
        match self.answered(&request_id, signed(cents)) {
            Err(refusal) => return ctx.reject(refusal),
            Ok(Some(first_answer)) => return ctx.reply(first_answer),
            Ok(None) => {}
        }
        if self.cents.checked_add(cents).is_none_or(|sum| sum > MAX_CENTS) {
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
        match self.answered(&request_id, -signed(cents)) {
            Err(refusal) => return ctx.reject(refusal),
            Ok(Some(first_answer)) => return ctx.reply(first_answer),
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

    /// The first answer to a request, when it was answered and asked for the same change.
    fn answered(&self, request_id: &str, change: i64) -> Result<Option<Balance>, Refusal> {
        match self.requests.find(request_id) {
            None => Ok(None),
            Some(first) if first.change == change => {
                Ok(Some(Balance { cents: first.cents, seq_nr: first.seq_nr }))
            }
            Some(_) => Err(Refusal::RequestIdReused { request_id: request_id.to_owned() }),
        }
    }
}

/// Cents as a change of the balance; above [`MAX_CENTS`] no event was ever decided.
fn signed(cents: u64) -> i64 {
    i64::try_from(cents).unwrap_or(i64::MAX)
}
