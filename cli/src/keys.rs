mod allow;
mod encrypt;
mod erase;
mod generate;
mod rekey;
mod resealing;
mod rotate;
mod status;

use crate::exit::Exit;

/// Make master keys, move a journal to new ones, see which are used, seal what is there, replace data keys, and erase ids.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Allow(allow::Args),
    Encrypt(encrypt::Args),
    Erase(erase::Args),
    Generate(generate::Args),
    Rekey(rekey::Args),
    Rotate(rotate::Args),
    Status(status::Args),
}

const EXAMPLE: &str = "\
Examples:
  annals keys generate ring.json
  annals keys encrypt --journal sqlite://bank.db --keys file:ring.json --all
  annals keys rotate --journal sqlite://bank.db --keys file:ring.json
  annals keys rekey --journal sqlite://bank.db --keys file:ring.json 'account|alice'
  annals keys status --journal sqlite://bank.db
  annals keys erase 'account|alice' --journal sqlite://bank.db --log erased.jsonl --apply
  annals keys allow 'account|alice' --journal sqlite://bank.db";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::Allow(args) => allow::run(args).await,
        Command::Encrypt(args) => encrypt::run(args).await,
        Command::Erase(args) => erase::run(args).await,
        Command::Generate(args) => generate::run(&args),
        Command::Rekey(args) => rekey::run(args).await,
        Command::Rotate(args) => rotate::run(args).await,
        Command::Status(args) => status::run(args).await,
    }
}
