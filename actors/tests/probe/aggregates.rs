use std::sync::{Arc, Mutex};

use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor, ServiceNeeds};
use annals_journal::Tag;
use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

/// Keeps notes.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Probe {
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum ProbeEvent {
    Noted { text: String },
}

#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Note(pub(crate) String);
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Notes;

impl PersistentActor for Probe {
    const KIND: &'static str = "probe";
    type Event = ProbeEvent;
    type Commands = (Note, Notes);

    fn apply(&mut self, ProbeEvent::Noted { text }: &ProbeEvent) {
        self.notes.push(text.clone());
    }

    fn tags(&self, ProbeEvent::Noted { text }: &ProbeEvent) -> Vec<Tag> {
        if text == "important" { vec![Tag::new("important").unwrap()] } else { Vec::new() }
    }
}

impl Handle<Note> for Probe {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Note, ctx: &mut Context<Self, Note>) -> Effect<Self, Note> {
        ctx.persist(ProbeEvent::Noted { text: command.0.clone() }).reply(|probe| probe.notes.len() as u64)
    }
}

impl Handle<Notes> for Probe {
    type Reply = Vec<String>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Notes, ctx: &mut Context<Self, Notes>) -> Effect<Self, Notes> {
        ctx.reply(self.notes.clone())
    }
}

/// Another kind with an event of the same name.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Impostor;

#[derive(Serialize, Deserialize, Event)]
#[event(manifest = "probe.noted")]
pub(crate) struct Noted;

impl PersistentActor for Impostor {
    const KIND: &'static str = "impostor";
    type Event = Noted;
    type Commands = (Buy,);

    fn apply(&mut self, _: &Noted) {}
}

impl Handle<Buy> for Impostor {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Buy, ctx: &mut Context<Self, Buy>) -> Effect<Self, Buy> {
        ctx.reply(())
    }
}

/// Asks a service for a price.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Priced;

pub(crate) struct PriceList(pub(crate) i64);

#[derive(Serialize, Deserialize, Event)]
pub(crate) struct Bought;

#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Buy;
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct BuyBlindly;

impl PersistentActor for Priced {
    const KIND: &'static str = "priced";
    type Event = Bought;
    type Commands = (Buy, BuyBlindly);

    fn apply(&mut self, _: &Bought) {}

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<PriceList>();
    }
}

impl Handle<Buy> for Priced {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Buy, ctx: &mut Context<Self, Buy>) -> Effect<Self, Buy> {
        let prices = ctx.service::<PriceList>();
        ctx.run(async move { prices.0 }).then(|_, _, price, ctx| ctx.persist(Bought).reply(move |_| price))
    }
}

impl Handle<BuyBlindly> for Priced {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &BuyBlindly, ctx: &mut Context<Self, BuyBlindly>) -> Effect<Self, BuyBlindly> {
        let _text = ctx.service::<&'static str>();
        ctx.reply(())
    }
}

/// Tells the world about each of its events.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Notifier;

/// What the world was told.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Vec<u32>>>);

impl World {
    pub(crate) fn heard(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) struct Notified;

/// 13 panics.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Notify(pub(crate) u32);

impl PersistentActor for Notifier {
    const KIND: &'static str = "notifier";
    type Event = Notified;
    type Commands = (Notify,);

    fn apply(&mut self, _: &Notified) {}

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<World>();
    }
}

impl Handle<Notify> for Notifier {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, command: &Notify, ctx: &mut Context<Self, Notify>) -> Effect<Self, Notify> {
        let (n, world) = (command.0, ctx.service::<World>());
        ctx.persist(Notified)
            .then_run(move |_| async move {
                tokio::task::yield_now().await;
                assert!(n != 13, "unlucky");
                world.0.lock().unwrap().push(n);
            })
            .reply_with(())
    }
}
