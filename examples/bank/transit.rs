//! Money between accounts: what an account does for a transfer, each step as often as it is asked to.
//!
//! An account remembers its part of a transfer until the transfer is over. So a step that is asked for again, after a crash
//! or a lost answer, is answered and not done again, however much happened to the account in between.

use std::collections::BTreeMap;

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountEvent, MAX_CENTS, NeverUsed, Refusal};

/// The transfers of an account that are not over, by id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Transit(BTreeMap<String, Part>);

/// What an account did for a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Paid { cents: u64 },
    Took,
}

/// The most transfers of one account that are not over: bounds its memory and its snapshot.
const UNDER_WAY: usize = 1_000;

impl Transit {
    pub(crate) fn remember(&mut self, transfer: &str, part: Part) {
        self.0.insert(transfer.to_owned(), part);
    }

    pub(crate) fn forget(&mut self, transfer: &str) {
        self.0.remove(transfer);
    }

    /// What may have to come back.
    pub(crate) fn paid(&self) -> u64 {
        self.0.values().map(|part| if let Part::Paid { cents } = part { *cents } else { 0 }).sum()
    }

    fn may_begin(&self, now: Timestamp, by: u64) -> Result<(), Refusal> {
        if now.as_micros() > by {
            return Err(Refusal::TooLate);
        }
        if self.0.len() >= UNDER_WAY { Err(Refusal::TooManyTransfers) } else { Ok(()) }
    }
}

/// Pay for a transfer.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Pay {
    pub(crate) transfer: String,
    pub(crate) cents: u64,
    /// No later than this, in microseconds since 1970.
    pub(crate) by: u64,
}

/// Take what a transfer brings.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Take {
    pub(crate) transfer: String,
    pub(crate) cents: u64,
    /// No later than this, in microseconds since 1970.
    pub(crate) by: u64,
}

/// Take back what was paid.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct GiveBack {
    pub(crate) transfer: String,
}

/// Forget the transfer: no step of it comes again.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Settle {
    pub(crate) transfer: String,
}

impl Handle<Pay> for Account {
    type Reply = ();
    type Rejection = Refusal;

    fn handle(&self, pay: &Pay, ctx: &mut Context<Self, Pay>) -> Effect<Self, Pay> {
        let Pay { transfer, cents, by } = pay.clone();
        if self.transit.0.contains_key(&transfer) {
            return ctx.reply(());
        }
        if let Err(refusal) = self.transit.may_begin(ctx.now(), by) {
            return ctx.reject(refusal);
        }
        if cents > self.cents {
            return ctx.reject(Refusal::Overdrawn { by: cents - self.cents });
        }
        ctx.persist(AccountEvent::TransferPaid { transfer, cents }).reply_with(())
    }
}

impl Handle<Take> for Account {
    type Reply = ();
    type Rejection = Refusal;

    fn handle(&self, take: &Take, ctx: &mut Context<Self, Take>) -> Effect<Self, Take> {
        let Take { transfer, cents, by } = take.clone();
        if self.transit.0.contains_key(&transfer) {
            return ctx.reply(());
        }
        if let Err(refusal) = self.transit.may_begin(ctx.now(), by) {
            return ctx.reject(refusal);
        }
        if self.seq_nr == 0 {
            return ctx.reject(NeverUsed.into());
        }
        if !self.has_room_for(cents) {
            return ctx.reject(Refusal::TooMuch);
        }
        ctx.persist(AccountEvent::TransferTaken { transfer, cents }).reply_with(())
    }
}

impl Handle<GiveBack> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, back: &GiveBack, ctx: &mut Context<Self, GiveBack>) -> Effect<Self, GiveBack> {
        let transfer = back.transfer.clone();
        match self.transit.0.get(&transfer) {
            // There is room: what was paid counts as if it were here.
            Some(Part::Paid { cents }) => {
                ctx.persist(AccountEvent::TransferGivenBack { transfer, cents: *cents }).reply_with(())
            }
            _ => ctx.reply(()),
        }
    }
}

impl Handle<Settle> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, settle: &Settle, ctx: &mut Context<Self, Settle>) -> Effect<Self, Settle> {
        let transfer = settle.transfer.clone();
        if !self.transit.0.contains_key(&transfer) {
            return ctx.reply(());
        }
        ctx.persist(AccountEvent::TransferSettled { transfer }).reply_with(())
    }
}

impl Account {
    /// Whether cents can come in, beside what may have to come back.
    pub(crate) fn has_room_for(&self, cents: u64) -> bool {
        let most = self.cents.saturating_add(self.transit.paid());
        most.checked_add(cents).is_some_and(|sum| sum <= MAX_CENTS)
    }
}
