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
    type Commands = (Close, Keep);

    fn apply(&mut self, _: &Opened) {}
}

#[derive(Serialize, Deserialize, Command)]
struct Close;

impl Handle<Close> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Close, ctx: &mut Context<Self, Close>) -> Effect<Self, Close> {
        ctx.reply(())
    }
}

#[derive(Serialize, Deserialize, Command)]
struct Keep;

impl Handle<Keep> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Keep, ctx: &mut Context<Self, Keep>) -> Effect<Self, Keep> {
        ctx.reply(())
    }
}

impl Handle<Open> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        ctx.persist(Opened).reply(|_| ())
    }
}

async fn ask(account: annals_actors::EntityRef<Account>) {
    let _ = account.ask(Open).await;
}

fn main() {}
