mod hold;
mod release;
mod report;
mod stored;

use clap::Subcommand;

use crate::exit::Exit;

/// Tell which versions of events and states are stored, and what a build's lock file reads of them.
///
/// A line for each manifest and version: how many, of how many ids, the oldest and the newest, of events and of snapshots. Reads every
/// header once and opens no payload but those of lists that a rewriting made: keys are needed for these alone.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(flatten)]
    report: report::ReportArgs,
    #[command(subcommand)]
    action: Option<Action>,
}

const EXAMPLE: &str = "\
Examples:
  annals schema --journal sqlite://bank.db
  annals schema --journal sqlite://bank.db --lock schemas.lock
  annals schema --journal sqlite://bank.db --ids --json | jq 'select(.manifest == \"account.booked\")'
  annals schema hold account.withdrawn 2 --journal sqlite://bank.db

Exit codes: 0 told, and the lock file reads all of it; 1 it does not, or some events cannot be read; 2 wrong command line; 3 the \
journal or the lock file cannot be opened, or the journal has no such id";

#[derive(Debug, Subcommand)]
enum Action {
    Hold(hold::Args),
    Release(release::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Some(Action::Hold(args)) => hold::run(args).await,
        Some(Action::Release(args)) => release::run(args).await,
        None => report::run(args.report).await,
    }
}
