//! What the three builds have in common: the commands, and a process that reads them, a line each.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use annals::Builder;
use annals::actors::Lists;
use annals::prelude::*;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Puts a parcel on the scales.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Weigh {
    pub(crate) grams: u64,
}

/// Asks what is known of a parcel.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Look;

/// What every build can say of a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) grams: Vec<u64>,
    pub(crate) insured_cents: u64,
}

/// Reads `weigh ID GRAMS`, `look ID`, `insure ID CENTS` and `writes` from standard input.
#[derive(Debug, Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  echo 'weigh p-1 500' | rollout_v1 --journal sqlite://parcels.db
  rollout_v3 migrate rewrite --journal sqlite://parcels.db --to schemas.v2.lock"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change what is stored.
    #[command(subcommand)]
    Migrate(annals_cli::Migrate),
}

#[derive(Debug, Args)]
struct Options {
    /// Where the events are: sqlite://PATH.
    #[arg(long, value_name = "URL", default_value = "sqlite://parcels.db")]
    journal: String,
    /// Writes this manifest in no version above this one; may be given several times.
    #[arg(long, value_name = "MANIFEST=VERSION", value_parser = held)]
    hold: Vec<(String, u32)>,
    /// Starts although events of this manifest are stored that this build cannot read; may be given several times.
    #[arg(long, value_name = "MANIFEST")]
    allow_unreadable: Vec<String>,
    /// For how long others count with this process after its last sign of life, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    lease_ms: u64,
}

fn held(text: &str) -> anyhow::Result<(String, u32)> {
    let (manifest, version) = text.split_once('=').context("write MANIFEST=VERSION")?;
    Ok((manifest.to_owned(), version.parse()?))
}

/// Serves a build's parcels until the end of the input, or rewrites them.
#[tokio::main]
pub(crate) async fn run<P, A>(answer: A) -> ExitCode
where
    P: PersistentActor,
    A: AsyncFn(&Node, &[&str]) -> Option<String>,
{
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Arguments { command, options } = Arguments::parse();
    let parcels =
        Annals::builder("parcels").kind(Kind::<P>::new().snapshots(SnapshotPolicy::every_events(3)));
    let done = match command {
        None => serve(parcels, &options, answer).await,
        Some(Command::Migrate(what)) => match parcels.rewriter() {
            Ok(rewriter) => return annals_cli::migrate(what, rewriter).await,
            Err(error) => Err(error.into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<A>(parcels: Builder, options: &Options, answer: A) -> anyhow::Result<()>
where
    A: AsyncFn(&Node, &[&str]) -> Option<String>,
{
    let mut builder = parcels.journal(&options.journal).lease(Duration::from_millis(options.lease_ms));
    for (manifest, version) in &options.hold {
        builder = builder.hold(manifest, *version);
    }
    for manifest in &options.allow_unreadable {
        builder = builder.allow_unreadable(manifest);
    }
    let node = builder.start().await?;
    say("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<_> = line.split(' ').collect();
        say(&match *words {
            ["writes"] => writes(&node),
            _ => answer(&node, &words).await.unwrap_or_else(|| format!("unknown {line}")),
        });
    }
    node.shutdown().await;
    Ok(())
}

/// Answers what every build is asked.
pub(crate) async fn weigh_or_look<P, W, L>(node: &Node, words: &[&str]) -> Option<String>
where
    P: PersistentActor<Commands: Lists<Weigh, W> + Lists<Look, L>>
        + Handle<Weigh, Reply = (), Rejection = NeverRejected>
        + Handle<Look, Reply = Seen, Rejection = NeverRejected>,
{
    Some(match *words {
        ["weigh", id, grams] => {
            let weigh = Weigh { grams: grams.parse().ok()? };
            match node.entity::<P>(id).ask(weigh).await {
                Ok(()) => format!("weighed {id} {grams}"),
                Err(error) => format!("failed {id} {grams} {error}"),
            }
        }
        ["look", id] => match node.entity::<P>(id).ask(Look).await {
            Ok(seen) => format!("seen {id} {}", serde_json::to_string(&seen).ok()?),
            Err(error) => format!("failed {id} {error}"),
        },
        _ => return None,
    })
}

/// Which version of each manifest is written now, or `-` for what nobody may write.
fn writes(node: &Node) -> String {
    let forms = node.written_forms().into_iter().map(|written| match written.form {
        Ok(form) => format!(" {}={}", written.manifest, form.version),
        Err(_) => format!(" {}=-", written.manifest),
    });
    format!("writes{}", forms.collect::<String>())
}

fn say(line: &str) {
    // Whoever does not listen any more need not be told.
    let _ = writeln!(std::io::stdout(), "{line}");
}
