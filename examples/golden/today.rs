//! The account of today: amounts have a currency, and a withdrawal has a reason.

use std::collections::BTreeMap;

use annals::migrations::{Migrations, Step};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::record::{Change, Read};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// In cents, by currency.
    balances: BTreeMap<String, i64>,
    changes: u64,
}

/// What the first build stored.
#[derive(Serialize, Deserialize)]
struct Moved {
    cents: i64,
}

/// What the second build stored of a deposit and of a withdrawal.
#[derive(Serialize, Deserialize)]
struct Amount {
    cents: i64,
}

/// What it stored of its state.
#[derive(Serialize, Deserialize)]
struct AccountV2 {
    cents: i64,
    changes: u64,
}

#[derive(Serialize, Deserialize, Event)]
#[event(retired("account.pinged"))]
pub(crate) enum AccountEvent {
    #[event(
        version = 2,
        from(
            1 => |old: Amount| AccountEvent::of(old.cents, EUR, ""),
            ("account.moved", 1) => Step::events(|old: Moved| vec![AccountEvent::of(old.cents, EUR, "")]),
        )
    )]
    Deposited { cents: i64, currency: String },
    #[event(version = 2, from(1 => |old: Amount| AccountEvent::of(-old.cents, EUR, "")))]
    Withdrawn { cents: i64, currency: String, reason: String },
}

impl AccountEvent {
    fn of(cents: i64, currency: &str, reason: &str) -> Self {
        let currency = currency.to_owned();
        if cents < 0 {
            Self::Withdrawn { cents: -cents, currency, reason: reason.to_owned() }
        } else {
            Self::Deposited { cents, currency }
        }
    }
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    const STATE_VERSION: u32 = 3;
    type Event = AccountEvent;
    type Commands = (Change, Read);

    fn apply(&mut self, event: &AccountEvent) {
        self.changes += 1;
        match event {
            AccountEvent::Deposited { cents, currency } => self.change(currency, *cents),
            AccountEvent::Withdrawn { cents, currency, .. } => self.change(currency, -cents),
        }
    }

    fn state_migrations() -> Migrations<Self> {
        Migrations::new().up("state", 1, Step::rename_field("events", "changes")).up(
            "state",
            2,
            Step::typed(|old: AccountV2| {
                // Without a change there is no currency to have a balance in.
                let euros = (old.changes > 0).then(|| (EUR.to_owned(), old.cents));
                Account { balances: euros.into_iter().collect(), changes: old.changes }
            }),
        )
    }
}

impl Account {
    fn change(&mut self, currency: &str, cents: i64) {
        *self.balances.entry(currency.to_owned()).or_default() += cents;
    }
}

impl Handle<Change> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, change: &Change, ctx: &mut Context<Self, Change>) -> Effect<Self, Change> {
        let currency = if change.cents % 5 == 0 { "SEK" } else { EUR };
        ctx.persist(AccountEvent::of(change.cents, currency, "rent")).reply_with(())
    }
}

impl Handle<Read> for Account {
    type Reply = serde_json::Value;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
        ctx.reply(serde_json::json!({"balances": self.balances, "changes": self.changes}))
    }
}

/// What all amounts were in before somebody said it.
const EUR: &str = "EUR";
