use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::annals::{JournalChoice, Settings};
use crate::bench::{Bench, folder, progress, rate};
use crate::contestant::{Contestant, Persisted};
use crate::raw::Raw;
use crate::scenario::{Load, Memory, Scenario, Work};
use crate::table::Row;

/// Runs a scenario: a warm-up, then all contestants in turn, again and again.
pub(crate) fn rows(bench: &Bench, scenario: &Scenario) -> Result<Vec<Row>> {
    let ours = bench.annals(JournalChoice::Sqlite, Settings::default());
    let ours_in_memory = bench.annals(JournalChoice::Memory, Settings::default());
    // The order matters: see `turn`.
    let mut contestants: Vec<&dyn Contestant> = vec![&ours, &Raw];
    if matches!(scenario.memory, Memory::Target(_)) {
        contestants.push(&ours_in_memory);
    }
    Ok(samples(bench, scenario, &contestants)?.rows(scenario))
}

/// What each contestant does, in turn.
pub(crate) fn samples(
    bench: &Bench,
    scenario: &Scenario,
    contestants: &[&dyn Contestant],
) -> Result<Samples> {
    match scenario.work {
        Work::Commands => commands(bench, scenario, contestants),
        Work::Recovery => recoveries(bench, scenario, contestants),
    }
}

fn commands(bench: &Bench, scenario: &Scenario, contestants: &[&dyn Contestant]) -> Result<Samples> {
    let mut samples = Samples::default();
    // The warm-up also tells how much this disk does in the time that a run may take.
    let warm_up = turn(scenario, &scenario.quick, 0, contestants)?;
    let slowest = warm_up
        .iter()
        .map(|persisted| rate(scenario.quick.events(), persisted.elapsed))
        .fold(f64::INFINITY, f64::min);
    let load = &bench.choose(&scenario.load, &scenario.quick).within(LONGEST_RUN, slowest, &scenario.quick);
    println!("  {} events a run", load.events());
    for run in 1..=bench.runs {
        let turn = turn(scenario, load, run, contestants)?;
        for (contestant, persisted) in contestants.iter().zip(&turn) {
            samples.persisted(scenario, contestant.name(), load, persisted);
        }
    }
    Ok(samples)
}

/// Lets each contestant persist a load once.
fn turn(
    scenario: &Scenario,
    load: &Load,
    run: usize,
    contestants: &[&dyn Contestant],
) -> Result<Vec<Persisted>> {
    // Whoever comes first decides how many rows a commit has; the raw limit comes after and does the same.
    let mut rows_a_commit = None;
    let (mut turn, mut folders) = (Vec::new(), Vec::new());
    for contestant in contestants {
        let folder = folder()?;
        let asked = rows_a_commit.unwrap_or(load.in_flight);
        let persisted = contestant
            .persist(load, folder.path(), asked)
            .with_context(|| format!("{} of {} did not come to its end", scenario.name, contestant.name()))?;
        rows_a_commit = rows_a_commit.or(persisted.rounded_rows_a_commit(load));
        let speed = rate(load.events(), persisted.elapsed);
        progress(scenario.name, contestant.name(), run, speed, "events/s");
        turn.push(persisted);
        // Deleted after the turn, so that nobody's fsyncs carry what another left behind.
        folders.push(folder);
    }
    Ok(turn)
}

fn recoveries(bench: &Bench, scenario: &Scenario, contestants: &[&dyn Contestant]) -> Result<Samples> {
    let mut samples = Samples::default();
    let load = bench.choose(&scenario.load, &scenario.quick);
    let folders = contestants
        .iter()
        .map(|contestant| {
            let folder = folder()?;
            contestant.persist(load, folder.path(), load.in_flight).with_context(|| {
                format!("{} could not store what {} recovers", contestant.name(), scenario.name)
            })?;
            Ok(folder)
        })
        .collect::<Result<Vec<TempDir>>>()?;
    for run in bench.turns() {
        for (contestant, folder) in contestants.iter().zip(&folders) {
            let elapsed = contestant.recover(load, folder.path()).with_context(|| {
                format!("{} of {} did not come to its end", scenario.name, contestant.name())
            })?;
            let speed = rate(load.events(), elapsed);
            progress(scenario.name, contestant.name(), run, speed, "events/s");
            if run > 0 {
                samples.add(contestant.name(), Unit::PerSecond, speed);
            }
        }
    }
    Ok(samples)
}

