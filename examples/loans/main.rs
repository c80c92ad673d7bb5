//! A real process on persistent actors: loan applications at a Dutch bank, imported from an event log.
//!
//! ```text
//! cargo run --release --example loans -- import bpic2012.xes.gz --journal sqlite://loans.db
//! cargo run --release --example loans -- show 173688
//! cargo run --release --example loans -- replay
//! ```
//!
//! Any log in the XES format can be imported (plain or gzip); an activity that a loan application does not have is kept as
//! it is. The log that this was made for is that of the BPI Challenge 2012 (doi 10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f).
//!
//! | file | what |
//! |---|---|
//! | `loan.rs` | the aggregate: state, commands, decisions |
//! | `event.rs`, `offers.rs`, `work_item.rs`, `money.rs` | what can happen to it |
//! | `v1.jsonl`, `schemas.lock` | what the first version stored; what this one stores and reads |
//! | `xes.rs` | reads a log, one case at a time |
//! | `import.rs`, `replay.rs`, `show.rs` | the three commands |

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use annals::prelude::*;
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

mod case_id;
mod event;
mod import;
mod insist;
mod loan;
mod money;
mod offers;
mod replay;
mod show;
mod totals;
mod work_item;
mod xes;

use import::Log;
use loan::Loan;

/// Loan applications as persistent actors.
#[derive(Debug, Parser)]
#[command(name = "loans")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import an event log in the XES format; what is imported already is not imported again.
    Import {
        /// The log, plain or gzip.
        file: PathBuf,
        #[command(flatten)]
        journal: Place,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show what is known about a case.
    Show {
        /// The case, as the log names it.
        case: String,
        #[command(flatten)]
        journal: Place,
    },
    /// Recover every case, and compare with what its events say.
    Replay {
        #[command(flatten)]
        journal: Place,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Change what is stored.
    #[command(subcommand)]
    Migrate(annals_cli::Migrate),
}

/// Where the journal is, and what opens it.
#[derive(Debug, Args)]
struct Place {
    /// The journal, such as sqlite://loans.db.
    #[arg(long = "journal", default_value = "sqlite://loans.db", value_name = "URL")]
    url: String,
    /// Master keys, to seal events and snapshots with: file:ring.json or env:NAME; several times: the first is active.
    #[arg(long, value_name = "SOURCE", env = "ANNALS_KEYS", value_delimiter = ' ')]
    keys: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Import { file, journal, json } => import(&file, &journal, json).await,
        Command::Show { case, journal } => show(&journal, &case).await,
        Command::Replay { journal, json } => replay(&journal, json).await,
        Command::Migrate(what) => match Annals::builder("loans").entity::<Loan>().rewriter() {
            Ok(rewriter) => return annals_cli::migrate(what, rewriter).await,
            Err(error) => Err(error.into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn import(file: &Path, journal: &Place, json: bool) -> anyhow::Result<()> {
    // Before a journal is made for a file that is not there.
    let log = Log::open(file, progress_bar()?)?;
    let node = start(journal).await?;
    let started = Instant::now();
    let imported = log.import(&node).await;
    let took = started.elapsed();
    node.shutdown().await;
    let imported = imported?;
    let totals = imported.totals;
    if let Some(error) = imported.malformed {
        bail!(
            "{}: {error}\n{} cases and {} events before it are imported; correct the file and import it again: \
             nothing is imported twice",
            file.display(),
            totals.cases,
            totals.events,
        );
    }
    if json {
        return print(&(totals.to_json(took)? + "\n"));
    }
    let speed = totals.per_second(took);
    let known = totals.events - imported.new.min(totals.events);
    print(&format!(
        "{totals}\nevents/s   {speed:>9}\n\n{} events are new, {known} were imported before\n",
        imported.new
    ))
}

async fn show(journal: &Place, case: &str) -> anyhow::Result<()> {
    check_exists(journal)?;
    print(&show::show(&journal.url, &journal.keys, case).await?)
}

async fn replay(journal: &Place, json: bool) -> anyhow::Result<()> {
    check_exists(journal)?;
    let node = start(journal).await?;
    let replay = replay::replay(&node).await;
    node.shutdown().await;
    let replay::Replay { totals, took, different } = replay?;
    if let Some(case) = different.first() {
        bail!(
            "{} of {} cases are not what their events make, the first is {case:?}",
            different.len(),
            totals.cases
        );
    }
    if json {
        return print(&(totals.to_json(took)? + "\n"));
    }
    let speed = totals.per_second(took);
    print(&format!("{totals}\nevents/s   {speed:>9}\n\nevery recovered case is what its events make\n"))
}

async fn start(journal: &Place) -> anyhow::Result<Node> {
    let loans = Kind::<Loan>::new().passivate_after(Duration::from_secs(10));
    let mut node = Annals::builder("loans").journal(&journal.url);
    for source in &journal.keys {
        node = node.keys(source);
    }
    node.kind(loans).start().await.with_context(|| format!("cannot open the journal {}", journal.url))
}

/// A journal that is only read should not be made by looking for it.
fn check_exists(journal: &Place) -> anyhow::Result<()> {
    if let Some(rest) = journal.url.strip_prefix("sqlite://") {
        let path = rest.split('?').next().unwrap_or(rest);
        if !path.is_empty() && !Path::new(path).exists() {
            bail!("there is no journal {path}: import a log first, or name another one with --journal");
        }
    }
    Ok(())
}

/// Draws nothing unless standard error is a terminal.
fn progress_bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed} (about {eta} left)")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// Prints; that nobody reads further (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use annals::testing::SchemaLock;

    use crate::loan::Loan;

    #[test]
    fn what_older_builds_stored_is_read() {
        SchemaLock::at("examples/loans/schemas.lock").entity::<Loan>().check();
    }
}
