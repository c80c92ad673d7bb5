use annals::prelude::*;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::event::Event as Payload;

/// The entity: counts what came in.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    cents: i64,
    events: u32,
}

/// Its one event, with the fields of [`Payload`].
#[derive(Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Deposited { account: String, amount_cents: i64, memo: String },
}

/// Persists one event and answers how many there are.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Deposit {
    account: String,
    amount_cents: i64,
    memo: String,
}

/// Answers how many events there are.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Count;

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit, Count);

    fn apply(&mut self, event: &AccountEvent) {
        let AccountEvent::Deposited { amount_cents, .. } = event;
        self.cents += amount_cents;
        self.events += 1;
    }
}

impl Handle<Deposit> for Account {
    type Reply = u32;
    type Rejection = NeverRejected;

    fn handle(&self, deposit: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        let Deposit { account, amount_cents, memo } = deposit;
        ctx.persist(AccountEvent::Deposited {
            account: account.clone(),
            amount_cents: *amount_cents,
            memo: memo.clone(),
        })
        .reply(|account| account.events)
    }
}

impl Handle<Count> for Account {
    type Reply = u32;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Count, ctx: &mut Context<Self, Count>) -> Effect<Self, Count> {
        ctx.reply(self.events)
    }
}

impl From<Payload> for Deposit {
    fn from(Payload { account, amount_cents, memo }: Payload) -> Self {
        Self { account, amount_cents, memo }
    }
}

/// Entities that say how many events they have.
pub(crate) trait Counts: PersistentActor {
    fn count(entity: &EntityRef<Self>) -> impl Future<Output = Result<u32>> + Send;
}

impl Counts for Account {
    async fn count(entity: &EntityRef<Self>) -> Result<u32> {
        entity.ask(Count).await.context("a recovery")
    }
}
