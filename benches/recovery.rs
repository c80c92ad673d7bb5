//! Recovery from a SQLite file beside the raw limit, and nothing else in the process once the file is there: for profilers and
//! for trying a change. docs/performance.md says what they showed.

#[path = "engine/account.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod account;
#[path = "engine/annals.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod annals;
#[path = "engine/commits.rs"]
mod commits;
#[path = "engine/contestant.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod contestant;
#[path = "engine/event.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod event;
#[path = "engine/raw.rs"]
mod raw;
#[path = "engine/scenario.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod scenario;
#[path = "engine/stats.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::runtime::Builder;

use crate::annals::{AnnalsNode, JournalChoice, Settings};
use crate::commits::Commits;
use crate::contestant::Contestant;
use crate::raw::Raw;
use crate::scenario::Load;
use crate::stats::{Summary, ratios};

/// Recovers entities as often as asked, Annals and raw in turn, and prints how many events a second that makes.
#[derive(Parser)]
struct Options {
    /// Where the files are: made when they are missing, and kept. Another folder for other numbers of events.
    #[arg(long)]
    folder: PathBuf,
    /// Entities that are recovered.
    #[arg(long, default_value_t = 1_000)]
    entities: u32,
    /// Events of each.
    #[arg(long, default_value_t = 100)]
    events: u32,
    /// How often.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Only this contestant: for profilers.
    #[arg(long, value_parser = ["annals", "raw"])]
    only: Option<String>,
    /// Worker threads of the runtime.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = Builder::new_multi_thread().worker_threads(options.workers).enable_all().build()?;
    let ours = AnnalsNode {
        journal: JournalChoice::Sqlite,
        runtime: Arc::new(runtime),
        commits: Commits::listen()?,
        settings: Settings::default(),
    };
    let contestants: [&dyn Contestant; 2] = [&ours, &Raw];
    let load = Load::new(options.entities, options.events, 1_024);
    std::fs::create_dir_all(&options.folder).context("making the folder")?;
    let missing = |file: &str| !options.folder.join(file).exists();
    for (contestant, missing) in contestants.iter().zip([missing("annals.db"), missing("raw.db")]) {
        if missing {
            contestant.persist(&load, &options.folder, load.in_flight)?;
        }
    }
    let mut rates = [Vec::new(), Vec::new()];
    for run in 0..=options.runs {
        for (contestant, rates) in contestants.iter().zip(&mut rates) {
            if options.only.as_deref().is_some_and(|only| only != contestant.name()) {
                continue;
            }
            let elapsed = contestant.recover(&load, &options.folder)?;
            // The first one warms up.
            if run > 0 {
                rates.push(rate(&load, elapsed));
            }
        }
    }
    for (contestant, rates) in contestants.iter().zip(&rates) {
        if let Some(Summary { median, min, max }) = Summary::of(rates) {
            println!("{:<6} {median:>10.0} events/s ({min:.0} to {max:.0})", contestant.name());
        }
    }
    if let Some(Summary { median, min, max }) = Summary::of(&ratios(&rates[0], &rates[1])) {
        println!("{median:.2} of raw ({min:.2} to {max:.2})");
    }
    Ok(())
}

fn rate(load: &Load, elapsed: Duration) -> f64 {
    f64::from(load.events()) / elapsed.as_secs_f64()
}
