use std::time::Duration;

use annals_journal::Manifest;
use annals_migrations::{VersionRecords, VersionTable, Watermark};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::console::{print, print_json};
use crate::exit::Exit;
use crate::stores::JournalArgs;

/// Keep a manifest from being written above a version, until it is released.
///
/// Nodes that run follow at their next renewal, within a third of their lease (10 s unless they say otherwise); nodes that start, at once. What
/// is held is written in an older form, or refused when the build has no downcaster. Version 0: it is not written at all.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The manifest, as account.withdrawn; of a state, account.state
    #[arg(value_name = "MANIFEST", value_parser = manifest)]
    manifest: Manifest,
    /// The highest version that is written
    #[arg(value_name = "VERSION")]
    version: u32,
    #[command(flatten)]
    journal: JournalArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  annals schema hold account.withdrawn 2 --journal sqlite://bank.db
  annals schema release account.withdrawn --journal sqlite://bank.db

Exit codes: 0 held; 1 held, and a higher version is stored already, so that going back needs a rewrite; 2 wrong command line; 3 the
journal cannot be opened";

/// What is held, and what was too late.
#[derive(Serialize)]
struct Held {
    manifest: String,
    version: u32,
    held_before: Option<u32>,
    /// Versions above that are stored, ascending.
    stored_above: Vec<u32>,
    /// A version above that a process is about to store.
    raising: Option<u32>,
    /// The names of the processes that are registered.
    processes: Vec<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_existing().await?;
    let records = VersionRecords::new(stores.records.clone());
    let held_before = records.hold(&args.manifest, args.version).await?;
    // Who is about to write a higher version looks at the holds before it does.
    let limit = Instant::now() + RAISER;
    let table = loop {
        let table = records.table().await?;
        if raising(&table, &args).is_none() || Instant::now() > limit {
            break table;
        }
        sleep(LOOK_AGAIN).await;
    };
    let stored = watermark(&table, &args).into_iter().flat_map(|watermark| watermark.stored.iter().copied());
    let held = Held {
        manifest: args.manifest.to_string(),
        version: args.version,
        held_before,
        stored_above: stored.filter(|version| *version > args.version).collect(),
        raising: raising(&table, &args),
        processes: table
            .processes
            .values()
            .map(|(_, process)| process.announcement.node().to_owned())
            .collect(),
    };
    stores.close().await;
    let exit = if held.stored_above.is_empty() && held.raising.is_none() { Exit::Well } else { Exit::Found };
    if args.json {
        print_json(&held)?;
    } else {
        print(sentences(&held).trim_end())?;
    }
    Ok(exit)
}

fn sentences(held: &Held) -> String {
    let Held { manifest, version, .. } = held;
    let before = match held.held_before {
        Some(before) if before != *version => format!(", before at version {before}"),
        _ => String::new(),
    };
    let mut text = format!("{manifest} is held at version {version}{before}\n");
    if !held.processes.is_empty() {
        text += &format!("processes that follow at their next renewal: {}\n", held.processes.join(", "));
    }
    let above: Vec<String> = held.stored_above.iter().map(ToString::to_string).collect();
    if !above.is_empty() {
        let above = above.join(", ");
        text += &format!(
            "stored already: version {above}; a build that does not read it needs `annals migrate rewrite --to LOCKFILE`\n"
        );
    }
    if let Some(raising) = held.raising {
        text += &format!("a process was about to store version {raising}: look again\n");
    }
    text
}

fn watermark<'a>(table: &'a VersionTable, args: &Args) -> Option<&'a Watermark> {
    table.watermarks.get(&args.manifest).map(|(_, watermark)| watermark)
}

fn raising(table: &VersionTable, args: &Args) -> Option<u32> {
    let (version, _) = watermark(table, args)?.raising?;
    (version > args.version).then_some(version)
}

pub(super) fn manifest(text: &str) -> Result<Manifest, String> {
    Manifest::new(text).map_err(|error| error.to_string())
}

/// A raiser needs a few small commits.
const RAISER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
