mod generate;

use crate::exit::Exit;

/// Make master keys.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Generate(generate::Args),
}

const EXAMPLE: &str = "\
Example:
  annals keys generate ring.json";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::Generate(args) => generate::run(&args),
    }
}
