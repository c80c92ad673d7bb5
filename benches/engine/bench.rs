use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::annals::{AnnalsNode, JournalChoice, Settings};
use crate::commits::Commits;
use crate::work::WORKERS;

/// What every suite needs: who takes part, and how often.
pub(crate) struct Bench {
    pub(crate) runtime: Arc<Runtime>,
    commits: Commits,
    /// Less work, fewer runs.
    pub(crate) quick: bool,
    pub(crate) runs: usize,
    /// Programs and files that not every machine has.
    pub(crate) extras: Extras,
}

/// Programs and files that not every machine has.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Extras {
    /// The program built from benches/peers.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) peers: Option<PathBuf>,
    /// The example `loans`, built.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) loans: Option<PathBuf>,
    /// A log for it to import.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn new(quick: bool, extras: Extras) -> Result<Self> {
        Ok(Self {
            runtime: Arc::new(Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?),
            commits: Commits::listen()?,
            quick,
            runs: if quick { QUICK_RUNS } else { RUNS },
            extras,
        })
    }

    /// Annals, to be run with these settings.
    pub(crate) fn annals(&self, journal: JournalChoice, settings: Settings) -> AnnalsNode {
        AnnalsNode { journal, runtime: Arc::clone(&self.runtime), commits: self.commits.clone(), settings }
    }

    /// One or the other.
    pub(crate) fn choose<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The number of each run; 0 is the warm-up, which is not kept.
    pub(crate) fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        0..=self.runs
    }
}

/// A folder beside the build, so that it is on a disk and not in memory; gone when it is dropped.
pub(crate) fn folder() -> Result<TempDir> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(parent).context("making a folder for the files")?;
    // What was deleted before is on disk before the next clock starts.
    File::open(parent).and_then(|parent| parent.sync_all()).context("syncing the folder of folders")?;
    Ok(folder)
}

/// Tells on standard error what was measured just now.
pub(crate) fn progress(suite: &str, contestant: &str, run: usize, value: f64, unit: &str) {
    let which = if run == 0 { "warm-up".to_owned() } else { format!("run {run}") };
    eprintln!("  … {suite} {contestant}, {which}: {value:.0} {unit}");
}

/// How many a second.
pub(crate) fn rate(count: u32, elapsed: Duration) -> f64 {
    f64::from(count) / elapsed.as_secs_f64()
}

const RUNS: usize = 5;
const QUICK_RUNS: usize = 2;
