use annals_journal::Timestamp;
use annals_journal::encryption::{Rekeyer, ResealedIds};

use super::resealing::{IdArgs, Run, RunArgs};
use crate::console::print;
use crate::exit::Exit;
use crate::key_sources::{KeyArgs, NewKeyArgs};
use crate::stores::JournalArgs;

/// Give ids new data keys after one has leaked, and seal their events and snapshots again.
///
/// Applications go on meanwhile. The old key is destroyed when nothing is sealed under it any more. The name of the incident is kept with the
/// new keys: begun again with the same name, after a kill or an error, it goes on where it was; with another name, or none, every key
/// becomes another again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    ids: IdArgs,
    /// Why, in a word: what was rekeyed for it is left alone; by default a new one is made up, and printed
    #[arg(long, value_name = "NAME", value_parser = incident)]
    incident: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLE: &str = "\
Examples:
  annals keys rekey --journal sqlite://bank.db --keys file:ring.json 'account|alice'
  annals keys rekey --journal sqlite://bank.db --keys file:ring.json --all --incident 2026-11-dump --rate 5000 --vacuum

Exit codes: 0 every id has a new key, and nothing is left under an old one; 1 some could not be done: they are named, and can be read as \
before; 2 wrong command line; 3 it could not be done, or not to its end: start it again with the same --incident";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let incident = args.incident.unwrap_or_else(made_up);
    let ids = args.ids.ids();
    let run = Run::open(&args.journal, &args.keys, &NewKeyArgs::default(), args.run).await?;
    let done = rekey(&run, &incident, &ids).await;
    run.close().await;
    done
}

async fn rekey(run: &Run, incident: &str, ids: &ResealedIds) -> anyhow::Result<Exit> {
    run.must_be_there(ids).await?;
    let rekeyer = Rekeyer::new(run.journal.clone(), run.snapshots.clone());
    let bar = run.progress(ids);
    // Before anything is done: whoever kills it can go on.
    bar.say(&format!("incident {incident}; if this is interrupted: --incident {incident}"));
    let summary = rekeyer.rekey(incident, ids, &run.options(), |now| bar.shows(now)).await?;
    drop(bar);
    let vacuumed = run.vacuum(&summary).await?;
    if run.args.json {
        return run.json(&summary, &[("incident", incident.into())], vacuumed);
    }
    let total = summary.total;
    print(format!(
        "{} of {} ids have a new key, {} events and {} snapshots sealed again, {} failed",
        total.changed, total.ids, total.events, total.states, total.failed
    ))?;
    run.text(&summary, vacuumed, "what was sealed under the old keys")
}

fn made_up() -> String {
    format!("{}-{:08x}", Timestamp::now(), rand::random::<u32>())
}

fn incident(text: &str) -> Result<String, String> {
    let most = Rekeyer::MAX_INCIDENT_BYTES;
    let fits = (1..=most).contains(&text.len()) && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("it must have 1 to {most} bytes in one line")) }
}
