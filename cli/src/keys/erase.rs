use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use annals_journal::encryption::{EraseError, Erased, ErasedScope, Eraser, ErasureLog, KeyScope, Logged};
use annals_journal::{PersistenceId, SeqNr};
use anyhow::Context as _;
use clap::ArgGroup;
use futures::TryStreamExt as _;
use serde::Serialize;

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::Selection;
use crate::stores::{JournalArgs, Stores};

/// Destroy the data keys of ids, so that nobody can ever read again what they sealed.
///
/// Without --apply it says what would be erased. With it the log has each id first; then the wrapped data key is destroyed, the id is taken
/// from whoever owns it, who is told that it was erased, and its snapshots are deleted. At the end the SQLite file is written anew and its
/// write-ahead log emptied, so that nothing is left of the wrapped keys there. Applications go on meanwhile; no master key is needed. What was
/// interrupted is done by the same command again. The log names ids and has no key: keep it where backups are not, and give
/// it to --from-log after a backup was restored.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, group(ArgGroup::new("which").required(true).multiple(true).args(["ids", "prefix", "scope", "from_log"])))]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    journal: JournalArgs,
    /// Erase this scope, and all of its ids: nothing is sealed in it any more
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ids", "prefix"])]
    scope: Option<KeyScope>,
    /// Where each erasure is noted; it is made, or added to
    #[arg(long, value_name = "FILE", required_unless_present = "from_log")]
    log: Option<PathBuf>,
    /// Erase again what this log says; a life that began later stays
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ids", "prefix", "scope", "log"])]
    from_log: Option<PathBuf>,
    /// Erase; otherwise it is only said what would be
    #[arg(long)]
    apply: bool,
    /// Do not write the SQLite file anew: faster, and older copies of the wrapped keys may stay in its gaps
    #[arg(long)]
    no_vacuum: bool,
    /// Print a JSON object for each id, and one with the totals
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals keys erase 'account|alice' --journal sqlite://bank.db --log erased.jsonl
  annals keys erase 'account|alice' --journal sqlite://bank.db --log erased.jsonl --apply
  annals keys erase --prefix 'account|test-' --journal sqlite://bank.db --log erased.jsonl --apply
  annals keys erase --scope tenant-7 --journal sqlite://bank.db --log erased.jsonl --apply
  annals keys erase --from-log erased.jsonl --journal sqlite://bank.db --apply     after a backup was restored

Exit codes: 0 all of it is erased, or would be; 1 ids cannot be erased, and are named with the reason; 2 wrong command line; 3 it could not \
be done, or not to its end: start it again";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores =
        if args.apply { args.journal.open_existing().await? } else { args.journal.open_read_only().await? };
    let done = Erasing::new(&args, &stores).run().await;
    stores.close().await;
    done
}

struct Erasing<'a> {
    args: &'a Args,
    stores: &'a Stores,
    eraser: Eraser,
    totals: Totals,
}

#[derive(Default, Serialize)]
struct Totals {
    applied: bool,
    ids: u64,
    erased: u64,
    /// They were erased before.
    were_erased: u64,
    refused: u64,
    snapshots: u64,
    vacuumed: bool,
}

/// What became of an id.
enum Done {
    Erased { to: u32, snapshots: u64 },
    WasErased { snapshots: u64 },
    Refused(String),
}

impl<'a> Erasing<'a> {
    fn new(args: &'a Args, stores: &'a Stores) -> Self {
        let eraser = Eraser::new(stores.stored_journal().clone(), stores.records.clone());
        Self { args, stores, eraser, totals: Totals { applied: args.apply, ..Totals::default() } }
    }

    async fn run(mut self) -> anyhow::Result<Exit> {
        if let Some(database) = self.stores.database().filter(|_| self.args.apply) {
            database.secure_delete().await?;
        }
        match (&self.args.from_log, &self.args.scope) {
            (Some(path), _) => self.again(path).await?,
            (None, Some(scope)) => self.scope(scope).await?,
            (None, None) => self.selected().await?,
        }
        if let Some(database) = self.stores.database().filter(|_| self.args.apply) {
            const AGAIN: &str = "the data keys are destroyed, and what is left of them in the file is not overwritten yet; start it again";
            if self.args.no_vacuum {
                database.empty_log().await.context(AGAIN)?;
            } else {
                database.scrub().await.context(AGAIN)?;
                self.totals.vacuumed = true;
            }
        }
        self.totals.print(self.args.json)?;
        Ok(if self.totals.refused == 0 { Exit::Well } else { Exit::Found })
    }

