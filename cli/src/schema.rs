mod hold;
mod release;

use clap::Subcommand;

use crate::exit::Exit;

/// The versions of events that are stored and written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLE: &str = "\
Example:
  annals schema hold account.withdrawn 2 --journal sqlite://bank.db";

#[derive(Debug, Subcommand)]
enum Action {
    Hold(hold::Args),
    Release(release::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Action::Hold(args) => hold::run(args).await,
        Action::Release(args) => release::run(args).await,
    }
}
