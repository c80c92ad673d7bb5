use std::sync::Arc;
use std::time::Duration;

use annals_journal::encryption::{DataKeys, KeySource, RingKeys};
use annals_journal::{Gate, JournalUrl, is_encrypted};
use annals_migrations::Form;
use annals_migrations::copy::{Copy, CopyPlan, CopyReport, Side};
use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::json;

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::key_sources::{NewKeyArgs, OptionalKeyArgs};
use crate::stores::{GIVE_KEYS, Stores, data_keys, url};
use crate::table::{Align, Table};

/// Copy a journal into another one, which then goes on in its place.
///
/// Everything stays but the offsets: ids, numbers, time stamps, tokens, tags, deletions, snapshots, records, sealed events and their keys.
/// Without more it only counts what there is. With --apply it copies while the application runs, and the target is closed to all others;
/// run it again at any time, also after it was killed, and it goes on. With --cut-over it copies the rest, seals the source (from then on
/// nothing is stored in it, and who tries is told where to go), compares every event, and opens the target.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The journal to copy: sqlite://PATH
    #[arg(value_name = "FROM", value_parser = url)]
    from: JournalUrl,
    /// The journal to make: sqlite://PATH, spelled as applications will open it
    #[arg(value_name = "TO", value_parser = url)]
    to: JournalUrl,
    /// Only count; this is what happens without --apply, --follow or --cut-over
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Copy what there is
    #[arg(long, group = "what")]
    apply: bool,
    /// Copy what there is, and go on copying what comes, until interrupted
    #[arg(long, group = "what")]
    follow: bool,
    /// Copy, seal the source, compare, and open the target
    #[arg(long, group = "what")]
    cut_over: bool,
    /// End a copy that is not finished: the source takes writes again, the target never will
    #[arg(long, group = "what")]
    give_up: bool,
    /// Seal the target under these master keys; what is sealed in the source is opened with --keys. Otherwise sealed events and their keys
    /// are copied as they are
    #[arg(long, value_name = "SOURCE", value_delimiter = ' ', conflicts_with_all = ["dry_run", "give_up"])]
    to_keys: Vec<KeySource>,
    #[command(flatten)]
    new_keys: NewKeyArgs,
    #[command(flatten)]
    keys: OptionalKeyArgs,
    /// At most so many events a second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals migrate copy sqlite://bank.db sqlite://new.db
  annals migrate copy sqlite://bank.db sqlite://new.db --apply --rate 5000
  annals migrate copy sqlite://bank.db sqlite://new.db --cut-over
  annals migrate copy sqlite://bank.db sqlite://new.db --apply --keys file:ring.json --to-keys file:new.json

With --to-keys each run says it; numbers whose events were erased stand as deleted in the target.

Registered readers are not copied: offsets are new, so a projection is built anew on the target. An application is pointed at the \
target when the copy says that it is open; one that still runs on the source has its commands refused, with the target's name.

Exit codes: 0 done (a dry run: counted); 2 wrong command line; 3 not done, or not to the end: run it again to go on, or give it up";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    if args.from == args.to {
        bail!("FROM and TO are one journal");
    }
    if !(args.apply || args.follow || args.cut_over || args.give_up) {
        return Box::pin(dry_run(&args)).await;
    }
    // A source that is not there must not be made.
    Stores::open_read_only(&args.from, "FROM").await?.close().await;
    let (from, to) = (Stores::open(&args.from, "FROM").await?, Stores::open(&args.to, "TO").await?);
    let (from, to, opened) = match Box::pin(open(&args, &from, &to)).await {
        Ok(Some((sealed_from, sealed_to))) => (sealed_from, sealed_to, Ok(())),
        Ok(None) => (from, to, Ok(())),
        Err(error) => (from, to, Err(error)),
    };
    let done = match opened {
        Ok(()) => Box::pin(perform(&args, &copy_of(&args, &from, &to))).await,
        Err(error) => Err(error),
    };
    from.close().await;
    to.close().await;
    done
}

fn copy_of(args: &Args, from: &Stores, to: &Stores) -> Copy {
    Copy::new(side(&args.from, from), side(&args.to, to))
        .events_per_second(args.rate)
        .reseals(!args.to_keys.is_empty())
}

/// Both sides through keys of their own, when that is asked for.
async fn open(args: &Args, from: &Stores, to: &Stores) -> anyhow::Result<Option<(Stores, Stores)>> {
    if args.to_keys.is_empty() {
        if args.new_keys.is_given() {
            bail!(
                "--into-scope: keys that are copied stay in their scopes; with --to-keys new ones are made"
            );
        }
        return Ok(None);
    }
    let is_sealed = is_encrypted(&*from.records).await?;
    if is_sealed && args.keys.is_empty() {
        bail!("FROM {}: it is encrypted: {GIVE_KEYS}", args.from);
    }
    // Nobody else's journal must get keys.
    if !copy_of(args, from, to).reserve().await? {
        return Ok(None);
    }
    let opened = if is_sealed {
        let masters = Arc::new(args.keys.open_for_reading(&*from.records).await.context("--keys")?);
        let keys = DataKeys::open_for_reading(from.records.clone(), masters, data_keys());
        from.clone().behind(keys.await.context("--keys")?).await?
    } else {
        from.clone()
    };
    let masters = Arc::new(RingKeys::open(&args.to_keys, &*to.records).await.context("--to-keys")?);
    let options = args.new_keys.within(data_keys());
    let keys = DataKeys::open(to.records.clone(), masters, options).await.context("--to-keys")?;
    Ok(Some((opened, to.clone().behind(keys).await?)))
}

