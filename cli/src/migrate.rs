mod copy;
mod legacy;
mod rewrite;

use crate::exit::Exit;

/// Bring events into a journal, a journal to another place, or what it holds to other versions.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLE: &str = "\
Examples:
  annals migrate legacy old.jsonl --mapping mapping.toml --journal sqlite://bank.db
  annals migrate copy sqlite://bank.db sqlite://new.db
  annals migrate rewrite --program ./bank --journal sqlite://bank.db --to release-2.schemas.lock";

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
enum Action {
    Copy(copy::Args),
    Legacy(legacy::Args),
    Rewrite(rewrite::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Action::Copy(args) => Box::pin(copy::run(args)).await,
        Action::Legacy(args) => Box::pin(legacy::run(args)).await,
        Action::Rewrite(args) => rewrite::run(&args),
    }
}
