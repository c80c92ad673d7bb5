use annals_journal::Manifest;
use annals_migrations::VersionRecords;
use serde::Serialize;

use super::hold::manifest;
use crate::console::{print, print_json};
use crate::exit::Exit;
use crate::stores::JournalArgs;

/// End the hold of a manifest: it is written in the highest version that all can read.
///
/// Once a higher version is stored, a build that does not read it does not start any more.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The manifest, as account.withdrawn
    #[arg(value_name = "MANIFEST", value_parser = manifest)]
    manifest: Manifest,
    #[command(flatten)]
    journal: JournalArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  annals schema release account.withdrawn --journal sqlite://bank.db

Exit codes: 0 released; 1 it was not held; 2 wrong command line; 3 the journal cannot be opened";

#[derive(Serialize)]
struct Released {
    manifest: String,
    held_before: Option<u32>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_existing().await?;
    let held_before = VersionRecords::new(stores.records.clone()).release(&args.manifest).await?;
    stores.close().await;
    if args.json {
        print_json(&Released { manifest: args.manifest.to_string(), held_before })?;
    } else {
        match held_before {
            Some(before) => print(format!("{} is released, it was held at version {before}", args.manifest))?,
            None => print(format!("{} was not held", args.manifest))?,
        }
    }
    Ok(if held_before.is_some() { Exit::Well } else { Exit::Found })
}
