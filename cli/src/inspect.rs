mod entity;
mod id_line;

use std::collections::BTreeMap;

use annals_journal::{Codec, Timestamp};
use futures::TryStreamExt as _;
use indicatif::HumanBytes;

use self::entity::{Count, Entity, Shape, look_at};
use self::id_line::IdLine;
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::{Selection, at_a_time};
use crate::stores::{KeyedJournalArgs, Stores};
use crate::table::{Align, Table};

/// Tell what a journal holds: ids, counts, sizes, the versions of each manifest.
///
/// Reads every event once, and opens no payload: no keys are needed. `bytes` are those of the stored envelopes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: Selection,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    /// Print a line for each id instead
    #[arg(long = "ids")]
    list_ids: bool,
    /// Print one JSON object; with --ids one for each id
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals inspect --journal sqlite://bank.db
  annals inspect --journal sqlite://bank.db --ids --prefix 'account|'
  annals inspect --journal sqlite://bank.db --json | jq '.manifests[] | select(.version > 1)'

Exit codes: 0 told; 1 some events cannot be read (`annals verify` names them); 2 wrong command line; 3 the journal cannot be \
opened, or has no such id";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_read_only().await?;
    let told = inspect(&args, &stores).await;
    stores.close().await;
    told
}

async fn inspect(args: &Args, stores: &Stores) -> anyhow::Result<Exit> {
    args.ids.check(&*stores.journal).await?;
    let total = args.ids.count(&stores.journal).await?;
    let progress = Progress::towards(Some(total), "ids").unless_lines_are_read(args.list_ids);
    let mut totals = Totals::new();
    let journal = stores.stored_journal().clone();
    let mut entities = args
        .ids
        .stream(journal.clone())
        .map_ok(|id| look_at(journal.clone(), stores.stored_snapshots().clone(), id))
        .try_buffered(at_a_time());
    let mut heading = args.list_ids && !args.json;
    while let Some(entity) = entities.try_next().await? {
        progress.add(1);
        if heading {
            print(IdLine::HEADING)?;
            heading = false;
        }
        if args.list_ids {
            let line = IdLine::of(&entity);
            if args.json { print_json(&line)? } else { print(line.text())? }
        }
        totals.add(entity);
    }
    drop(progress);
    if !args.list_ids {
        totals.print(args)?;
    }
    Ok(if totals.unreadable == 0 { Exit::Well } else { Exit::Found })
}

struct Totals {
    ids: u64,
    events: Count,
    deleted: u64,
    sealed: u64,
    unreadable: u64,
    snapshots: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    kinds: BTreeMap<String, (u64, Count)>,
    manifests: BTreeMap<Shape, Count>,
}

impl Totals {
    fn new() -> Self {
        Self {
            ids: 0,
            events: Count::default(),
            deleted: 0,
            sealed: 0,
            unreadable: 0,
            snapshots: 0,
            first: None,
            last: None,
            kinds: BTreeMap::new(),
            manifests: BTreeMap::new(),
        }
    }

    fn add(&mut self, entity: Entity) {
        self.ids += 1;
        self.events.add(entity.events);
        self.deleted += entity.head.deleted_to.get();
        self.sealed += entity.sealed;
        self.unreadable += entity.unreadable;
        self.snapshots += entity.snapshots.len() as u64;
        self.first = self.first.into_iter().chain(entity.first).min();
        self.last = self.last.into_iter().chain(entity.last).max();
        let (ids, count) = self.kinds.entry(entity.id.kind().to_owned()).or_default();
        *ids += 1;
        count.add(entity.events);
        for (shape, count) in entity.manifests {
            self.manifests.entry(shape).or_default().add(count);
        }
    }

    fn print(&self, args: &Args) -> anyhow::Result<()> {
        if args.json { Ok(print_json(&self.json(args))?) } else { self.text(args) }
    }

    fn json(&self, args: &Args) -> serde_json::Value {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|(kind, (ids, count))| {
                serde_json::json!({"kind": kind, "ids": ids, "events": count.events, "bytes": count.bytes})
            })
            .collect();
        let manifests: Vec<_> = self
            .manifests
            .iter()
            .map(|(Shape { manifest, version, codec }, count)| {
                serde_json::json!({
                    "manifest": manifest, "version": version, "codec": codec, "events": count.events,
                    "bytes": count.bytes, "payload_bytes": count.payload_bytes,
                })
            })
            .collect();
        serde_json::json!({
            "journal": args.journal.url().to_string(), "ids": self.ids, "events": self.events.events,
            "bytes": self.events.bytes, "payload_bytes": self.events.payload_bytes, "deleted": self.deleted,
            "sealed": self.sealed, "unreadable": self.unreadable, "snapshots": self.snapshots,
            "first": time(self.first), "last": time(self.last), "kinds": kinds, "manifests": manifests,
        })
    }

    fn text(&self, args: &Args) -> anyhow::Result<()> {
        let Count { events, bytes, payload_bytes } = self.events;
        print(format!("journal     {}", args.journal.url()))?;
        print(format!("ids         {}", self.ids))?;
        print(format!("events      {events}, {} deleted, {} unreadable", self.deleted, self.unreadable))?;
        print(format!("sealed      {} of {events}", self.sealed))?;
        print(format!(
            "bytes       {} in envelopes, {} of payloads",
            HumanBytes(bytes),
            HumanBytes(payload_bytes)
        ))?;
        print(format!("snapshots   {}", self.snapshots))?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            print(format!("written     {first} to {last}"))?;
        }
        let mut kinds = Table::new([
            ("kind", Align::Left),
            ("ids", Align::Right),
            ("events", Align::Right),
            ("bytes", Align::Right),
        ]);
        for (kind, (ids, count)) in &self.kinds {
            kinds.row([
                kind.clone(),
                ids.to_string(),
                count.events.to_string(),
                HumanBytes(count.bytes).to_string(),
            ]);
        }
        let mut manifests = Table::new([
            ("manifest", Align::Left),
            ("version", Align::Right),
            ("codec", Align::Left),
            ("events", Align::Right),
            ("bytes", Align::Right),
        ]);
        for (Shape { manifest, version, codec }, count) in &self.manifests {
            let codec = Codec::from_number(*codec).map_or_else(String::new, |codec| codec.to_string());
            let (events, bytes) = (count.events.to_string(), HumanBytes(count.bytes).to_string());
            manifests.row([manifest.clone(), version.to_string(), codec, events, bytes]);
        }
        if self.ids > 0 {
            print("")?;
            kinds.lines().try_for_each(print)?;
            print("")?;
            manifests.lines().try_for_each(print)?;
        }
        Ok(())
    }
}
