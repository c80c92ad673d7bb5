use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals_journal::{
    Envelope, EventDigest, JournalError, PersistenceId, ReplayRange, Replayed, SeqNr, json_lines,
};
use annals_migrations::is_whole_state;
use annals_snapshot::Snapshot;
use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::Selection;
use crate::mask::{self, Mask};
use crate::output::Output;
use crate::passphrase::PassphraseSource;
use crate::snapshot_line;
use crate::stores::{GIVE_KEYS, KeyedJournalArgs, Stores};

/// Write events as JSON lines, for `annals import` and for replays in tests.
///
/// A line an event, ordered by id and number, with everything that is stored but its offset: the payload as it stands, number, time
/// stamp, token, writer, tags. Where events were deleted a line says so. With --keys what is sealed is opened: the lines are plain, unless they are
/// sealed under a passphrase (--encrypt). The journal may be in use: each id is written as it is when its turn comes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: Selection,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    /// Write to this file, which must not exist; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the newest readable snapshot of each id, too: an id whose events were deleted is lost without
    #[arg(long)]
    snapshots: bool,
    /// Mask values by the rules of this file
    #[arg(long, value_name = "RULES")]
    mask: Option<PathBuf>,
    /// Environment variable with the key of pseudonyms, for exports that shall have the same ones; default: drawn, and forgotten
    #[arg(long, value_name = "NAME", requires = "mask")]
    mask_key: Option<String>,
    /// Seal what is written under a passphrase: passphrase:env:NAME
    #[arg(long, value_name = "SOURCE")]
    encrypt: Option<PassphraseSource>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals export --journal sqlite://bank.db --output bank.jsonl
  annals export 'account|alice' --journal sqlite://bank.db | jq .payload
  PHRASE=… annals export --journal sqlite://bank.db --snapshots --encrypt passphrase:env:PHRASE --output bank.sealed
  annals export --journal sqlite://bank.db --mask rules.toml --output masked.jsonl
  PHRASE=… annals export --journal sqlite://bank.db --keys file:ring.json --snapshots --encrypt passphrase:env:PHRASE -o bank.sealed

The summary goes to standard output when there is --output, else to standard error.

Exit codes: 0 all is written; 1 written, and ids that need a snapshot have none in it; 2 wrong command line; 3 not done: the journal \
cannot be opened or read, has no such id, or the file cannot be written. A file that is not whole is not left behind.";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    // What is wrong with the command line is said before a journal is opened.
    let mask = args.mask.as_deref().map(|path| read_mask(path, args.mask_key.as_deref())).transpose()?;
    let passphrase = args.encrypt.as_ref().map(PassphraseSource::read).transpose()?;
    let stores = args.journal.open_read_only().await?;
    let exported = async {
        args.ids.check(&*stores.journal).await?;
        let output = Output::create(args.output.as_deref(), passphrase.as_ref()).context("--output")?;
        Box::pin(export(&args, &stores, mask, output)).await
    };
    let exported = exported.await;
    stores.close().await;
    exported
}

fn read_mask(path: &Path, key: Option<&str>) -> anyhow::Result<Mask> {
    let place = || format!("--mask {}", path.display());
    let rules = fs::read_to_string(path).with_context(place)?;
    Mask::new(&rules, &mask::key(key)?).with_context(place)
}

async fn export(args: &Args, stores: &Stores, mask: Option<Mask>, output: Output) -> anyhow::Result<Exit> {
    let total = args.ids.count(&stores.journal).await?;
    let progress = Progress::towards(Some(total), "ids").unless_lines_are_read(args.output.is_none());
    let mut export = Export { args, stores, mask, output, summary: Summary::default() };
    let mut ids = args.ids.stream(stores.journal.clone());
    if export.mask.as_ref().is_some_and(Mask::changes_ids) {
        // Lines are ordered by the ids that they have.
        let mut renamed = BTreeMap::new();
        while let Some(id) = ids.try_next().await? {
            renamed.insert(export.renamed(&id)?, id);
        }
        for (name, id) in renamed {
            export.id(&id, &name).await?;
            progress.add(1);
        }
    } else {
        while let Some(id) = ids.try_next().await? {
            export.id(&id, &id).await?;
            progress.add(1);
        }
    }
    drop(progress);
    let Export { output, summary, .. } = export;
    output.finish().context("--output")?;
    summary.print(args)
}

struct Export<'a> {
    args: &'a Args,
    stores: &'a Stores,
    mask: Option<Mask>,
    output: Output,
    summary: Summary,
}

