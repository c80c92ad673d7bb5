mod anchor;
mod anchors;
mod entity;
mod events;
mod finding;
mod orphans;
mod report;
mod snapshots;
mod whole;

use std::path::PathBuf;

use annals_journal::{Epoch, is_encrypted};
use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use self::anchor::{AnchorKey, Entry};
use self::anchors::Anchors;
use self::entity::{Checked, Strictness};
use self::finding::{Finding, Kind};
use self::orphans::Orphans;
use self::report::{Report, Sealed};
use crate::console::Progress;
use crate::exit::Exit;
use crate::ids::{Selection, at_a_time};
use crate::stores::{KeyedJournalArgs, Stores};

/// Check a journal, and report everything that is wrong with it.
///
/// Every event and snapshot is read: gaps, events and snapshots that cannot be read, events of an older writer behind a newer one's,
/// snapshots ahead of the journal or of another history, deleted events that no snapshot stands for, an epoch counter behind the
/// events, damage of the SQLite file. Of a sealed journal: events and snapshots whose data key is not there, data keys of ids that have nothing,
/// how much is in the clear; and with --keys every seal, every chain, and where each history ends. A finding has the persistence id and the number, and stops nothing. The journal may be in use;
/// nothing in it is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: Selection,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    /// How many ids to check at a time; default: as many as there are cores
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Compare with what the journal held when this anchor was written: finds ids that went back
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ids", "prefix"])]
    anchor: Option<PathBuf>,
    /// Write an anchor, to be kept where the journal and its backups are not; not written when something is found
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ids", "prefix"])]
    write_anchor: Option<PathBuf>,
    /// Report what is in the clear, too: where everything was sealed from the beginning, or is to be by now
    #[arg(long)]
    refuse_plaintext: bool,
    /// Print JSON lines: an object for each finding, then one with the totals
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals verify --journal sqlite://bank.db
  annals verify --journal sqlite://bank.db --prefix 'account|' --json | jq 'select(.finding)'
  annals verify --journal sqlite://bank.db --keys file:ring.json --refuse-plaintext
  annals verify --journal sqlite://bank.db --anchor monday.anchor --write-anchor tuesday.anchor

Exit codes: 0 nothing is wrong; 1 something is, and was named; 2 wrong command line; 3 the journal cannot be opened, or has no such id";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (stores, lacks) = args.journal.open_to_check().await?;
    let verified = verify(&args, &stores, lacks).await;
    stores.close().await;
    verified
}

async fn verify(args: &Args, stores: &Stores, lacks: Vec<String>) -> anyhow::Result<Exit> {
    args.ids.check(&*stores.journal).await?;
    // What cannot be counted is found out below.
    let total = args.ids.count(&stores.journal).await.ok();
    let progress = Progress::towards(total, "ids").unless_lines_are_read(false);
    let checked = stores.sealed().is_some();
    let is_sealed = checked || is_encrypted(&*stores.records).await.unwrap_or(true);
    let sealed = is_sealed.then(|| Sealed::new(checked));
    let mut report = Report::new(args, progress, sealed);
    report.findings(whole::file(stores).await)?;
    report.findings(lacks.into_iter().map(|what| Finding::of_journal(Kind::WrongKeys, what)))?;
    report.findings(whole::active_key(stores).await)?;

    let key = match stores.sealed() {
        Some(sealed) => Some(AnchorKey::of(sealed).await?),
        None => None,
    };
    let mut anchors = Anchors::open(args, key.as_ref())?;
    let strictness = Strictness { refuse_plaintext: args.refuse_plaintext };
    let jobs = args.jobs.map_or_else(at_a_time, usize::from);
    let mut ids = args.ids.stream(stores.journal.clone()).fuse();
    let mut listing = Ok(());
    let mut checks = futures::stream::FuturesOrdered::new();
    let mut newest = Epoch(0);
    loop {
        while checks.len() < jobs && listing.is_ok() {
            match ids.try_next().await {
                Ok(Some(id)) => {
                    let (gone, anchored) = anchors.take(&id)?;
                    report.findings(gone)?;
                    let check = tokio::spawn(entity::check(stores.clone(), id.clone(), anchored, strictness));
                    checks.push_back(check.map(move |checked| (id, checked)));
                }
                Ok(None) => break,
                // A list that cannot be read any further is a finding; what was listed is still checked.
                Err(error) => listing = Err(error),
            }
        }
        let Some((id, checked)) = checks.next().await else { break };
        let checked: Checked = checked.context("the check of an id died; this is a bug: report it")?;
        newest = newest.max(checked.epoch);
        anchors.add(&Entry::new(&id, &checked))?;
        report.id(checked)?;
    }
    if listing.is_ok() {
        report.findings(anchors.rest()?)?;
    }
    if let Err(error) = listing {
        report.findings(vec![Finding::of_journal(Kind::Unlistable, error)])?;
    }
    let mut orphans = Orphans::of(stores, &args.ids, jobs);
    while let Some(findings) = orphans.next().await {
        report.findings(findings)?;
    }
    report.findings(whole::epoch(stores, newest).await)?;
    if report.totals.findings == 0 {
        anchors.finish()?;
    } else if let Some(path) = &args.write_anchor {
        report.progress.say(&format!("{} is not written: it would vouch for what was found", path.display()));
    }
    report.end()
}
