//! The scenarios on a PostgreSQL that is started for them: Annals, what the server makes of the same rows alone, what SQL by hand makes
//! of Annals's own tables, and cqrs-es.

mod by_hand;
mod raw;
mod server;

use anyhow::{Context, Result};

use crate::annals::{JournalChoice, Settings};
use crate::bench::{Bench, progress};
use crate::child::Child;
use crate::contestant::Contestant;
use crate::measure::samples;
use crate::scenario::{Load, Memory, Scenario, Work};
use crate::stats::{Summary, ratios};
use crate::table::Row;
use by_hand::ByHand;
use raw::RawPostgres;
use server::{OnServer, Server};

pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let server = Server::start()?;
    let url: &'static str = Box::leak(server.journal(OURS).into_boxed_str());
    let ours = bench.annals(JournalChoice::Postgres(url), Settings::default());
    let ours = OnServer { contestant: &ours, server: &server, runtime: &bench.runtime };
    let raw = RawPostgres { server: &server, runtime: &bench.runtime };
    let by_hand = ByHand { server: &server, runtime: &bench.runtime };
    let mut rows = Vec::new();
    for scenario in SCENARIOS {
        // The order matters: Annals says how many rows a statement has.
        let mut contestants: Vec<&dyn Contestant> = vec![&ours, &raw];
        if scenario.name == P2 {
            contestants.push(&by_hand);
        }
        let samples = samples(bench, scenario, &contestants)?;
        let mut of_scenario = samples.rows(scenario);
        let speeds = samples.speeds(OURS);
        if scenario.name == P2 {
            let beside = Row::of(format!("{P2} / by hand"), "events/s", speeds).context("no run")?;
            of_scenario.push(beside.beside(speeds, samples.speeds(BY_HAND)).at_least(0.70));
        }
        if let Some((_, least)) = AT_LEAST.iter().find(|(name, _)| *name == scenario.name) {
            let row = Row::of(format!("{} alone", scenario.name), "events/s", speeds).context("no run")?;
            of_scenario.push(row.at_least(*least));
        }
        if let Some((_, load)) = CQRS_ES.iter().find(|(name, _)| *name == scenario.name)
            && let Some(theirs) = cqrs_es(bench, &server, scenario, load)?
            && let Some(row) = of_scenario.first_mut()
        {
            row.peers.extend(Summary::of(&theirs).map(|theirs| ("cqrs-es".to_owned(), theirs.median)));
            of_scenario.extend(Row::of(
                format!("{} / cqrs-es", scenario.name),
                "times",
                &ratios(speeds, &theirs),
            ));
        }
        rows.extend(of_scenario);
    }
    Ok(rows)
}

/// What cqrs-es does in processes of its own; `None` without the program of benches/peers.
fn cqrs_es(bench: &Bench, server: &Server, scenario: &Scenario, load: &Load) -> Result<Option<Vec<f64>>> {
    let Some(program) = &bench.extras.peers else { return Ok(None) };
    let work = match scenario.work {
        Work::Commands => "persist",
        Work::Recovery => "recover",
    };
    let mut speeds = Vec::new();
    for run in 1..=bench.runs {
        bench.runtime.block_on(server.empty("cqrs_es"))?;
        let url = format!("{}?options=-c%20search_path=cqrs_es", server.url());
        let numbers = [load.entities, load.events_each, load.in_flight].map(|number| number.to_string());
        let [entities, events, in_flight] = &numbers;
        let mut child =
            Child::start(program, &["journal", "cqrs-es", work, &url, entities, events, in_flight], &[])?;
        let speed = child.number()?;
        child.end()?;
        progress(scenario.name, "cqrs-es", run, speed, "events/s");
        speeds.push(speed);
    }
    Ok(Some(speeds))
}

const fn commands(name: &'static str, load: Load, quick: Load, target: f64) -> Scenario {
    let target = Some(target);
    Scenario { name, work: Work::Commands, load, quick, target, memory: Memory::No, bytes_count: false }
}

const fn recovery(name: &'static str, load: Load, quick: Load, target: Option<f64>) -> Scenario {
    Scenario { name, work: Work::Recovery, load, quick, target, memory: Memory::No, bytes_count: false }
}

const SCENARIOS: &[Scenario] = &[
    commands("pg P1", Load::new(1, 5_000, 1), Load::new(1, 500, 1), 0.85),
    commands(P2, Load::new(1_000, 100, 256), Load::new(1_000, 10, 256), 0.35),
    commands("pg H", Load::new(1, 100_000, 256), Load::new(1, 10_000, 256), 0.50),
    recovery("pg R", Load::new(1, 100_000, 256), Load::new(1, 10_000, 256), Some(0.60)),
    recovery("pg R2", Load::new(1_000, 100, 256), Load::new(1_000, 10, 256), None),
];
const P2: &str = "pg P2";
/// Events a second: three times those of Pekko 1.1 with its jdbc plugin on PostgreSQL 15, measured on the machine of docs/performance.md.
const AT_LEAST: &[(&str, f64)] = &[("pg R2", 246_000.0)];
/// What cqrs-es is asked to do: it reads all events of an aggregate for each command, so it has few of them.
const CQRS_ES: &[(&str, Load)] =
    &[("pg P1", Load::new(1, 1_000, 1)), (P2, Load::new(1_000, 10, 256)), ("pg R", Load::new(1, 100_000, 1))];
const OURS: &str = "annals";
const BY_HAND: &str = "by hand";
