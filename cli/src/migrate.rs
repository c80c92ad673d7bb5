mod legacy;

use crate::exit::Exit;

/// Move a journal's events to where, or to how, they should be.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLE: &str = "\
Example:
  annals migrate legacy old.jsonl --mapping mapping.toml --journal sqlite://bank.db";

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
enum Action {
    Legacy(legacy::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Action::Legacy(args) => Box::pin(legacy::run(args)).await,
    }
}
