//! The command `annals`. Everything it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    annals_cli::run(annals_cli::Arguments::parse())
}
