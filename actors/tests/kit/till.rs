//! A till that rings a bell for each payment, and a node that runs it.

use annals_actors::plain::ActorRef;
use annals_actors::testing::{Probe, TestNode};
use annals_actors::{Context, Effect, Handle, Kind, NeverRejected, PersistentActor, ServiceNeeds};
use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Till {
    pub(crate) cents: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum TillEvent {
    Paid { cents: i64 },
    Stamped { at: u64, id: Uuid },
}

#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Pay(pub(crate) i64);
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Stamp;
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Total;

/// Whom a till tells of each payment.
pub(crate) struct Bell(pub(crate) ActorRef<Rung>);

#[derive(Debug, PartialEq)]
pub(crate) struct Rung {
    pub(crate) cents: i64,
    pub(crate) total: i64,
}

impl PersistentActor for Till {
    const KIND: &'static str = "till";
    type Event = TillEvent;
    type Commands = (Pay, Stamp, Total);

    fn apply(&mut self, event: &TillEvent) {
        if let TillEvent::Paid { cents } = event {
            self.cents += cents;
        }
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Bell>();
    }
}

impl Handle<Pay> for Till {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Pay, ctx: &mut Context<Self, Pay>) -> Effect<Self, Pay> {
        let (cents, bell) = (command.0, ctx.service::<Bell>());
        ctx.persist(TillEvent::Paid { cents })
            .then_run(move |till| {
                let rung = Rung { cents, total: till.cents };
                async move { drop(bell.0.try_tell(rung)) }
            })
            .reply(|till| till.cents)
    }
}

impl Handle<Stamp> for Till {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Stamp, ctx: &mut Context<Self, Stamp>) -> Effect<Self, Stamp> {
        let (at, id) = (ctx.now().as_micros(), ctx.new_id());
        ctx.persist(TillEvent::Stamped { at, id }).reply_with(())
    }
}

impl Handle<Total> for Till {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Total, ctx: &mut Context<Self, Total>) -> Effect<Self, Total> {
        ctx.reply(self.cents)
    }
}

pub(crate) fn paid(cents: i64) -> TillEvent {
    TillEvent::Paid { cents }
}

/// A node with tills, as `set` has them, and the probe at their bell.
pub(crate) async fn shop_with(
    set: impl Fn(Kind<Till>) -> Kind<Till> + Send + Sync + 'static,
) -> (TestNode, Probe<Rung>) {
    let mut builder = TestNode::builder();
    let bell = builder.probe();
    let rings = bell.actor_ref();
    let kit = builder.kind(move || set(Kind::new().service(Bell(rings.clone())))).start().await;
    (kit, bell)
}

pub(crate) async fn shop() -> (TestNode, Probe<Rung>) {
    shop_with(|kind| kind).await
}