    async fn selected(&mut self) -> anyhow::Result<()> {
        let selection = &self.args.selection;
        let journal = self.stores.stored_journal();
        selection.check(&**journal).await?;
        let mut log = match &self.args.log {
            Some(path) if self.args.apply => Some(ErasureLog::open(path)?),
            _ => None,
        };
        let bar = Progress::towards(Some(selection.count(journal).await?), "ids");
        let mut ids = selection.stream(journal.clone());
        while let Some(id) = ids.try_next().await? {
            let done = match self.one(&id, log.as_mut()).await {
                Ok(done) => done,
                Err(Failed::Refused(why)) => Done::Refused(why),
                Err(Failed::Stopped(error)) => return Err(error).context(id.to_string()),
            };
            self.tell(&id, &done, &bar)?;
        }
        Ok(())
    }

    async fn scope(&mut self, scope: &KeyScope) -> anyhow::Result<()> {
        let ids = self.eraser.look_at_scope(scope).await?;
        let bar = Progress::towards(Some(ids.len() as u64), "ids");
        let mut newest = Vec::new();
        for id in &ids {
            match self.eraser.look(id).await {
                Ok(generation) => newest.push(generation),
                // One that cannot be erased keeps all of them.
                Err(error) => match Failed::from(error) {
                    Failed::Refused(why) => return self.tell(id, &Done::Refused(why), &bar),
                    Failed::Stopped(error) => return Err(error).context(id.to_string()),
                },
            }
        }
        let mut found: BTreeMap<_, _> = ids.into_iter().zip(newest).collect();
        if let Some(path) = self.args.log.as_ref().filter(|_| self.args.apply) {
            // Those that had their first key since are among them.
            for erased in self.eraser.erase_scope(scope, &mut ErasureLog::open(path)?).await? {
                found.entry(erased.persistence_id).or_insert(Some(erased.erased_to));
            }
        }
        for (id, newest) in found {
            let snapshots = self.snapshots(&id, SeqNr::MAX).await.map_err(Failed::into_error)?;
            let done = match newest {
                None => Done::WasErased { snapshots },
                Some(newest) => Done::Erased { to: newest.0, snapshots },
            };
            self.tell(&id, &done, &bar)?;
        }
        Ok(())
    }

    async fn one(&self, id: &PersistenceId, log: Option<&mut ErasureLog>) -> Result<Done, Failed> {
        let Some(newest) = self.eraser.look(id).await? else {
            // Who was interrupted may have left something.
            if let Some(log) = log {
                self.eraser.erase(id, log).await?;
            }
            return Ok(Done::WasErased { snapshots: self.snapshots(id, SeqNr::MAX).await? });
        };
        if let Some(log) = log {
            self.eraser.erase(id, log).await?;
        }
        Ok(Done::Erased { to: newest.0, snapshots: self.snapshots(id, SeqNr::MAX).await? })
    }

    async fn again(&mut self, path: &Path) -> anyhow::Result<()> {
        let logged = ErasureLog::read(path)?;
        let bar = Progress::towards(Some(logged.len() as u64), "lines");
        for line in logged {
            let erased = match line {
                Logged::Id(erased) => erased,
                Logged::Scope(erased) => {
                    self.scope_again(&erased, &bar).await?;
                    continue;
                }
            };
            let id = erased.persistence_id.clone();
            let done = match self.one_again(&erased).await {
                Ok(done) => done,
                Err(Failed::Refused(why)) => Done::Refused(why),
                Err(Failed::Stopped(error)) => return Err(error).context(id.to_string()),
            };
            self.tell(&id, &done, &bar)?;
        }
        Ok(())
    }

