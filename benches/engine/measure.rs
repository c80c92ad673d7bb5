use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::annals::{AnnalsNode, JournalChoice};
use crate::commits::Commits;
use crate::contestant::{Contestant, Persisted};
use crate::raw::Raw;
use crate::scenario::{Load, Scenario, Work};
use crate::stats::Summary;
use crate::table::Row;

/// The contestants and how often they run.
pub(crate) struct Measure {
    ours: AnnalsNode,
    ours_in_memory: AnnalsNode,
    quick: bool,
}

impl Measure {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let runtime = Arc::new(runtime);
        let commits = Commits::listen()?;
        let node = |journal| AnnalsNode { journal, runtime: Arc::clone(&runtime), commits: commits.clone() };
        Ok(Self { ours: node(JournalChoice::Sqlite), ours_in_memory: node(JournalChoice::Memory), quick })
    }

    /// Runs a scenario: a warm-up, then all contestants in turn, again and again.
    pub(crate) fn rows(&self, scenario: &Scenario) -> Result<Vec<Row>> {
        let (load, runs) = if self.quick { (&scenario.quick, QUICK_RUNS) } else { (&scenario.load, RUNS) };
        println!("{}: {} ({} events at most, {runs} runs)", scenario.name, scenario.about, load.events());
        // The order matters: see `commands`.
        let samples = match scenario.work {
            Work::Commands => commands(scenario, load, runs, &[&self.ours, &Raw, &self.ours_in_memory])?,
            Work::Recovery => recoveries(scenario, load, runs, &[&self.ours, &Raw])?,
        };
        Ok(samples.rows(scenario))
    }
}

fn commands(
    scenario: &Scenario,
    load: &Load,
    runs: usize,
    contestants: &[&dyn Contestant],
) -> Result<Samples> {
    let mut samples = Samples::default();
    // The warm-up also tells how much this disk does in the time that a run may take.
    let warm_up = turn(scenario, &scenario.quick, "warm-up", contestants)?;
    let rates = warm_up.iter().map(|persisted| rate(&scenario.quick, persisted.elapsed));
    let load = &load.within(LONGEST_RUN, rates.fold(f64::INFINITY, f64::min), &scenario.quick);
    println!("  {} events a run", load.events());
    for run in 1..=runs {
        let turn = turn(scenario, load, &format!("run {run} of {runs}"), contestants)?;
        for (contestant, persisted) in contestants.iter().zip(&turn) {
            samples.persisted(contestant.name(), load, persisted);
        }
    }
    Ok(samples)
}

/// Lets each contestant persist a load once.
fn turn(
    scenario: &Scenario,
    load: &Load,
    which: &str,
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
        rows_a_commit = rows_a_commit.or(rounded_rows_a_commit(load, &persisted));
        progress(scenario, contestant.name(), which, rate(load, persisted.elapsed));
        turn.push(persisted);
        // Deleted after the turn, so that nobody's fsyncs carry what another left behind.
        folders.push(folder);
    }
    Ok(turn)
}

fn recoveries(
    scenario: &Scenario,
    load: &Load,
    runs: usize,
    contestants: &[&dyn Contestant],
) -> Result<Samples> {
    let mut samples = Samples::default();
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
    for run in 0..=runs {
        for (contestant, folder) in contestants.iter().zip(&folders) {
            let elapsed = contestant.recover(load, folder.path()).with_context(|| {
                format!("{} of {} did not come to its end", scenario.name, contestant.name())
            })?;
            let which = if run == 0 { "warm-up".to_owned() } else { format!("run {run} of {runs}") };
            progress(scenario, contestant.name(), &which, rate(load, elapsed));
            if run > 0 {
                samples.add(contestant.name(), Unit::PerSecond, rate(load, elapsed));
            }
        }
    }
    Ok(samples)
}

