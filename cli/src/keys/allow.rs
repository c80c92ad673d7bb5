use annals_journal::PersistenceId;
use annals_journal::encryption::{Eraser, KeyScope};

use crate::console::{print, print_json};
use crate::exit::Exit;
use crate::stores::JournalArgs;

/// Allow a new life under ids that were erased.
///
/// Their events go on from the old highest number, under a fresh data key, and their state begins empty. What was erased stays so. No master
/// key is needed. An application that runs takes it in within half a minute.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Which ids, such as 'account|alice'
    #[arg(value_name = "ID", required_unless_present = "scope")]
    ids: Vec<PersistenceId>,
    /// This scope, and all of its ids
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    scope: Option<KeyScope>,
    #[command(flatten)]
    journal: JournalArgs,
    /// Print a JSON object for each id
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals keys allow 'account|alice' --journal sqlite://bank.db
  annals keys allow --scope tenant-7 --journal sqlite://bank.db

Exit codes: 0 all of them may be used; 2 wrong command line; 3 it could not be done: an id never had a data key, say";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_existing().await?;
    let eraser = Eraser::new(stores.stored_journal().clone(), stores.records.clone());
    let done = allow(&args, &eraser).await;
    stores.close().await;
    done
}

async fn allow(args: &Args, eraser: &Eraser) -> anyhow::Result<Exit> {
    if let Some(scope) = &args.scope {
        let allowed = eraser.allow_scope(scope).await?;
        if args.json {
            print_json(&serde_json::json!({"scope": scope.as_str(), "allowed": allowed}))?;
        } else {
            print(format!("scope {scope}: may be used; a new life may begin under {allowed} ids of it"))?;
        }
    }
    for id in &args.ids {
        let allowed = eraser.allow_new_life(id).await?;
        match (args.json, allowed) {
            (true, _) => print_json(&serde_json::json!({"persistence_id": id.as_str(), "allowed": allowed}))?,
            (false, true) => print(format!("{id}: a new life may begin"))?,
            (false, false) => print(format!("{id}: is not erased"))?,
        }
    }
    Ok(Exit::Well)
}
