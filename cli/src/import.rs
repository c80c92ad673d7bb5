mod entity;
mod input;
mod writer;

use std::path::PathBuf;

use annals_journal::json_lines::{self, LineItem};
use annals_journal::{PersistenceId, SeqNr};
use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

use self::entity::{Entity, Next};
use self::input::Input;
pub(crate) use self::input::Line;
use self::writer::Writer;
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::key_sources::NewKeyArgs;
use crate::passphrase::PassphraseSource;
use crate::snapshot_line;
use crate::stores::{GIVE_KEYS, KeyedJournalArgs, Stores};
use crate::watermarks::Watermarks;

/// Write exported JSON lines into a journal.
///
/// Everything stays: number, time stamp, token, writer, tags, payload. Offsets are new. What the journal has already is compared, and not
/// written twice, so an import that was broken off goes on when it is started again. An id that has another history in the journal is
/// named and left as it is; all others are imported. A journal that does not exist is made. With --keys everything is sealed on its way in.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// What `annals export` wrote; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    #[command(flatten)]
    new_keys: NewKeyArgs,
    /// The passphrase of a sealed file: passphrase:env:NAME
    #[arg(long, value_name = "SOURCE")]
    decrypt: Option<PassphraseSource>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals import bank.jsonl --journal sqlite://new.db
  PHRASE=… annals import bank.sealed --decrypt passphrase:env:PHRASE --journal 'sqlite://new.db?durability=os'
  annals import bank.jsonl --journal sqlite://new.db --keys file:ring.json
  annals export 'account|alice' --journal sqlite://bank.db | annals import - --journal sqlite://new.db

Events keep their tokens, and the epoch counter is raised above them: an application that runs on the journal meanwhile has to be \
started again before it writes to imported ids. What an application that runs cannot read, or an operator holds, is not imported. Events that were deleted before the export keep their numbers, as deleted.

Exit codes: 0 all of it is in the journal; 1 ids or snapshots were left out, and were named; 2 wrong command line; 3 not done, or not to \
the end: run it again to go on";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let passphrase = args.decrypt.as_ref().map(PassphraseSource::read).transpose()?;
    // Before a journal is made for a file that is not there.
    let input = Input::open(&args.file, passphrase.as_ref())?;
    let stores = args.journal.open_making(&args.new_keys).await?;
    let imported = Box::pin(import(&args, &stores, input)).await;
    stores.close().await;
    imported
}

async fn import(args: &Args, stores: &Stores, input: Input) -> anyhow::Result<Exit> {
    let progress = Progress::through_bytes(input.length());
    let name = input.name().to_owned();
    write(stores, input.into_lines()?, &name, progress, args.json).await
}

/// Writes lines as those of an export, whoever has made them, and tells what came of it.
pub(crate) async fn write_lines(
    stores: &Stores,
    lines: Receiver<anyhow::Result<Line>>,
    name: &str,
    json: bool,
) -> anyhow::Result<Exit> {
    write(stores, lines, name, Progress::towards(None, "bytes"), json).await
}

async fn write(
    stores: &Stores,
    lines: Receiver<anyhow::Result<Line>>,
    name: &str,
    progress: Progress,
    json: bool,
) -> anyhow::Result<Exit> {
    if stores.sealed().is_none() && annals_journal::is_encrypted(&*stores.records).await? {
        anyhow::bail!(
            "the journal is encrypted, and without keys what is written could be read on disk, and ids with sealed events would be \
             unreadable behind it: {GIVE_KEYS}, or import into a new journal"
        );
    }
    let watermarks = Watermarks::enter(stores.records.clone(), "import").await?;
    let (writer, summary) = (Writer::new(stores), Summary::default());
    let mut import = Import { stores, watermarks, writer, current: None, progress, summary };
    let read = import.lines(lines, name).await;
    // What was read before a line that is no line is written all the same.
    let written = import.end().await;
    let Import { progress, summary, watermarks, .. } = import;
    drop(progress);
    watermarks.leave().await?;
    if read.is_err() || written.is_err() {
        eprintln!("{}", summary.text());
    }
    written.context(GOES_ON)?;
    read?;
    if json {
        print_json(&summary)?
    } else {
        print(summary.text())?
    }
    Ok(if summary.refused_ids + summary.refused_snapshots == 0 { Exit::Well } else { Exit::Found })
}

struct Import<'a> {
    stores: &'a Stores,
    watermarks: Watermarks,
    writer: Writer<'a>,
    current: Option<Entity>,
    progress: Progress,
    summary: Summary,
}

