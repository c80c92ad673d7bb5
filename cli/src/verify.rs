mod anchor;
mod entity;
mod finding;

use std::path::PathBuf;

use annals_journal::{Epoch, JournalError, PersistenceId, SeqNr, last_epoch};
use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use self::anchor::{AnchorReader, AnchorWriter, Entry};
use self::entity::Checked;
use self::finding::{Finding, Kind};
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::{Selection, at_a_time};
use crate::stores::{KeyedJournalArgs, Stores};

/// Check a journal, and report everything that is wrong with it.
///
/// Every event and snapshot is read: gaps, events and snapshots that cannot be read, events of an older writer behind a newer one's,
/// snapshots ahead of the journal or of another history, deleted events that no snapshot stands for, an epoch counter behind the
/// events, damage of the SQLite file. A finding has the persistence id and the number, and stops nothing. The journal may be in use;
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
    /// Print JSON lines: an object for each finding, then one with the totals
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals verify --journal sqlite://bank.db
  annals verify --journal sqlite://bank.db --prefix 'account|' --json | jq 'select(.finding)'
  annals verify --journal sqlite://bank.db --anchor monday.anchor --write-anchor tuesday.anchor

Exit codes: 0 nothing is wrong; 1 something is, and was named; 2 wrong command line; 3 the journal cannot be opened, or has no such id";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_read_only().await?;
    let verified = verify(&args, &stores).await;
    stores.close().await;
    verified
}

async fn verify(args: &Args, stores: &Stores) -> anyhow::Result<Exit> {
    args.ids.check(&*stores.journal).await?;
    // What cannot be counted is found out below.
    let total = args.ids.count(&stores.journal).await.ok();
    let progress = Progress::towards(total, "ids").unless_lines_are_read(false);
    let mut report = Report { json: args.json, progress, totals: Totals::default() };
    report.findings(file(stores).await)?;

    let mut anchors = Anchors::open(args)?;
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
                    let check = tokio::spawn(entity::check(stores.clone(), id.clone(), anchored));
                    checks.push_back(check.map(move |checked| (id, checked)));
                }
                Ok(None) => break,
                // A list that cannot be read any further is a finding; what was listed is still checked.
                Err(error) => listing = Err(error),
            }
        }
        let Some((id, checked)) = checks.next().await else { break };
        let Checked { findings, events, snapshots, epoch, head, digest } =
            checked.context("the check of an id died; this is a bug: report it")?;
        newest = newest.max(epoch);
        report.progress.add(1);
        report.totals.ids += 1;
        report.totals.events += events;
        report.totals.snapshots += snapshots;
        report.findings(findings)?;
        anchors.add(&Entry::new(&id, head.get(), digest))?;
    }
    if listing.is_ok() {
        report.findings(anchors.rest()?)?;
    }
    if let Err(error) = listing {
        report.findings(vec![Finding::of_journal(Kind::Unlistable, error)])?;
    }
    report.findings(epoch(stores, newest).await)?;
    if report.totals.findings == 0 {
        anchors.finish()?;
    } else if let Some(path) = &args.write_anchor {
        report.progress.say(&format!("{} is not written: it would vouch for what was found", path.display()));
    }
    report.end(args)
}

/// The anchor that is compared with, and the one that is written.
struct Anchors {
    before: Option<AnchorReader>,
    after: Option<AnchorWriter>,
}

impl Anchors {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let before = args.anchor.as_deref().map(|path| AnchorReader::open(path, None)).transpose()?;
        let after = args.write_anchor.as_deref().map(|path| AnchorWriter::create(path, None)).transpose()?;
        Ok(Self { before, after })
    }

    /// What is known of an id; and findings about the ids before it, which the journal does not have.
    fn take(&mut self, id: &PersistenceId) -> anyhow::Result<(Vec<Finding>, Option<Entry>)> {
        let Some(before) = &mut self.before else { return Ok((Vec::new(), None)) };
        let (gone, found) = before.take(id)?;
        Ok((gone.iter().filter_map(gone_since).collect(), found))
    }

    /// Findings about the ids behind the last one.
    fn rest(&mut self) -> anyhow::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        while let Some(entry) = self.before.as_mut().map_or(Ok(None), AnchorReader::take_next)? {
            findings.extend(gone_since(&entry));
        }
        Ok(findings)
    }

    fn add(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.after.as_mut().map_or(Ok(()), |after| after.add(entry))
    }

    fn finish(self) -> anyhow::Result<()> {
        self.after.map_or(Ok(()), AnchorWriter::finish)
    }
}

fn gone_since(entry: &Entry) -> Option<Finding> {
    let id = PersistenceId::parse(&entry.persistence_id).ok()?;
    let what = "the anchor has seen it, and the journal has no such id: an older copy was put back";
    Some(Finding::at(&id, SeqNr::new(entry.head)?, Kind::WentBack, what))
}

/// What SQLite says of its file.
async fn file(stores: &Stores) -> Vec<Finding> {
    let Some(database) = stores.database() else { return Vec::new() };
    let checked = database.scan(|conn| {
        conn.prepare("PRAGMA quick_check")?
            .query_map((), |row| row.get::<_, String>(0))?
            .collect::<Result<Vec<_>, _>>()
    });
    match checked.await {
        Ok(lines) => lines
            .into_iter()
            .filter(|line| line != "ok")
            .map(|line| Finding::of_journal(Kind::DamagedFile, line))
            .collect(),
        Err(error) => vec![Finding::of_journal(Kind::DamagedFile, error)],
    }
}

/// An owner that starts takes the next epoch: it must be above those of the events, or it is fenced by the past.
async fn epoch(stores: &Stores, newest: Epoch) -> Vec<Finding> {
    let behind = |last: Epoch| {
        let what = format!(
            "the epoch counter is at {last} and events are of epoch {newest}: whoever starts now is fenced from them; \
             part of the journal was restored from an older state"
        );
        Finding::of_journal(Kind::EpochBehind, what)
    };
    match last_epoch(&*stores.records).await {
        Ok(last) if last < newest => vec![behind(last)],
        Ok(_) => Vec::new(),
        Err(error @ JournalError::Corrupt { .. }) => vec![Finding::of_journal(Kind::UnreadableRecord, error)],
        Err(error) => vec![Finding::of_journal(Kind::Unavailable, error)],
    }
}

struct Report {
    json: bool,
    progress: Progress,
    totals: Totals,
}

#[derive(Default, Serialize)]
struct Totals {
    ids: u64,
    events: u64,
    snapshots: u64,
    findings: u64,
}

impl Report {
    fn findings(&mut self, findings: Vec<Finding>) -> anyhow::Result<()> {
        for finding in findings {
            self.totals.findings += 1;
            if self.json {
                self.progress.print_json(&serde_json::json!({ "finding": finding }))?;
            } else {
                self.progress.print(finding.to_string())?;
            }
        }
        Ok(())
    }

    fn end(self, args: &Args) -> anyhow::Result<Exit> {
        let Self { progress, totals, .. } = self;
        drop(progress);
        let Totals { ids, events, snapshots, findings } = totals;
        if args.json {
            print_json(&serde_json::json!({ "ok": findings == 0, "totals": totals }))?;
        } else {
            let verdict = match findings {
                0 => "nothing is wrong".to_owned(),
                1 => "1 finding".to_owned(),
                findings => format!("{findings} findings"),
            };
            print(format!("{ids} ids, {events} events, {snapshots} snapshots: {verdict}"))?;
        }
        Ok(if findings == 0 { Exit::Well } else { Exit::Found })
    }
}
