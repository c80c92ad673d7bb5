mod told;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use annals_migrations::LockFile;
use annals_migrations::rewrite::{RewriteSettings, Rewriter, Rewriting, Target};
use anyhow::{Context as _, bail};

use crate::console::Progress;
use crate::exit::{self, Exit};
use crate::stores::{KeyedJournalArgs, Stores};

/// `migrate` in an application's own command line, with what needs its steps between versions.
///
/// ```
/// use clap::Parser;
///
/// #[derive(Parser)]
/// enum Application {
///     Serve,
///     #[command(subcommand)]
///     Migrate(annals_cli::Migrate),
/// }
///
/// # let args = ["bank", "migrate", "rewrite", "--journal", "sqlite://bank.db"];
/// # let application = Application::parse_from(args);
/// # fn rewriter() -> annals_migrations::rewrite::Rewriter { Default::default() }
/// # async fn run(application: Application) -> std::process::ExitCode {
/// match application {
///     Application::Serve => std::process::ExitCode::SUCCESS, // …
///     Application::Migrate(what) => annals_cli::migrate(what, rewriter()).await,
/// }
/// # }
/// # drop(run(application));
/// ```
#[derive(Debug, clap::Subcommand)]
pub enum Migrate {
    /// Bring the events and snapshots of a journal to the versions of this build, or down to those of an older one.
    Rewrite(RewriteArgs),
}

/// What `migrate rewrite` is told.
///
/// Each event and snapshot becomes what this build would store of it today, in its place: id, number, offset, time stamp and tags stay. An
/// event that is none or several today becomes one record that holds a list. Without --apply it only counts. With it, applications may run
/// and write meanwhile; run it again at any time, also after it was killed, and it does the rest.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct RewriteArgs {
    #[command(flatten)]
    journal: KeyedJournalArgs,
    /// Bring down what the build with this lock file does not read
    #[arg(long, value_name = "LOCKFILE")]
    to: Option<PathBuf>,
    /// Rewrite; otherwise only count
    #[arg(long)]
    apply: bool,
    /// Also bring down what loses something on the way; otherwise it is named and left as it is
    #[arg(long, requires = "to")]
    allow_loss: bool,
    /// Look at no more than so many events a second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Wait so long for processes that stand against it; one that was killed does for its lease, which is 30 s
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    wait: u64,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) const EXAMPLE: &str = "\
Examples, of the application as `annals migrate rewrite --program ./bank` runs it:
  bank migrate rewrite --journal sqlite://bank.db
  bank migrate rewrite --journal sqlite://bank.db --apply --rate 5000
  bank migrate rewrite --journal sqlite://bank.db --to release-2.schemas.lock --apply

On the way down, whoever runs writes nothing from the beginning on that the lock file does not read. Afterwards nothing forbids it but a hold \
(`annals schema hold`), so builds that would store it again must be stopped or held first.

Exit codes: 0 all is as it should be (a dry run: can be); 1 something was left as it is, or somebody stands in the way, and is named; \
2 wrong command line; 3 not done, or not to the end: run it again to go on";

/// Does what `migrate` of an application's own command line says, with the kinds that it hosts: `rewriter()` of its node's builder. Says on
/// standard output what was done and on standard error what went wrong; the codes are those of [`run`](crate::run).
///
/// # Cancel safety
/// One that is dropped was killed: run it again.
pub async fn migrate(what: Migrate, rewriter: Rewriter) -> ExitCode {
    let Migrate::Rewrite(args) = what;
    let done = tokio::select! {
        done = Box::pin(rewrite(&args, rewriter)) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted: {AGAIN}")),
    };
    exit::code(done)
}

impl RewriteArgs {
    /// The words of a command line that say the same.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = self.journal.words();
        let mut say = |name: &str, value: Option<OsString>| {
            words.push(name.into());
            words.extend(value);
        };
        if let Some(path) = &self.to {
            say("--to", Some(path.into()));
        }
        for (name, is_said) in
            [("--apply", self.apply), ("--allow-loss", self.allow_loss), ("--json", self.json)]
        {
            if is_said {
                say(name, None);
            }
        }
        if let Some(rate) = self.rate {
            say("--rate", Some(rate.to_string().into()));
        }
        say("--wait", Some(self.wait.to_string().into()));
        words
    }

    fn target(&self) -> anyhow::Result<Target> {
        let Some(path) = &self.to else { return Ok(Target::Newest) };
        let place = || format!("--to {}", path.display());
        let text = std::fs::read_to_string(path).with_context(place)?;
        let lock = LockFile::parse(&text).with_context(place)?;
        Ok(Target::readable_by(lock.versions()))
    }
}

async fn rewrite(args: &RewriteArgs, rewriter: Rewriter) -> anyhow::Result<Exit> {
    let target = args.target()?;
    if !args.apply {
        let stores = args.journal.open_read_only_whole().await?;
        let progress = Progress::towards(None, "events");
        let planned = rewriting(args, &stores, rewriter, target).plan(&|count| progress.add(count)).await;
        drop(progress);
        stores.close().await;
        return told::planned(args, &planned?);
    }
    let stores = args.journal.open_whole().await?;
    let progress = Progress::towards(None, "events");
    let waits = |reason: &str| progress.say(&format!("waiting: {reason}"));
    let rewriting = rewriting(args, &stores, rewriter, target);
    let rewritten = Box::pin(rewriting.apply(&|count| progress.add(count), &waits)).await;
    drop(progress);
    stores.close().await;
    match rewritten {
        Ok(rewrote) => told::rewritten(args, &rewrote),
        Err(error) => bail!(anyhow::Error::from(error).context(format!("not rewritten to its end; {AGAIN}"))),
    }
}

fn rewriting(args: &RewriteArgs, stores: &Stores, rewriter: Rewriter, target: Target) -> Rewriting {
    let settings = RewriteSettings { events_per_second: args.rate, allow_loss: args.allow_loss };
    let Stores { journal, records, snapshots, .. } = stores.clone();
    Rewriting::new(journal, records, snapshots, rewriter, target)
        .settings(settings)
        .wait(Duration::from_secs(args.wait))
}

const AGAIN: &str = "run it again, it does the rest";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        rewrite: RewriteArgs,
    }

    #[test]
    fn the_words_say_the_same_again() {
        let lines: [&[&str]; 3] = [
            &["--journal", "sqlite://a.db"],
            &[
                "--journal",
                "sqlite://a.db?busy_timeout_ms=5",
                "--to",
                "b.lock",
                "--apply",
                "--allow-loss",
                "--json",
            ],
            &[
                "--journal=sqlite://a.db",
                "--keys",
                "file:r.json",
                "--keys",
                "env:OLD",
                "--rate",
                "7",
                "--wait",
                "3",
            ],
        ];
        for line in lines {
            let said = Line::parse_from([&["x"], line].concat()).rewrite;
            let again = Line::parse_from([vec!["x".into()], said.words()].concat()).rewrite;
            assert_eq!(again, said);
        }
    }
}
