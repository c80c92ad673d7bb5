//! A parcel service whose events change twice: its first build, which knows what a parcel weighs.
//!
//! `v2.rs` and `v3.rs` are what it becomes. All three read lines from standard input and answer each on standard output:
//!
//! ```text
//! cargo run --example rollout_v1 -- --journal sqlite://parcels.db
//! weigh p-1 500
//! ```
//!
//! Several processes of several builds may run on one file: each registers with what it reads, and writes what all can read.
//! `writes` asks which version of each manifest that is now.
//!
//! | file | what |
//! |---|---|
//! | `v1.rs` | `parcel.weighed` in version 1: grams |
//! | `v2.rs` | version 2: and the scales |
//! | `v3.rs` | version 3: milligrams; and `parcel.insured`, which no build before can read |
//! | `line.rs` | what they have in common |
//! | `schemas.v1.lock`, … | what each build stores and reads |
//!
//! When the second build does not start any more because the third has stored something, the third brings the journal down:
//!
//! ```text
//! cargo run --example rollout_v3 -- migrate rewrite --journal sqlite://parcels.db --to examples/rollout/schemas.v2.lock --apply
//! ```

mod line;

use std::process::ExitCode;

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use line::{Look, Seen, Weigh};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Parcel {
    weighings: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize, Event)]
enum ParcelEvent {
    Weighed { grams: u64 },
}

impl PersistentActor for Parcel {
    const KIND: &'static str = "parcel";
    type Event = ParcelEvent;
    type Commands = (Weigh, Look);

    fn apply(&mut self, ParcelEvent::Weighed { grams }: &ParcelEvent) {
        self.weighings.push(*grams);
    }
}

impl Handle<Weigh> for Parcel {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, weigh: &Weigh, ctx: &mut Context<Self, Weigh>) -> Effect<Self, Weigh> {
        ctx.persist(ParcelEvent::Weighed { grams: weigh.grams }).reply(|_| ())
    }
}

impl Handle<Look> for Parcel {
    type Reply = Seen;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        ctx.reply(Seen { grams: self.weighings.clone(), insured_cents: 0 })
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
        SchemaLock::at("examples/rollout/schemas.v1.lock").entity::<Parcel>().check();
    }
}
