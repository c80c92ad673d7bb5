use clap::{Parser, Subcommand};

use crate::{events, export, import, inspect, keys, migrate, schema, verify};

/// Looks at a journal of Annals, moves it, and checks it.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
pub(crate) enum Command {
    Inspect(inspect::Args),
    Events(events::Args),
    Export(export::Args),
    Import(import::Args),
    Verify(verify::Args),
    Schema(schema::Args),
    Migrate(migrate::Args),
    Keys(keys::Args),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and all is well
  1  done, and something was found or left out: it is named
  2  the command line is wrong
  3  it could not be done: the journal cannot be opened, the id is unknown, a file cannot be read

Every command has an example: annals COMMAND --help";