impl Import<'_> {
    async fn lines(&mut self, mut lines: Receiver<anyhow::Result<Line>>, name: &str) -> anyhow::Result<()> {
        while let Some(line) = lines.recv().await {
            let Line { number, text, read } = line?;
            self.line(&text).await.with_context(|| format!("{name}, line {number}"))?;
            self.progress.add(read);
        }
        Ok(())
    }

    async fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let about = json_lines::about(line)?;
        if self.current.as_ref().is_none_or(|entity| entity.id().as_str() != about) {
            let id = PersistenceId::parse(&about)?;
            if self.writer.is_pending(&id) {
                // Its lines stand in two places: it is to be found as far as it is.
                self.writer.flush().await.context(GOES_ON)?;
            }
            self.summary.ids += 1;
            self.current = Some(Entity::begin(self.stores, id).await.context(GOES_ON)?);
        }
        let Some(entity) = &mut self.current else { return Ok(()) };
        if entity.is_refused() {
            return Ok(());
        }
        let next = match json_lines::read(line, entity.id())? {
            LineItem::Event(event) => entity.event(event).await.context(GOES_ON)?,
            LineItem::Deleted { to } => entity.deleted(to).await.context(GOES_ON)?,
            LineItem::Erased { to } => entity.erased(to).await.context(GOES_ON)?,
            _ => {
                let snapshot = snapshot_line::read(line, entity.id())?;
                self.snapshot(snapshot).await.context(GOES_ON)?;
                return Ok(());
            }
        };
        match next {
            Next::Known => self.summary.known += 1,
            Next::Nothing => {}
            Next::Write(event) => {
                self.watermarks.event(&event).await?;
                self.writer.event(*event).await.context(GOES_ON)?;
                self.told();
            }
            Next::Delete(placeholders) => {
                let (id, to) = (entity.id().clone(), *placeholders.end());
                let mut count = 0;
                for seq_nr in placeholders.filter_map(SeqNr::new) {
                    self.writer.event(entity.placeholder(seq_nr)?).await.context(GOES_ON)?;
                    count += 1;
                }
                self.delete_to(&id, SeqNr::new(to).unwrap_or_default(), count).await.context(GOES_ON)?;
            }
            Next::Refuse(reason) => {
                entity.refuse();
                let id = entity.id().clone();
                self.writer.refuse(&id, reason);
                self.told();
            }
        }
        Ok(())
    }

    async fn delete_to(&mut self, id: &PersistenceId, to: SeqNr, placeholders: u64) -> anyhow::Result<()> {
        self.writer.flush().await?;
        self.told();
        if !self.writer.is_refused(id) {
            self.stores.journal.delete_to(id, to).await?;
            self.summary.deleted += to.get();
            // They were written and are gone.
            self.summary.events -= placeholders;
        }
        Ok(())
    }

    /// A snapshot is saved behind its events, and only where it belongs.
    async fn snapshot(&mut self, snapshot: annals_snapshot::Snapshot) -> anyhow::Result<()> {
        self.writer.flush().await?;
        self.told();
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        if self.writer.is_refused(&id) {
            return Ok(());
        }
        let head = self.stores.journal.head(&id).await?;
        let stored = self.stores.snapshots.load(&id, seq_nr).await.ok().flatten();
        let refusal = if seq_nr > head.seq_nr {
            Some(format!("the journal has its events up to {:?} only", head.seq_nr))
        } else if snapshot.key_id.is_some() {
            Some("it is sealed under a key of the journal that it comes from".to_owned())
        } else if stored.as_ref() == Some(&snapshot) {
            return Ok(());
        } else {
            let (manifest, version) = (&snapshot.manifest, snapshot.schema_version);
            self.watermarks.form(id.kind(), manifest, version).await?;
            match self.stores.snapshots.save(snapshot).await {
                Ok(()) => None,
                Err(error @ annals_snapshot::SnapshotError::Rejected { .. }) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        };
        match refusal {
            None => self.summary.snapshots += 1,
            Some(reason) => {
                self.summary.refused_snapshots += 1;
                self.progress.say(&format!("snapshot {seq_nr:?} of {id} is left out: {reason}"));
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let flushed = self.writer.flush().await;
        self.told();
        flushed
    }

    /// Takes over what the writer has done.
    fn told(&mut self) {
        self.summary.events += self.writer.take_written();
        for (id, reason) in self.writer.take_refused() {
            self.summary.refused_ids += 1;
            self.progress.say(&format!("{id} is left as it is: {reason}"));
            if let Some(entity) = self.current.as_mut().filter(|entity| *entity.id() == id) {
                entity.refuse();
            }
        }
    }
}

#[derive(Default, Serialize)]
struct Summary {
    ids: u64,
    /// New in the journal.
    events: u64,
    /// In the journal before.
    known: u64,
    /// Numbers that stand as deleted.
    deleted: u64,
    snapshots: u64,
    refused_ids: u64,
    refused_snapshots: u64,
}

impl Summary {
    fn text(&self) -> String {
        let Self { ids, events, known, deleted, snapshots, refused_ids, refused_snapshots } = self;
        let mut text =
            format!("{ids} ids: {events} events are new, {known} were there; {snapshots} snapshots");
        if *deleted > 0 {
            text += &format!("; {deleted} events stand as deleted");
        }
        if refused_ids + refused_snapshots > 0 {
            text += &format!("; left out: {refused_ids} ids, {refused_snapshots} snapshots");
        }
        text
    }
}

const GOES_ON: &str = "the import is not complete; run it again, it goes on where it was";
