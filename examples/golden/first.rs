//! The account as the first build had it: what moved has a sign, and there is one currency that nobody says.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::record::{Change, Ping, Read};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    cents: i64,
    events: u64,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Moved { cents: i64 },
    Pinged,
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Change, Ping, Read);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Moved { cents } => {
                self.cents += cents;
                self.events += 1;
            }
            AccountEvent::Pinged => {}
        }
    }
}

impl Handle<Change> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, change: &Change, ctx: &mut Context<Self, Change>) -> Effect<Self, Change> {
        ctx.persist(AccountEvent::Moved { cents: change.cents }).reply_with(())
    }
}

impl Handle<Ping> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Ping, ctx: &mut Context<Self, Ping>) -> Effect<Self, Ping> {
        ctx.persist(AccountEvent::Pinged).reply_with(())
    }
}

impl Handle<Read> for Account {
    type Reply = serde_json::Value;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
        ctx.reply(serde_json::json!({"cents": self.cents, "events": self.events}))
    }
}
