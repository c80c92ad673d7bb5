//! Everything that CI does: `cargo xtask test`.
//!
//! `test` runs the steps of [`steps::ALL`] one after the other; each is a function from a [`step::Context`] to an
//! [`step::Outcome`].

mod budget;
mod cargo_output;
mod command;
mod full_run;
mod licence;
mod machine;
mod markdown;
mod metadata;
mod search;
mod step;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::workspace::Workspace;

/// Everything that CI does.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", after_help = EXIT_CODES)]
enum Command {
    /// Runs every check and every test.
    Test(test::Args),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let result = Workspace::of_this_cargo().and_then(|workspace| match command {
        Command::Test(args) => test::run(&workspace, &args),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

const FAILED: u8 = 1;
const COULD_NOT_RUN: u8 = 3;
const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 a step failed; \
2 the command line is wrong; 3 nothing could be run (no cargo, no workspace, no git).";
