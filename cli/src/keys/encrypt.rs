use annals_journal::encryption::{Encrypter, KeyUsage, ResealedIds};
use annals_migrations::VersionRecords;
use anyhow::bail;

use super::resealing::{IdArgs, Run, RunArgs};
use crate::console::print;
use crate::exit::Exit;
use crate::key_sources::{KeyArgs, NewKeyArgs};
use crate::stores::{JournalArgs, Stores};

/// Seal the events and snapshots that a journal has in the clear.
///
/// Applications go on meanwhile, and every one of them must have the keys: start them with keys first, which seals what they write from then on,
/// and end those without. One without keys that goes on writes in the clear, and what it writes is corrupt. Killed at any moment, this is
/// started again, and goes on. At its end nothing of these ids is read in the clear any more.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    ids: IdArgs,
    #[command(flatten)]
    new_keys: NewKeyArgs,
    /// Begin also when a node seems to run without keys
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLE: &str = "\
Examples:
  annals keys encrypt --journal sqlite://bank.db --keys file:ring.json --all --rate 20000
  annals keys encrypt --journal sqlite://bank.db --keys file:ring.json --all --vacuum

Exit codes: 0 nothing of these ids is in the clear; 1 some could not be done: they are named, and can be read as before; 2 wrong command \
line; 3 it could not be done, or not to its end: start it again";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let ids = args.ids.ids();
    if !args.force {
        // Before the journal has its first key: from then on no node starts without.
        let stores = args.journal.open_existing().await?;
        let checked = nobody_without_keys(&stores).await;
        stores.close().await;
        checked?;
    }
    let run = Run::open(&args.journal, &args.keys, &args.new_keys, args.run).await?;
    let done = encrypt(&run, &ids).await;
    run.close().await;
    done
}

/// Every node says that it runs, and every one with keys that it has them.
async fn nobody_without_keys(stores: &Stores) -> anyhow::Result<()> {
    let table = VersionRecords::new(stores.records.clone()).table().await?;
    let running = table.processes.values().filter(|(_, process)| process.until > table.now);
    let nodes: Vec<_> = running.map(|(_, process)| process.announcement.node()).collect();
    let usage = KeyUsage::read(&*stores.records, |_| ()).await?;
    let keyed = usage.processes.iter().filter(|process| process.until > table.now).count();
    if nodes.len() > keyed {
        bail!(
            "{} nodes run on this journal ({}), and {keyed} of them at most have keys: one without goes on in the clear, and what it writes would be \
             corrupt; start it anew with keys, or end it (one that was killed counts for 30 seconds), or begin all the same with --force",
            nodes.len(),
            nodes.join(", ")
        );
    }
    Ok(())
}

async fn encrypt(run: &Run, ids: &ResealedIds) -> anyhow::Result<Exit> {
    run.must_be_there(ids).await?;
    let encrypter = Encrypter::new(run.journal.clone(), run.snapshots.clone());
    let bar = run.progress(ids);
    let summary = encrypter.encrypt(ids, &run.options(), |now| bar.shows(now)).await?;
    drop(bar);
    let vacuumed = run.vacuum(&summary).await?;
    if run.args.json {
        return run.json(&summary, &[], vacuumed);
    }
    let total = summary.total;
    print(format!(
        "{} of {} ids had something in the clear: {} events and {} snapshots sealed, {} failed",
        total.changed, total.ids, total.events, total.states, total.failed
    ))?;
    run.text(&summary, vacuumed, "what was in the clear")
}
