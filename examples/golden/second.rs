//! The account as the second build had it: two events in the place of one with a sign, and nobody pings any more.

use annals::migrations::{Migrations, Step};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::record::{Change, Read};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    cents: i64,
    changes: u64,
}

/// What the first build stored.
#[derive(Serialize, Deserialize)]
struct Moved {
    cents: i64,
}

#[derive(Serialize, Deserialize, Event)]
#[event(retired("account.pinged"))]
pub(crate) enum AccountEvent {
    #[event(from(("account.moved", 1) => Step::events(|old: Moved| vec![AccountEvent::of(old.cents)])))]
    Deposited {
        cents: i64,
    },
    Withdrawn {
        cents: i64,
    },
}

impl AccountEvent {
    fn of(cents: i64) -> Self {
        if cents < 0 { Self::Withdrawn { cents: -cents } } else { Self::Deposited { cents } }
    }
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    const STATE_VERSION: u32 = 2;
    type Event = AccountEvent;
    type Commands = (Change, Read);

    fn apply(&mut self, event: &AccountEvent) {
        self.changes += 1;
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }

    fn state_migrations() -> Migrations<Self> {
        Migrations::new().up("state", 1, Step::rename_field("events", "changes"))
    }
}

impl Handle<Change> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, change: &Change, ctx: &mut Context<Self, Change>) -> Effect<Self, Change> {
        ctx.persist(AccountEvent::of(change.cents)).reply_with(())
    }
}

impl Handle<Read> for Account {
    type Reply = serde_json::Value;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
        ctx.reply(serde_json::json!({"cents": self.cents, "changes": self.changes}))
    }
}
