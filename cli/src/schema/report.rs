use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals_migrations::{Form, LockFile, Versions};
use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use serde_json::json;

use super::stored::{Entity, Of, Stored, look_at};
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::{Selection, at_a_time};
use crate::key_sources::OptionalKeyArgs;
use crate::stores::{JournalArgs, KeyedJournalArgs, Stores};
use crate::table::{Align, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    ids: Selection,
    /// Not needed by the commands below it.
    #[command(flatten)]
    journal: Option<JournalArgs>,
    // Beside it: keys that the environment names do not ask for a journal.
    #[command(flatten)]
    keys: OptionalKeyArgs,
    /// Say what the build with this lock file reads and does not
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Print a line for each manifest, version and id instead
    #[arg(long = "ids")]
    list_ids: bool,
    /// Print one JSON object; with --ids one for each line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ReportArgs) -> anyhow::Result<Exit> {
    let lock = args.lock.as_deref().map(Lock::read).transpose()?;
    let Some(journal) = &args.journal else { bail!("which journal? give --journal URL") };
    let journal = KeyedJournalArgs::new(journal.clone(), args.keys.clone());
    let stores = journal.open_read_only().await?;
    let told = report(&args, lock.as_ref(), &stores).await;
    stores.close().await;
    told
}

async fn report(args: &ReportArgs, lock: Option<&Lock>, stores: &Stores) -> anyhow::Result<Exit> {
    args.ids.check(&*stores.journal).await?;
    let total = args.ids.count(&stores.journal).await?;
    let progress = Progress::towards(Some(total), "ids").unless_lines_are_read(args.list_ids);
    let mut entities = args
        .ids
        .stream(stores.stored_journal().clone())
        .map_ok(|id| look_at(stores.clone(), id))
        .try_buffered(at_a_time());
    let mut report = Report { lock, all: BTreeMap::new(), unreadable: 0, unknown_lists: 0 };
    while let Some(entity) = entities.try_next().await? {
        progress.add(1);
        if args.list_ids {
            report.print_id(args, &entity)?;
        }
        report.add(entity);
    }
    drop(progress);
    if !args.list_ids {
        if args.json {
            print_json(&report.json(args))?;
        } else {
            report.text()?;
        }
    }
    let well = report.unreadable == 0 && report.not_read() == 0;
    Ok(if well { Exit::Well } else { Exit::Found })
}

/// What a build reads.
struct Lock {
    versions: Vec<Versions>,
}

impl Lock {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("--lock {}", path.display());
        let text = fs::read_to_string(path).with_context(place)?;
        Ok(Self { versions: LockFile::parse(&text).with_context(place)?.versions() })
    }

    /// `Ok`: it reads the form; otherwise why not.
    fn reads(&self, form: &Form) -> Result<(), String> {
        match self.versions.iter().find(|of| of.manifest == form.manifest) {
            None => Err("no: unknown".to_owned()),
            Some(of) if of.reads(form) => Ok(()),
            Some(of) if of.reads.start() == of.reads.end() => Err(format!("no: reads {}", of.reads.start())),
            Some(of) => Err(format!("no: reads {} to {}", of.reads.start(), of.reads.end())),
        }
    }
}

struct Report<'a> {
    lock: Option<&'a Lock>,
    all: BTreeMap<(Of, Form), Stored>,
    unreadable: u64,
    /// Sealed lists, whose parts are not seen.
    unknown_lists: u64,
}

impl Report<'_> {
    fn add(&mut self, entity: Entity) {
        self.unreadable += entity.unreadable;
        self.unknown_lists += entity.sealed_lists;
        for (key, stored) in entity.stored {
            self.all.entry(key).and_modify(|all| all.add(&stored)).or_insert(stored);
        }
    }

    fn reads(&self, form: &Form) -> Option<Result<(), String>> {
        Some(self.lock?.reads(form))
    }

    /// Forms that the lock file does not read.
    fn not_read(&self) -> usize {
        self.all.keys().filter(|(_, form)| matches!(self.reads(form), Some(Err(_)))).count()
    }

    fn print_id(&self, args: &ReportArgs, entity: &Entity) -> anyhow::Result<()> {
        for ((of, form), stored) in &entity.stored {
            if args.json {
                let mut line = self.line(*of, form, stored);
                line["persistence_id"] = entity.id.to_string().into();
                print_json(&line)?;
            } else {
                let Stored { count, .. } = stored;
                let reads = self.reads(form).map_or(String::new(), |reads| format!("  {}", told(&reads)));
                print(format!("{}  {of}  {form}  {count}{reads}", entity.id))?;
            }
        }
        Ok(())
    }

    fn line(&self, of: Of, form: &Form, stored: &Stored) -> serde_json::Value {
        let mut line = json!({
            "of": of.to_string(), "manifest": form.manifest.as_str(), "version": form.version, "count": stored.count,
            "ids": stored.ids, "oldest": stored.oldest.to_string(), "newest": stored.newest.to_string(),
        });
        if let Some(reads) = self.reads(form) {
            line["read"] = reads.is_ok().into();
        }
        line
    }

    fn json(&self, args: &ReportArgs) -> serde_json::Value {
        let lines = self.all.iter().map(|((of, form), stored)| self.line(*of, form, stored));
        let mut all = json!({
            "journal": args.journal.as_ref().map(|of| of.journal.to_string()), "stored": lines.collect::<Vec<_>>(),
            "unreadable": self.unreadable, "sealed_lists": self.unknown_lists,
        });
        if self.lock.is_some() {
            all["not_read"] = self.not_read().into();
        }
        all
    }

    fn text(&self) -> anyhow::Result<()> {
        let mut table = Table::new([
            ("of", Align::Left),
            ("manifest", Align::Left),
            ("version", Align::Right),
            ("count", Align::Right),
            ("ids", Align::Right),
            ("oldest", Align::Left),
            ("newest", Align::Left),
            (if self.lock.is_some() { "read" } else { "" }, Align::Left),
        ]);
        for ((of, form), stored) in &self.all {
            table.row([
                of.to_string(),
                form.manifest.to_string(),
                form.version.to_string(),
                stored.count.to_string(),
                stored.ids.to_string(),
                stored.oldest.to_string(),
                stored.newest.to_string(),
                self.reads(form).map_or(String::new(), |reads| told(&reads)),
            ]);
        }
        table.lines().try_for_each(print)?;
        if self.unreadable > 0 {
            print(format!(
                "{} events or snapshots cannot be read: `annals verify` names them",
                self.unreadable
            ))?;
        }
        if self.unknown_lists > 0 {
            print(format!(
                "{} lists of events are sealed: what is in them is not counted",
                self.unknown_lists
            ))?;
        }
        match (self.lock, self.not_read()) {
            (None, _) => {}
            (Some(_), 0) => print("the build with this lock file reads all of it")?,
            (Some(_), forms) => print(format!(
                "the build with this lock file does not read {forms} of these forms, and does not start on this journal; \
                 `annals schema --ids` says where they are, and a rewriting (`migrate rewrite --to`) brings them down"
            ))?,
        }
        Ok(())
    }
}

fn told(reads: &Result<(), String>) -> String {
    match reads {
        Ok(()) => "yes".to_owned(),
        Err(why) => why.clone(),
    }
}
