//! Plain actors: Annals, bare tasks and the peers in turn, each run in a process of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, progress};
use crate::child::{self, Child};
use crate::stats::{Summary, ratios};
use crate::table::Row;

/// What plain actors are asked to do, and what Annals has to reach.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// How often.
    pub(crate) count: u32,
    /// As a part of raw.
    pub(crate) target: f64,
}

pub(crate) const TELL: Exchange = Exchange { name: "tell", unit: "msgs/s", count: 3_000_000, target: 0.60 };
pub(crate) const ASK: Exchange = Exchange { name: "ask", unit: "asks/s", count: 500_000, target: 0.75 };
pub(crate) const ASK_100: Exchange =
    Exchange { name: "ask-100", unit: "asks/s", count: 1_000_000, target: 0.75 };
pub(crate) const SPAWN: Exchange = Exchange { name: "spawn", unit: "spawns/s", count: 100_000, target: 0.45 };

/// One row beside raw with the peers in it, then one a peer with how many times as fast Annals is.
pub(crate) fn rows(bench: &Bench, exchange: &Exchange) -> Result<Vec<Row>> {
    let Exchange { name, unit, count, target } = *exchange;
    let count = bench.choose(count, count / 10);
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let contestants = contestants(bench)?;
    // Each process warms up by itself.
    for run in 1..=bench.runs {
        for (contestant, program) in &contestants {
            let mut child = Child::start(program, &["plain", contestant, name, &count.to_string()], &[])?;
            let _warm_up = child.number()?;
            let nanos = child.number()?;
            child.end()?;
            ensure!(nanos > 0.0, "{name} of {contestant} took no time");
            let speed = f64::from(count) * 1e9 / nanos;
            progress(name, contestant, run, speed, unit);
            values.entry(contestant).or_default().push(speed);
        }
    }
    let (ours, raw) = (&values[OURS], &values[RAW]);
    let mut row = Row::of(name, unit, ours).context("no run")?.beside(ours, raw).at_least(target);
    let mut against = Vec::new();
    for (peer, times) in PEERS {
        let Some(theirs) = values.get(peer) else { continue };
        row.peers.extend(Summary::of(theirs).map(|theirs| ((*peer).to_owned(), theirs.median)));
        against.extend(
            Row::of(format!("{name} / {peer}"), "times", &ratios(ours, theirs))
                .map(|row| row.at_least(*times)),
        );
    }
    let mut rows = vec![row];
    rows.extend(against);
    rows.extend(Row::of(format!("{name} raw"), unit, raw));
    Ok(rows)
}

fn contestants(bench: &Bench) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut contestants = vec![(OURS, child::ours()?), (RAW, child::ours()?)];
    if let Some(program) = &bench.extras.peers {
        contestants.extend(PEERS.iter().map(|(peer, _)| (*peer, program.clone())));
    }
    Ok(contestants)
}

const OURS: &str = "annals";
const RAW: &str = "raw";
/// With how many times as fast Annals has to be.
pub(crate) const PEERS: &[(&str, f64)] = &[("kameo", 2.0), ("ractor", 2.0), ("coerce", 1.4)];
