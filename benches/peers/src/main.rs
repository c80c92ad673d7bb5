//! The work of `benches/engine/work.rs` and `scenario.rs`, done by libraries that are published.
//!
//! `cargo xtask bench` builds it, and the driver in `benches/engine` starts one process a run: `plain LIBRARY WORK COUNT` says
//! how long the work took, `journal LIBRARY WORK URL ENTITIES EVENTS IN-FLIGHT` how many events a second, `idle LIBRARY COUNT` keeps idle actors so that their memory can be looked at.

#[allow(dead_code, reason = "the driver uses the rest")]
#[path = "../../engine/event.rs"]
mod event;
mod of_coerce;
mod of_cqrs_es;
mod of_kameo;
mod of_ractor;
#[path = "../../engine/parent.rs"]
mod parent;
#[path = "../../engine/work.rs"]
mod work;

use anyhow::{Result, bail};

use of_coerce::CoerceActors;
use of_kameo::KameoActors;
use of_ractor::RactorActors;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["plain", "kameo", work, count] => work::measure(|| KameoActors, work, count),
        ["plain", "ractor", work, count] => work::measure(|| RactorActors, work, count),
        ["plain", "coerce", work, count] => work::measure(CoerceActors::new, work, count),
        ["idle", "kameo", count] => work::keep(|| KameoActors, count, false),
        ["idle", "ractor", count] => work::keep(|| RactorActors, count, false),
        ["idle", "coerce", count] => work::keep(CoerceActors::new, count, false),
        ["journal", "cqrs-es", work, url, entities, events, in_flight] => {
            of_cqrs_es::measure(work, url, entities, events, in_flight)
        }
        _ => bail!("what to do? This program is started by `cargo xtask bench`"),
    }
}