    async fn scope_again(&self, erased: &ErasedScope, bar: &Progress) -> anyhow::Result<()> {
        let was_erased = self.eraser.is_scope_erased(erased).await?;
        if self.args.apply {
            self.eraser.erase_scope_again(erased).await?;
        }
        bar.add(1);
        let scope = &erased.scope;
        if self.args.json {
            let json = serde_json::json!({"scope": scope.as_str(), "was_erased": was_erased});
            return Ok(bar.print_json(&json)?);
        }
        let what = match (was_erased, self.args.apply) {
            (true, _) => "was erased",
            (false, true) => "erased",
            (false, false) => "would be erased",
        };
        Ok(bar.print(format!("scope {scope}: {what}"))?)
    }

    async fn one_again(&self, erased: &Erased) -> Result<Done, Failed> {
        let id = &erased.persistence_id;
        let was_erased = self.eraser.is_erased(erased).await?;
        let to = match self.args.apply {
            true => self.eraser.erase_again(erased).await?,
            false => SeqNr::ZERO,
        };
        let snapshots = self.snapshots(id, to).await?;
        Ok(if was_erased {
            Done::WasErased { snapshots }
        } else {
            Done::Erased { to: erased.erased_to.0, snapshots }
        })
    }

    /// Deletes the snapshots of what was erased.
    async fn snapshots(&self, id: &PersistenceId, to: SeqNr) -> Result<u64, Failed> {
        let snapshots = self.stores.stored_snapshots();
        let dead = snapshots.list(id).await.map_err(|error| Failed::Stopped(error.into()))?;
        let dead = dead.into_iter().filter(|seq_nr| *seq_nr <= to).count() as u64;
        if dead > 0 && self.args.apply {
            let all = SeqNr::FIRST..=to;
            snapshots.delete(id, all).await.map_err(|error| Failed::Stopped(error.into()))?;
        }
        Ok(dead)
    }

    fn tell(&mut self, id: &PersistenceId, done: &Done, bar: &Progress) -> anyhow::Result<()> {
        bar.add(1);
        self.totals.ids += 1;
        let would = if self.args.apply { "" } else { "would be " };
        let (text, json) = match done {
            Done::Erased { to, snapshots } => {
                self.totals.erased += 1;
                self.totals.snapshots += snapshots;
                (
                    format!(
                        "{id}: {would}erased, up to generation {to} of its data key; {snapshots} snapshots"
                    ),
                    serde_json::json!({"erased": id.as_str(), "generation": to, "snapshots": snapshots}),
                )
            }
            Done::WasErased { snapshots } => {
                self.totals.were_erased += 1;
                self.totals.snapshots += snapshots;
                (
                    format!("{id}: was erased; {snapshots} snapshots were left"),
                    serde_json::json!({"was_erased": id.as_str(), "snapshots": snapshots}),
                )
            }
            Done::Refused(why) => {
                self.totals.refused += 1;
                (format!("not erased: {why}"), serde_json::json!({"refused": id.as_str(), "what": why}))
            }
        };
        if self.args.json {
            bar.print_json(&json)?
        } else {
            bar.print(text)?
        }
        Ok(())
    }
}

impl Totals {
    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            return Ok(print_json(&serde_json::json!({"totals": self}))?);
        }
        let Self { erased, were_erased, refused, snapshots, .. } = self;
        if !self.applied {
            return Ok(print(format!(
                "{erased} ids and {snapshots} snapshots would be erased, {were_erased} were before, {refused} cannot be; nothing is done, --apply does"
            ))?);
        }
        print(format!(
            "{erased} ids erased, {were_erased} were before, {refused} refused; {snapshots} snapshots deleted{}",
            if self.vacuumed { "; the file was written anew" } else { "" }
        ))?;
        Ok(print(
            "backups of this journal still have these keys: destroy them, or the master keys that they need",
        )?)
    }
}

/// Why an id was not erased.
enum Failed {
    /// It is not to be; the others are.
    Refused(String),
    /// Nothing more can be done.
    Stopped(anyhow::Error),
}

impl Failed {
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Refused(why) => anyhow::anyhow!(why),
            Self::Stopped(error) => error,
        }
    }
}

impl From<EraseError> for Failed {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::NotSealed { .. } | EraseError::InTheClear { .. } => Self::Refused(error.to_string()),
            other => Self::Stopped(other.into()),
        }
    }
}