async fn dry_run(args: &Args) -> anyhow::Result<Exit> {
    let from = Stores::open_read_only(&args.from, "FROM").await?;
    // The target is not looked at: it need not be there.
    let copy = Copy::new(side(&args.from, &from), side(&args.to, &from));
    let progress = Progress::towards(None, "events");
    let planned = copy.plan(&|count| progress.add(count)).await;
    let gate = Gate::of(from.records.get(Gate::key()).await?.as_ref())?;
    drop(progress);
    from.close().await;
    print_plan(args, &planned?, gate.as_ref())?;
    Ok(Exit::Well)
}

async fn perform(args: &Args, copy: &Copy) -> anyhow::Result<Exit> {
    if args.give_up {
        copy.give_up().await?;
        return say(
            args,
            "given-up",
            CopyReport::default(),
            format!("{} takes writes again; remove {}", args.from, args.to),
        );
    }
    let progress = Progress::towards(None, "events");
    let tell = |count| progress.add(count);
    if args.cut_over {
        let report = copy.cut_over(&tell).await.context(GOES_ON)?;
        drop(progress);
        let text = if report.was_finished {
            format!("it was done before: {} is sealed, {} is open", args.from, args.to)
        } else {
            let CopyReport { events, snapshots, compared, compared_events, .. } = report;
            format!(
                "{events} events and {snapshots} snapshots were copied now; {compared} ids with {compared_events} events are the same in \
                 both; {} is sealed, {} is open: start the application on it",
                args.from, args.to
            )
        };
        return say(args, "open", report, text);
    }
    let mut report = copy.fill(&tell).await.context(GOES_ON)?;
    while args.follow && !report.was_finished {
        tokio::time::sleep(PAUSE).await;
        report.events += copy.fill(&tell).await.context(GOES_ON)?.events;
    }
    drop(progress);
    let text = if report.was_finished {
        format!("it was done before: {} is sealed, {} is open", args.from, args.to)
    } else {
        format!("{} events were copied now; {} is closed until --cut-over", report.events, args.to)
    };
    say(args, "filling", report, text)
}

fn say(args: &Args, state: &str, report: CopyReport, text: String) -> anyhow::Result<Exit> {
    if args.json {
        let CopyReport { events, snapshots, compared, compared_events, replaced, was_finished, .. } = report;
        print_json(&json!({
            "state": if was_finished { "open" } else { state },
            "events": events,
            "snapshots": snapshots,
            "compared_ids": compared,
            "compared_events": compared_events,
            "replaced": replaced,
            "was_finished": was_finished,
        }))?;
    } else {
        print(text)?;
    }
    Ok(Exit::Well)
}

fn print_plan(args: &Args, plan: &CopyPlan, gate: Option<&Gate>) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        manifest: &'a str,
        version: u32,
        events: u64,
    }
    let gate =
        gate.and_then(|gate| gate.check(annals_journal::GatedCall::Own).err()).map(|error| error.to_string());
    let total: u64 = plan.events.values().sum();
    if args.json {
        let line = |(form, events): (&Form, &u64)| {
            json!(Line { manifest: form.manifest.as_str(), version: form.version, events: *events })
        };
        let manifests: Vec<_> = plan.events.iter().map(line).collect();
        let CopyPlan { ids, sealed, deleted, snapshots, readers, .. } = plan;
        return Ok(print_json(&json!({
            "state": "planned", "ids": ids, "events": total, "sealed": sealed, "deleted": deleted, "snapshots": snapshots, "readers": readers,
            "closed": gate, "manifests": manifests,
        }))?);
    }
    let mut table =
        Table::new([("manifest", Align::Left), ("version", Align::Right), ("events", Align::Right)]);
    for (form, events) in &plan.events {
        table.row([form.manifest.to_string(), form.version.to_string(), events.to_string()]);
    }
    for line in table.lines() {
        print(line)?;
    }
    print(format!(
        "{} ids, {total} events ({} of them sealed), {} snapshots would be copied; {} numbers stand as deleted, {} readers stay behind",
        plan.ids, plan.sealed, plan.snapshots, plan.deleted, plan.readers
    ))?;
    if let Some(gate) = gate {
        print(gate)?;
    }
    Ok(print("nothing was changed: this was a dry run; --apply copies, --cut-over hands over")?)
}

fn side(url: &JournalUrl, stores: &Stores) -> Side {
    Side {
        name: url.to_string(),
        journal: stores.journal.clone(),
        records: stores.records.clone(),
        snapshots: stores.snapshots.clone(),
    }
}

const GOES_ON: &str = "the copy is not finished; run it again, it goes on where it was";
const PAUSE: Duration = Duration::from_secs(1);
