//! The second build of the parcel service of `v1.rs`: it knows on which scales a parcel was weighed.

mod line;

use std::process::ExitCode;

use annals::migrations::{Migrations, Step};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use line::{Look, Seen, Weigh};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Parcel {
    weighings: Vec<Weighing>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Weighing {
    grams: u64,
    scales: String,
}

#[derive(Debug, Serialize, Deserialize, Event)]
enum ParcelEvent {
    #[event(
        version = 2,
        from(1 => Step::default_value("scales", "unknown")),
        to(1 => Step::remove_field("scales")),
    )]
    Weighed { grams: u64, scales: String },
}

#[derive(Serialize, Deserialize)]
struct ParcelV1 {
    weighings: Vec<u64>,
}

impl PersistentActor for Parcel {
    const KIND: &'static str = "parcel";
    const STATE_VERSION: u32 = 2;
    type Event = ParcelEvent;
    type Commands = (Weigh, Look);

    fn apply(&mut self, ParcelEvent::Weighed { grams, scales }: &ParcelEvent) {
        self.weighings.push(Weighing { grams: *grams, scales: scales.clone() });
    }

    fn state_migrations() -> Migrations<Self> {
        let unknown = |grams| Weighing { grams, scales: "unknown".into() };
        Migrations::new()
            .up(
                "state",
                1,
                Step::typed(move |old: ParcelV1| Parcel {
                    weighings: old.weighings.into_iter().map(unknown).collect(),
                }),
            )
            .down(
                "state",
                1,
                Step::typed(|new: Parcel| ParcelV1 {
                    weighings: new.weighings.into_iter().map(|weighing| weighing.grams).collect(),
                }),
            )
    }
}

impl Handle<Weigh> for Parcel {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, weigh: &Weigh, ctx: &mut Context<Self, Weigh>) -> Effect<Self, Weigh> {
        ctx.persist(ParcelEvent::Weighed { grams: weigh.grams, scales: "hall".into() }).reply(|_| ())
    }
}

impl Handle<Look> for Parcel {
    type Reply = Seen;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        let grams = self.weighings.iter().map(|weighing| weighing.grams).collect();
        ctx.reply(Seen { grams, insured_cents: 0 })
    }
}

fn main() -> ExitCode {
    line::run::<Parcel, _>(line::weigh_or_look::<Parcel, _, _>)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use annals::testing::SchemaLock;

    use crate::Parcel;

    #[test]
    fn what_older_builds_stored_is_read() {
        SchemaLock::at("examples/rollout/schemas.v2.lock").entity::<Parcel>().check();
    }
}