/// What was measured, in the order of the runs, by contestant and unit.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<(&'static str, Unit), Vec<f64>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    PerSecond,
    Megabytes,
    P50,
    P99,
    P999,
    RowsACommit,
}

impl Unit {
    const ALL: [Self; 6] =
        [Self::PerSecond, Self::Megabytes, Self::P50, Self::P99, Self::P999, Self::RowsACommit];

    /// What a row's name has after the scenario's, and its unit.
    const fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::PerSecond => ("", "events/s"),
            Self::Megabytes => (" bytes", "MB/s"),
            Self::P50 => (" p50", "us"),
            Self::P99 => (" p99", "us"),
            Self::P999 => (" p99.9", "us"),
            Self::RowsACommit => (" commit", "events"),
        }
    }
}

impl Samples {
    fn add(&mut self, contestant: &'static str, unit: Unit, value: f64) {
        self.0.entry((contestant, unit)).or_default().push(value);
    }

    fn persisted(
        &mut self,
        scenario: &Scenario,
        contestant: &'static str,
        load: &Load,
        persisted: &Persisted,
    ) {
        let speed = rate(load.events(), persisted.elapsed);
        self.add(contestant, Unit::PerSecond, speed);
        if scenario.bytes_count {
            #[allow(clippy::cast_precision_loss, reason = "of a payload")]
            self.add(contestant, Unit::Megabytes, speed * load.bytes as f64 / 1e6);
        }
        for (unit, quantile) in [(Unit::P50, 0.5), (Unit::P99, 0.99), (Unit::P999, 0.999)] {
            self.add(contestant, unit, micros(&persisted.latencies, quantile));
        }
        if let Some(rows) = persisted.rows_a_commit(load) {
            self.add(contestant, Unit::RowsACommit, rows);
        }
    }

    pub(crate) fn rows(&self, scenario: &Scenario) -> Vec<Row> {
        let mut rows = Vec::new();
        for unit in Unit::ALL {
            let (part, unit_name) = unit.label();
            let name = format!("{}{part}", scenario.name);
            let ours = self.of(OURS, unit);
            let Some(row) = Row::of(name, unit_name, ours) else { continue };
            let row = row.beside(ours, self.of(LIMIT, unit));
            rows.push(match unit {
                Unit::PerSecond => row.at_least(scenario.target),
                Unit::P50 | Unit::P99 | Unit::P999 => row.at_most(None),
                Unit::Megabytes | Unit::RowsACommit => row,
            });
        }
        let in_memory = match scenario.memory {
            Memory::No => None,
            Memory::Target(target) => target,
        };
        for (contestant, target) in [(OURS_IN_MEMORY, in_memory), (LIMIT, None)] {
            let name = format!("{} {contestant}", scenario.name);
            let row = Row::of(name, Unit::PerSecond.label().1, self.of(contestant, Unit::PerSecond));
            rows.extend(row.map(|row| row.at_least(target)));
        }
        rows
    }

    /// Events a second of each run, in their order.
    pub(crate) fn speeds(&self, contestant: &'static str) -> &[f64] {
        self.of(contestant, Unit::PerSecond)
    }

    /// The values of the runs, in their order.
    fn of(&self, contestant: &'static str, unit: Unit) -> &[f64] {
        self.0.get(&(contestant, unit)).map_or(&[], Vec::as_slice)
    }
}

/// A quantile of nanoseconds, in microseconds.
pub(crate) fn micros(nanos: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_nanos(nanos.value_at_quantile(quantile)).as_secs_f64() * 1e6
}

/// On a disk that is slow to sync, a run has fewer events instead of taking longer.
const LONGEST_RUN: Duration = Duration::from_secs(10);
const OURS: &str = "annals";
const OURS_IN_MEMORY: &str = "memory";
const LIMIT: &str = "raw";
