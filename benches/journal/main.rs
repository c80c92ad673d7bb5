//! The journal alone, without actors: `GroupCommit` around a `SqliteJournal` beside what SQLite does with the same bytes, and the
//! same behind keys.
//!
//! `cargo bench --package annals --bench journal` prints a line a scenario; `-- --help` says what else it does. The
//! scenarios and the limit are those of `benches/engine`; docs/performance.md says how to read the result.

#[path = "../engine/commits.rs"]
mod commits;
#[path = "../engine/contestant.rs"]
#[allow(dead_code, reason = "some of it is for the engine")]
mod contestant;
#[path = "../engine/event.rs"]
mod event;
mod journal;
#[path = "../engine/raw.rs"]
mod raw;
#[path = "../engine/scenario.rs"]
#[allow(dead_code, reason = "the targets are for the engine")]
mod scenario;
#[path = "../engine/stats.rs"]
#[allow(dead_code, reason = "noise is for the engine")]
mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::contestant::Contestant;
use crate::journal::{Alone, Backend};
use crate::raw::Raw;
use crate::scenario::{H, Load, P1, P2, R, R2, Scenario, Work};
use crate::stats::{Summary, ratios};

/// Measures the journal without actors, beside the raw limits.
#[derive(Parser)]
struct Options {
    /// What to measure; all when none is named.
    #[arg(value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name)))]
    names: Vec<String>,
    /// Less work, to see that it runs.
    #[arg(long)]
    quick: bool,
    /// How many runs are counted.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only this contestant, and no warm-up: for profilers and for counting system calls.
    #[arg(long, value_parser = ["sqlite", "sealed", "memory", "raw"])]
    only: Option<String>,
    /// Where the files are written; default: beside the build.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Rows a commit of the limit, where it is measured alone.
    #[arg(long, default_value_t = 128)]
    rows: u32,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let runtime = Arc::new(runtime);
    let commits = commits::Commits::listen()?;
    let alone = |backend| Alone { backend, runtime: Arc::clone(&runtime), commits: commits.clone() };
    let (sqlite, sealed, memory) = (alone(Backend::Sqlite), alone(Backend::Sealed), alone(Backend::Memory));
    // The order matters: the limit commits as many rows at a time as the journal did before.
    let all: [&dyn Contestant; 4] = [&sqlite, &Raw, &memory, &sealed];
    let contestants: Vec<&dyn Contestant> = all
        .into_iter()
        .filter(|contestant| options.only.as_deref().is_none_or(|only| only == contestant.name()))
        .collect();
    for scenario in SCENARIOS {
        if options.names.is_empty() || options.names.iter().any(|name| name == scenario.name) {
            measure(&options, scenario, &contestants)?;
        }
    }
    Ok(())
}

fn measure(options: &Options, scenario: &Scenario, contestants: &[&dyn Contestant]) -> Result<()> {
    let load = if options.quick { &scenario.quick } else { &scenario.load };
    let warm_up = usize::from(options.only.is_none());
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    let mut latencies: Vec<Histogram<u64>> = Vec::new();
    for _ in contestants {
        latencies.push(Histogram::new(3)?);
    }
    let mut rows_a_commit = options.rows.min(load.in_flight);
    let stored = match scenario.work {
        Work::Commands => Vec::new(),
        Work::Recovery => contestants
            .iter()
            .map(|contestant| {
                let folder = folder(options)?;
                contestant.persist(load, folder.path(), load.in_flight)?;
                Ok(folder)
            })
            .collect::<Result<Vec<_>>>()?,
    };
    for run in 0..warm_up + options.runs {
        let mut folders = Vec::new();
        for (index, contestant) in contestants.iter().enumerate() {
            let elapsed = match scenario.work {
                Work::Commands => {
                    // Deleted after the turn, so that nobody's fsyncs carry what another left behind.
                    let folder = folder(options)?;
                    let persisted = contestant.persist(load, folder.path(), rows_a_commit)?;
                    if contestant.name() == Backend::Sqlite.name() {
                        rows_a_commit = rounded(load, persisted.commits.unwrap_or(1));
                    }
                    folders.push(folder);
                    if run >= warm_up {
                        latencies[index].add(&persisted.latencies)?;
                    }
                    persisted.elapsed
                }
                Work::Recovery => contestant.recover(load, stored[index].path())?,
            };
            if run >= warm_up {
                rates[index].push(rate(load, elapsed));
            }
        }
    }
    print(scenario, contestants, &rates, &latencies);
    if scenario.work == Work::Commands {
        println!("{:<3} {rows_a_commit} events a commit", scenario.name);
    }
    Ok(())
}

fn print(
    scenario: &Scenario,
    contestants: &[&dyn Contestant],
    rates: &[Vec<f64>],
    latencies: &[Histogram<u64>],
) {
    let place = |name| contestants.iter().position(|contestant| contestant.name() == name);
    let (limit, plain) = (place(LIMIT), place(Backend::Sqlite.name()));
    for ((contestant, values), latencies) in contestants.iter().zip(rates).zip(latencies) {
        let Some(Summary { median, min, max }) = Summary::of(values) else { continue };
        let ratio = limit.and_then(|limit| Summary::of(&ratios(values, &rates[limit])));
        let ratio = ratio.map_or_else(String::new, |ratio| {
            format!("{:.2} of raw ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
        });
        let of_plain = plain.filter(|_| contestant.name() == Backend::Sealed.name());
        let ratio = match of_plain.and_then(|plain| Summary::of(&ratios(values, &rates[plain]))) {
            None => ratio,
            Some(of) => format!("{ratio}, {:.2} of sqlite ({:.2} to {:.2})", of.median, of.min, of.max),
        };
        let [p50, p99] = [0.5, 0.99].map(|quantile| latencies.value_at_quantile(quantile) / 1_000);
        println!(
            "{:<3} {:<7} {median:>10.0} events/s ({min:.0} to {max:.0})  p50 {p50} us, p99 {p99} us  {ratio}",
            scenario.name,
            contestant.name()
        );
    }
}

/// On a disk, not in memory, unless told otherwise; gone when it is dropped.
fn folder(options: &Options) -> Result<TempDir> {
    let parent = options.folder.as_deref().unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let folder = tempfile::tempdir_in(parent).context("making a folder for the files")?;
    // What was deleted before is on disk before the next clock starts.
    std::fs::File::open(parent).and_then(|parent| parent.sync_all()).context("syncing the folder")?;
    Ok(folder)
}

fn rounded(load: &Load, commits: u32) -> u32 {
    let commits = commits.max(1);
    ((load.events() + commits / 2) / commits).max(1)
}

fn rate(load: &Load, elapsed: Duration) -> f64 {
    f64::from(load.events()) / elapsed.as_secs_f64()
}

/// Of those of the engine.
const SCENARIOS: &[Scenario] = &[P1, P2, H, R, R2];
const LIMIT: &str = "raw";
/// Of the runtime, as for the engine.
const WORKERS: usize = 2;
