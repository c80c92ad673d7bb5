//! The third build of the parcel service of `v1.rs`: its scales count milligrams, and a parcel can be insured.

mod line;

use std::process::ExitCode;

use annals::migrations::{Migrations, Step};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use line::{Look, Seen, Weigh};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Parcel {
    weighings: Vec<Weighing>,
    insured_cents: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Weighing {
    milligrams: u64,
    scales: String,
}

#[derive(Debug, Serialize, Deserialize, Event)]
enum ParcelEvent {
    #[event(
        version = 3,
        from(
            1 => Step::default_value("scales", "unknown"),
            2 => |old: WeighingV2| old.in_milligrams(),
        ),
        to(
            2 => |new: Weighing| WeighingV2::of(&new),
            1 => Step::remove_field("scales"),
        ),
    )]
    Weighed { milligrams: u64, scales: String },
    /// No build before reads it, so there is no way down.
    Insured { cents: u64 },
}

#[derive(Serialize, Deserialize)]
struct WeighingV2 {
    grams: u64,
    scales: String,
}

impl WeighingV2 {
    fn in_milligrams(self) -> Weighing {
        Weighing { milligrams: self.grams * 1000, scales: self.scales }
    }

    fn of(weighing: &Weighing) -> Self {
        Self { grams: weighing.milligrams / 1000, scales: weighing.scales.clone() }
    }
}

#[derive(Serialize, Deserialize)]
struct ParcelV1 {
    weighings: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct ParcelV2 {
    weighings: Vec<WeighingV2>,
}

impl PersistentActor for Parcel {
    const KIND: &'static str = "parcel";
    const STATE_VERSION: u32 = 3;
    type Event = ParcelEvent;
    type Commands = (Weigh, Look, Insure);

    fn apply(&mut self, event: &ParcelEvent) {
        match event {
            ParcelEvent::Weighed { milligrams, scales } => {
                self.weighings.push(Weighing { milligrams: *milligrams, scales: scales.clone() });
            }
            ParcelEvent::Insured { cents } => self.insured_cents += cents,
        }
    }

    fn state_migrations() -> Migrations<Self> {
        let unknown = |grams| WeighingV2 { grams, scales: "unknown".into() };
        Migrations::new()
            .up(
                "state",
                1,
                Step::typed(move |old: ParcelV1| ParcelV2 {
                    weighings: old.weighings.into_iter().map(unknown).collect(),
                }),
            )
            .up(
                "state",
                2,
                Step::typed(|old: ParcelV2| Parcel {
                    weighings: old.weighings.into_iter().map(WeighingV2::in_milligrams).collect(),
                    insured_cents: 0,
                }),
            )
            .down(
                "state",
                2,
                Step::typed(|new: Parcel| ParcelV2 {
                    weighings: new.weighings.iter().map(WeighingV2::of).collect(),
                }),
            )
            .down(
                "state",
                1,
                Step::typed(|new: ParcelV2| ParcelV1 {
                    weighings: new.weighings.into_iter().map(|weighing| weighing.grams).collect(),
                }),
            )
    }
}

/// Insures a parcel, or insures it higher.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
struct Insure {
    cents: u64,
}

impl Handle<Weigh> for Parcel {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, weigh: &Weigh, ctx: &mut Context<Self, Weigh>) -> Effect<Self, Weigh> {
        let milligrams = weigh.grams * 1000;
        ctx.persist(ParcelEvent::Weighed { milligrams, scales: "hall".into() }).reply(|_| ())
    }
}

impl Handle<Insure> for Parcel {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, insure: &Insure, ctx: &mut Context<Self, Insure>) -> Effect<Self, Insure> {
        ctx.persist(ParcelEvent::Insured { cents: insure.cents }).reply(|parcel| parcel.insured_cents)
    }
}

impl Handle<Look> for Parcel {
    type Reply = Seen;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        let grams = self.weighings.iter().map(|weighing| weighing.milligrams / 1000).collect();
        ctx.reply(Seen { grams, insured_cents: self.insured_cents })
    }
}

async fn insure(node: &Node, id: &str, cents: u64) -> String {
    match node.entity::<Parcel>(id).ask(Insure { cents }).await {
        Ok(cents) => format!("insured {id} {cents}"),
        Err(error) => format!("failed {id} {cents} {error}"),
    }
}

fn main() -> ExitCode {
    line::run::<Parcel, _>(async |node: &Node, words: &[&str]| match *words {
        ["insure", id, cents] => Some(insure(node, id, cents.parse().ok()?).await),
        _ => line::weigh_or_look::<Parcel, _, _>(node, words).await,
    })
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use annals::testing::SchemaLock;

    use crate::Parcel;

    #[test]
    fn what_older_builds_stored_is_read() {
        SchemaLock::at("examples/rollout/schemas.v3.lock").entity::<Parcel>().check();
    }
}
