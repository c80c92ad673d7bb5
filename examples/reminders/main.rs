//! Invoices that are reminded of when they are due, whatever happens to the process in between.
//!
//! ```text
//! cargo run --example reminders -- --journal sqlite://invoices.db
//! issue i-1 1767225600000000     an invoice that is due then, in microseconds since 1970
//! pay i-1
//! ```
//!
//! It reads commands from standard input and answers each on standard output when it is on disk: `issued i-1`, `paid i-1`,
//! `failed i-1 rejected …` with the reason, or `failed i-1 …`; then send the same line again, it counts once. Lines are
//! carried out side by side: pay when it is issued. `ready` says that it has begun, `reminding i-1` that
//! a reminder is being sent; what came of that is in the journal. End it with the end of its input, or as you like.
//!
//! | file | what |
//! |---|---|
//! | `invoice.rs` | the aggregate: decides whether a reminder still means something |
//! | `schedule.rs` | what is to come: records by time, and the task that sends what is due |

mod invoice;
mod schedule;

use std::io::Write as _;
use std::process::ExitCode;

use annals::prelude::*;
use anyhow::Context as _;
use clap::Parser;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;

use invoice::{Invoice, Issue, Pay};
use schedule::Schedule;

/// Reads `issue ID MICROSECONDS` and `pay ID` from standard input and reminds of what is due and not paid.
#[derive(Debug, Parser)]
#[command(
    name = "reminders",
    after_help = "Example:\n  echo 'issue i-1 1767225600000000' | reminders --journal sqlite://invoices.db\n\n\
                  Times are microseconds since 1970. Each line is answered when it is on disk."
)]
struct Options {
    /// Where the events are: sqlite://PATH, or memory: to forget everything on exit.
    #[arg(long, value_name = "URL", default_value = "sqlite://invoices.db")]
    journal: String,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<()> {
    let node = Annals::builder("invoices")
        .journal(&options.journal)
        .entity::<Invoice>()
        .start()
        .await
        .context("cannot start; see --journal")?;
    let schedule = Schedule::new(node.clone(), |id| say(&format!("reminding {id}")));
    say("ready");
    let driver = tokio::spawn(schedule.clone().run());

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut under_way = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        while under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let (node, schedule) = (node.clone(), schedule.clone());
        under_way.spawn(async move {
            say(&match carry_out(&node, &schedule, &line).await {
                Ok(answer) => answer,
                Err(error) => format!("failed {} {error:#}", line.split(' ').nth(1).unwrap_or(&line)),
            });
        });
    }
    while under_way.join_next().await.is_some() {}
    driver.abort();
    node.shutdown().await;
    Ok(())
}

/// Commands that are carried out at a time; more wait in the pipe.
const AT_ONCE: usize = 64;

async fn carry_out(node: &Node, schedule: &Schedule, line: &str) -> anyhow::Result<String> {
    match *line.split(' ').collect::<Vec<_>>() {
        ["issue", id, due] => {
            let due = Timestamp::from_micros(due.parse().context("the time is no number of microseconds")?);
            // In this order: a crash in between leaves a reminder of nothing, not an invoice that nobody is reminded of.
            schedule.add(id, due).await?;
            node.entity::<Invoice>(id).ask(Issue { due: due.as_micros() }).await?;
            Ok(format!("issued {id}"))
        }
        ["pay", id] => {
            node.entity::<Invoice>(id).ask(Pay).await?;
            Ok(format!("paid {id}"))
        }
        _ => anyhow::bail!("write `issue ID MICROSECONDS` or `pay ID`"),
    }
}

fn say(line: &str) {
    // Whoever does not listen any more need not be told.
    let _ = writeln!(std::io::stdout(), "{line}");
}
