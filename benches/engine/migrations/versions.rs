//! One event in four versions, read by two builds: one whose steps go from type to type, one whose steps change JSON.
//!
//! ```text
//! 1  account, amount_cents, memo              what [`Payload`] is
//! 2  account, amount_cents, memo, currency    a field was added
//! 3  account, cents, memo, currency           one was renamed
//! 4  account, amount, memo, currency          and has another type: "12345.67"
//! ```

use annals::migrations::{CodecError, KindAdapter, ListAdapter, Migrations, SchemaError};
use annals::prelude::*;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::account::{Count, Counts};
use crate::event::Event as Payload;

#[derive(Serialize, Deserialize)]
struct DepositedV2 {
    account: String,
    amount_cents: i64,
    memo: String,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct DepositedV3 {
    account: String,
    cents: i64,
    memo: String,
    currency: String,
}

fn add_currency(Payload { account, amount_cents, memo }: Payload) -> DepositedV2 {
    DepositedV2 { account, amount_cents, memo, currency: CURRENCY.into() }
}

fn rename_cents(DepositedV2 { account, amount_cents, memo, currency }: DepositedV2) -> DepositedV3 {
    DepositedV3 { account, cents: amount_cents, memo, currency }
}

fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// Today's event, read by steps from type to type.
#[derive(Serialize, Deserialize, Event)]
pub(crate) enum TypedEvent {
    #[event(version = 4, from(
        1 => add_currency,
        2 => rename_cents,
        3 => |DepositedV3 { account, cents, memo, currency }| {
            TypedEvent::Deposited { account, amount: decimal(cents), memo, currency }
        },
    ))]
    Deposited { account: String, amount: String, memo: String, currency: String },
}

/// The same, read by steps that change the fields of JSON.
#[derive(Serialize, Deserialize, Event)]
pub(crate) enum ValueEvent {
    #[event(version = 4, from(
        1 => Step::default_value("currency", CURRENCY),
        2 => Step::rename_field("amount_cents", "cents"),
        3 => Step::rename_field("cents", "amount")
            .then(Step::convert_field("amount", |cents: i64| Ok::<_, CodecError>(decimal(cents)))),
    ))]
    Deposited { account: String, amount: String, memo: String, currency: String },
}

impl TypedEvent {
    pub(crate) fn example() -> Self {
        let Payload { account, amount_cents, memo } = Payload::example();
        Self::Deposited { account, amount: decimal(amount_cents), memo, currency: CURRENCY.into() }
    }

    /// The adapter that a node puts before a journal, with the steps or without.
    pub(crate) fn adapter(with_steps: bool) -> Result<ListAdapter<KindAdapter<Self>>, SchemaError> {
        let adapter =
            if with_steps { KindAdapter::new(KIND) } else { KindAdapter::with(KIND, Migrations::new()) };
        adapter.map(ListAdapter::new)
    }
}

/// Counts what came in.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Typed {
    bytes: usize,
    events: u32,
}

/// The same.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Valued {
    bytes: usize,
    events: u32,
}

macro_rules! counts {
    ($actor:ident, $event:ident) => {
        impl PersistentActor for $actor {
            const KIND: &'static str = KIND;
            type Event = $event;
            type Commands = (Count,);

            fn apply(&mut self, event: &$event) {
                let $event::Deposited { amount, .. } = event;
                self.bytes += amount.len();
                self.events += 1;
            }
        }

        impl Handle<Count> for $actor {
            type Reply = u32;
            type Rejection = NeverRejected;

            fn handle(&self, _: &Count, ctx: &mut Context<Self, Count>) -> Effect<Self, Count> {
                ctx.reply(self.events)
            }
        }

        impl Counts for $actor {
            async fn count(entity: &EntityRef<Self>) -> Result<u32> {
                entity.ask(Count).await.context("a recovery")
            }
        }
    };
}

counts!(Typed, TypedEvent);
counts!(Valued, ValueEvent);

pub(crate) const KIND: &str = "account";
const CURRENCY: &str = "EUR";