impl Export<'_> {
    fn renamed(&self, id: &PersistenceId) -> anyhow::Result<PersistenceId> {
        self.mask.as_ref().map_or(Ok(id.clone()), |mask| mask.id(id))
    }

    async fn id(&mut self, id: &PersistenceId, name: &PersistenceId) -> anyhow::Result<()> {
        // Before the events: a snapshot that is taken meanwhile would be ahead of them.
        let snapshot = if self.args.snapshots { newest(self.stores, id).await? } else { None };
        let mut last_event: Option<EventDigest> = None;
        let mut replay = self.stores.journal.replay(ReplayRange::all(id));
        let (mut events, mut deleted_to, mut whole_state) = (0, SeqNr::ZERO, false);
        while let Some(item) = replay.next().await {
            match item.map_err(unreadable)? {
                Replayed::Event(event) => {
                    let written = self.event(&event.envelope)?;
                    if snapshot.as_ref().is_some_and(|snapshot| snapshot.seq_nr == written.seq_nr) {
                        last_event = Some(written.digest());
                    }
                    whole_state = is_whole_state(id.kind(), &written.manifest);
                    events += 1;
                }
                Replayed::Deleted { to, .. } => {
                    deleted_to = to;
                    json_lines::write_deleted(&mut self.output, name, to)?;
                }
                Replayed::Erased { to, .. } => json_lines::write_erased(&mut self.output, name, to)?,
                _ => bail!("{id} has an item that this build does not know: run a newer build"),
            }
        }
        let mut stands_for = SeqNr::ZERO;
        if let Some(snapshot) = snapshot {
            stands_for = snapshot.seq_nr;
            self.snapshot(snapshot, last_event)?;
        }
        self.summary.ids += 1;
        self.summary.events += events;
        self.summary.deleted += deleted_to.get();
        self.summary.not_recoverable += u64::from(deleted_to > stands_for && !whole_state);
        Ok(())
    }

    fn event(&mut self, envelope: &Envelope) -> anyhow::Result<Envelope> {
        if envelope.key_id.is_some() {
            bail!("{} {:?} is sealed: {GIVE_KEYS}", envelope.persistence_id, envelope.seq_nr);
        }
        let written = match &self.mask {
            Some(mask) => mask.event(envelope)?,
            None => envelope.clone(),
        };
        json_lines::write_event(&mut self.output, &written)?;
        Ok(written)
    }

    fn snapshot(&mut self, snapshot: Snapshot, last_event: Option<EventDigest>) -> anyhow::Result<()> {
        if snapshot.key_id.is_some() {
            bail!("snapshot {:?} of {} is sealed: {GIVE_KEYS}", snapshot.seq_nr, snapshot.persistence_id);
        }
        let mut snapshot = match &self.mask {
            Some(mask) => mask.snapshot(snapshot)?,
            None => snapshot,
        };
        if let Some(digest) = last_event {
            // That of the event as it was written: its id may be another.
            snapshot.last_event = digest;
        }
        snapshot_line::write(&mut self.output, &snapshot)?;
        self.summary.snapshots += 1;
        Ok(())
    }
}

/// The newest snapshot that can be read and is of the journal's history.
async fn newest(stores: &Stores, id: &PersistenceId) -> anyhow::Result<Option<Snapshot>> {
    let mut at_most = SeqNr::MAX;
    while at_most > SeqNr::ZERO {
        match stores.snapshots.load(id, at_most).await {
            Ok(None) => break,
            Ok(Some(snapshot)) => {
                if of_this_history(stores, &snapshot).await? {
                    return Ok(Some(snapshot));
                }
                at_most = snapshot.seq_nr.previous();
            }
            Err(annals_snapshot::SnapshotError::Corrupt { seq_nr, .. }) => at_most = seq_nr.previous(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

async fn of_this_history(stores: &Stores, snapshot: &Snapshot) -> anyhow::Result<bool> {
    let at = ReplayRange::all(&snapshot.persistence_id).from(snapshot.seq_nr).to(snapshot.seq_nr);
    let mut replay = stores.journal.replay(at);
    while let Some(item) = replay.next().await {
        if let Replayed::Event(event) = item.map_err(unreadable)? {
            return Ok(snapshot.belongs_to(&event.envelope));
        }
    }
    // Its event was deleted: nothing speaks against it. Otherwise the snapshot is ahead of the journal.
    Ok(stores.journal.head(&snapshot.persistence_id).await?.deleted_to >= snapshot.seq_nr)
}

fn unreadable(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::Corrupt { .. } => anyhow::Error::from(error)
            .context("an export must be whole; `annals verify` reports everything that cannot be read"),
        other => other.into(),
    }
}

#[derive(Default, Serialize)]
struct Summary {
    ids: u64,
    events: u64,
    deleted: u64,
    snapshots: u64,
    not_recoverable: u64,
}

impl Summary {
    fn print(&self, args: &Args) -> anyhow::Result<Exit> {
        let Self { ids, events, deleted, snapshots, not_recoverable } = self;
        let mut text = format!("{ids} ids, {events} events, {snapshots} snapshots");
        if *deleted > 0 {
            text += &format!("; {deleted} events were deleted before");
        }
        if *not_recoverable > 0 {
            let remedy = if args.snapshots { "there is none" } else { "export with --snapshots" };
            text +=
                &format!("; {not_recoverable} ids cannot be recovered from it without a snapshot: {remedy}");
        }
        match (&args.output, args.json) {
            (Some(_), true) => print_json(self)?,
            (Some(_), false) => print(text)?,
            (None, true) => eprintln!("{}", serde_json::to_string(self)?),
            (None, false) => eprintln!("{text}"),
        }
        Ok(if *not_recoverable == 0 { Exit::Well } else { Exit::Found })
    }
}