/// What was measured, in the order of the runs, by contestant and unit.
#[derive(Default)]
struct Samples(BTreeMap<(&'static str, Unit), Vec<f64>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    PerSecond,
    P50,
    P99,
    P999,
    RowsACommit,
}

impl Unit {
    const ALL: [Self; 5] = [Self::PerSecond, Self::P50, Self::P99, Self::P999, Self::RowsACommit];

    /// What a row's name has after the scenario's, and its unit.
    const fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::PerSecond => ("", "events/s"),
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

    fn persisted(&mut self, contestant: &'static str, load: &Load, persisted: &Persisted) {
        self.add(contestant, Unit::PerSecond, rate(load, persisted.elapsed));
        for (unit, quantile) in [(Unit::P50, 0.5), (Unit::P99, 0.99), (Unit::P999, 0.999)] {
            let nanos = persisted.latencies.value_at_quantile(quantile);
            self.add(contestant, unit, Duration::from_nanos(nanos).as_secs_f64() * 1e6);
        }
        if let Some(rows) = rows_a_commit(load, persisted) {
            self.add(contestant, Unit::RowsACommit, rows);
        }
    }

    fn rows(&self, scenario: &Scenario) -> Vec<Row> {
        let mut rows = Vec::new();
        for unit in Unit::ALL {
            let limit = self.of(LIMIT, unit);
            let (part, unit_name) = unit.label();
            if let Some(summary) = Summary::of(self.of(OURS, unit)) {
                let mut row = Row::new(format!("{}{part}", scenario.name), unit_name, summary);
                row.limit = Summary::of(limit).map(|limit| limit.median);
                row.ratio = Summary::of_ratios(self.of(OURS, unit), limit).map(|ratio| ratio.median);
                row.target = (unit == Unit::PerSecond).then_some(scenario.target);
                rows.push(row);
            }
        }
        for (contestant, target) in [(OURS_IN_MEMORY, scenario.memory_target), (LIMIT, None)] {
            if let Some(summary) = Summary::of(self.of(contestant, Unit::PerSecond)) {
                let name = format!("{} {contestant}", scenario.name);
                rows.push(Row { target, ..Row::new(name, Unit::PerSecond.label().1, summary) });
            }
        }
        rows
    }

    /// The values of the runs, in their order.
    fn of(&self, contestant: &'static str, unit: Unit) -> &[f64] {
        self.0.get(&(contestant, unit)).map_or(&[], Vec::as_slice)
    }
}

/// A folder beside the build, so that it is on a disk and not in memory; gone when it is dropped.
fn folder() -> Result<TempDir> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(parent).context("making a folder for the files")?;
    // What was deleted before is on disk before the next clock starts.
    File::open(parent).and_then(|parent| parent.sync_all()).context("syncing the folder of folders")?;
    Ok(folder)
}

fn progress(scenario: &Scenario, contestant: &str, which: &str, rate: f64) {
    eprintln!("  … {} {contestant}, {which}: {rate:.0} events/s", scenario.name);
}

fn rate(load: &Load, elapsed: Duration) -> f64 {
    f64::from(load.events()) / elapsed.as_secs_f64()
}

fn rows_a_commit(load: &Load, persisted: &Persisted) -> Option<f64> {
    persisted
        .commits
        .filter(|commits| *commits > 0)
        .map(|commits| f64::from(load.events()) / f64::from(commits))
}

fn rounded_rows_a_commit(load: &Load, persisted: &Persisted) -> Option<u32> {
    let commits = persisted.commits.filter(|commits| *commits > 0)?;
    Some(((load.events() + commits / 2) / commits).max(1))
}

/// On a disk that is slow to sync, a run has fewer events instead of taking longer.
const LONGEST_RUN: Duration = Duration::from_secs(10);
const RUNS: usize = 5;
const QUICK_RUNS: usize = 2;
const OURS: &str = "annals";
const OURS_IN_MEMORY: &str = "memory";
const LIMIT: &str = "raw";
/// Of the runtime; the same on every machine, so that runs compare.
const WORKERS: usize = 2;
