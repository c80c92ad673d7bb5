mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals_migrations::LegacyMapping;
use anyhow::Context as _;
use serde::Serialize;

use self::rows::{Rows, Source};
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::import;
use crate::key_sources::NewKeyArgs;
use crate::stores::KeyedJournalArgs;

/// Bring events that something else has stored, as plain JSON rows, into a journal.
///
/// A mapping says which field has the id, what event it is, the payload and the time. Rows become version 1 of a manifest with their payload
/// as it is; how today's code reads that is said beside the event, as of any older version. Without --apply nothing is written: the rows
/// are read, checked and counted. With --keys events are sealed on their way in. What the journal has already is compared and not written twice, so it may be run again, and goes on
/// where it was broken off.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A file of JSON lines, an object a line; or, with --table, a SQLite file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The table or view of the SQLite file that has the rows
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Which field is what: a TOML file
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    #[command(flatten)]
    new_keys: NewKeyArgs,
    /// Write the events; otherwise they are only counted
    #[arg(long)]
    apply: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals migrate legacy old.jsonl --mapping mapping.toml --journal sqlite://bank.db
  annals migrate legacy old.db --table events --mapping mapping.toml --journal sqlite://bank.db --apply

A mapping:
  kind = \"account\"           # the kind of entity that all rows are of
  id = \"stream\"              # the field with the entity's id
  strip = \"account-\"         # cut off before it
  event = \"type\"             # the field that says what event it is
  payload = \"data\"           # JSON, or a text that is JSON; without: the rest of the row
  time = \"created_at\"        # RFC 3339, 2019-04-01 12:00:00 (UTC), or a number since 1970
  time_unit = \"seconds\"      # of such a number: seconds, milliseconds, microseconds
  order = \"id\"               # the rows of one id are ordered by this field; without: as they stand

  [events]                   # the manifest of each event; false leaves it out
  MoneyMoved = \"legacy.moved\"
  Heartbeat = false

Exit codes: 0 counted, or all of it is in the journal; 1 ids were left out, and were named; 2 wrong command line; 3 not done, or not to \
the end: a row that is none is named, and nothing is written before all rows were read";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mapping = read_mapping(&args.mapping)?;
    let source = match &args.table {
        Some(table) => Source::Table { file: args.file.clone(), name: table.clone() },
        None => Source::Lines(args.file.clone()),
    };
    let order = mapping.order.clone();
    let place = args.file.display().to_string();
    // Reads everything before the first row is written: what is wrong in the last one shows now.
    let progress = Progress::towards(None, "rows");
    let (rows, found) = tokio::task::spawn_blocking(move || {
        let mut found = Found::default();
        let rows = Rows::read(source, order.as_deref(), &mapping, &mut |event| {
            progress.add(1);
            match event {
                None => found.left_out += 1,
                Some(event) => {
                    found.events += 1;
                    *found.manifests.entry(event.manifest.to_string()).or_default() += 1;
                }
            }
        })?;
        found.ids = rows.ids();
        anyhow::Ok((rows, found))
    })
    .await?
    .with_context(|| place.clone())?;
    if !args.apply {
        found.print(args.json)?;
        return Ok(Exit::Well);
    }
    let stores = args.journal.open_making(&args.new_keys).await?;
    let lines = rows.into_lines()?;
    let written = Box::pin(import::write_lines(&stores, lines, &place, args.json)).await;
    stores.close().await;
    written
}

fn read_mapping(path: &Path) -> anyhow::Result<LegacyMapping> {
    let place = || format!("--mapping {}", path.display());
    let text = fs::read_to_string(path).with_context(place)?;
    toml::from_str(&text).with_context(place)
}

#[derive(Default, Serialize)]
struct Found {
    ids: u64,
    events: u64,
    left_out: u64,
    manifests: BTreeMap<String, u64>,
}

impl Found {
    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            return Ok(print_json(self)?);
        }
        let Self { ids, events, left_out, manifests } = self;
        print(format!("{ids} ids, {events} events; {left_out} rows are left out, as the mapping says"))?;
        for (manifest, count) in manifests {
            print(format!("{count:>12}  {manifest}"))?;
        }
        Ok(print("nothing is written; --apply does")?)
    }
}
