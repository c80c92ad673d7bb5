//! An aggregate that does what its commands say, and tells a plain actor about it.

use std::sync::Arc;

use annals_actors::plain::{ActorRef, ActorSystem};
use annals_actors::{
    Clock, Context, Effect, Handle, Kind, NeverRejected, Node, NodeBuilder, PersistentActor, ServiceNeeds,
};
use annals_derive::{Command, Event};
use annals_journal::Timestamp;
use annals_snapshot::MemorySnapshotStore;
use serde::{Deserialize, Serialize};

use crate::doctored::Doctored;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tank {
    litres: u64,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum TankEvent {
    Filled { litres: u64 },
}

/// Adds to it, and publishes the total.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Fill(pub(crate) u64);
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Litres;
/// Panics.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Burst;
/// Leaves memory.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Doze;

/// What is published when a tank was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Total(pub(crate) u64);

impl PersistentActor for Tank {
    const KIND: &'static str = "tank";
    type Event = TankEvent;
    type Commands = (Fill, Litres, Burst, Doze);

    fn apply(&mut self, TankEvent::Filled { litres }: &TankEvent) {
        self.litres += litres;
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<ActorSystem>().service::<Gauges>();
    }
}

/// Who is told each new total, if anybody.
#[derive(Clone, Default)]
pub(crate) struct Gauges(pub(crate) Option<ActorRef<u64>>);

impl Handle<Fill> for Tank {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, fill: &Fill, ctx: &mut Context<Self, Fill>) -> Effect<Self, Fill> {
        let (system, gauges) = (ctx.service::<ActorSystem>(), ctx.service::<Gauges>());
        ctx.persist(TankEvent::Filled { litres: fill.0 })
            .then_run(move |tank| {
                let litres = tank.litres;
                async move {
                    system.event_stream().publish(Total(litres));
                    if let Some(gauge) = &gauges.0 {
                        // Not there any more: a dead letter.
                        let _ = gauge.try_tell(litres);
                    }
                }
            })
            .reply(|tank| tank.litres)
    }
}

impl Handle<Litres> for Tank {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Litres, ctx: &mut Context<Self, Litres>) -> Effect<Self, Litres> {
        ctx.reply(self.litres)
    }
}

impl Handle<Burst> for Tank {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Burst, _: &mut Context<Self, Burst>) -> Effect<Self, Burst> {
        // A panic without the hook that prints it.
        std::panic::resume_unwind(Box::new("too much pressure"))
    }
}

impl Handle<Doze> for Tank {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Doze, ctx: &mut Context<Self, Doze>) -> Effect<Self, Doze> {
        ctx.none().passivate().reply_with(())
    }
}

/// A kind whose entities publish to this system.
pub(crate) fn tanks(system: &ActorSystem) -> Kind<Tank> {
    Kind::new().service(system.clone()).service(Gauges::default())
}

/// A builder whose kind and node share a system, and the journal below it.
pub(crate) fn plant(change: impl FnOnce(Kind<Tank>) -> Kind<Tank>) -> (NodeBuilder, Arc<Doctored>) {
    let system = ActorSystem::new("plant");
    let builder = Node::builder("plant").kind(change(tanks(&system))).system(system);
    (builder, Arc::new(Doctored::new()))
}

/// Goes with tokio's time, which tests move.
#[derive(Debug)]
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000_000).plus(self.0.elapsed())
    }
}

/// Starts it.
pub(crate) async fn started(plant: NodeBuilder, journal: &Arc<Doctored>) -> Node {
    let stores = annals_actors::Stores {
        journal: journal.clone(),
        records: journal.records.clone(),
        snapshots: Arc::new(MemorySnapshotStore::new()),
    };
    plant.clock(Arc::new(TokioClock(tokio::time::Instant::now()))).start(stores).await.unwrap()
}
