use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor};
use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Account;

#[derive(Serialize, Deserialize, Event)]
struct Opened;

#[derive(Serialize, Deserialize, Command)]
struct Open;

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = Opened;
    type Commands = (Open,);

    fn apply(&mut self, _: &Opened) {}
}

impl Handle<Open> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        ctx.run(async { 1 })
    }
}

fn main() {}
