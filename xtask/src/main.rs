//! Everything that CI does: `cargo xtask test` and `cargo xtask bench`; `cargo xtask services`, the servers that tests use,
//! `cargo xtask simulate`, clusters on virtual time, and `cargo xtask conformance`, the page that says what each backend keeps.
//!
//! `test` runs the steps of [`steps::ALL`] one after the other; each is a function from a [`step::Context`] to an
//! [`step::Outcome`]. `bench` builds and runs the benches of the root package and joins their results.

mod bench;
mod budget;
mod cargo_output;
mod command;
mod conformance;
mod full_run;
mod licence;
mod machine;
mod markdown;
mod metadata;
mod rust_source;
mod search;
mod services;
mod simulate;
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
    /// Measures Annals beside the bare limits of the machine.
    Bench(bench::Args),
    /// Starts and stops the servers that tests use; `test` does it by itself.
    Services(services::Args),
    /// Runs the conformance suites over every backend and writes docs/conformance.md.
    Conformance,
    /// Simulates clusters on virtual time, with all that can go wrong.
    Simulate(simulate::Args),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let result = Workspace::of_this_cargo().and_then(|workspace| match command {
        Command::Test(args) => test::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Services(args) => services::run(&workspace, &args),
        Command::Conformance => conformance::run(&workspace),
        Command::Simulate(args) => simulate::simulate(&args),
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
const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 a step failed, or a bench could not be run to its end (never: \
a bench was slow); 2 the command line is wrong; 3 nothing could be run (no cargo, no workspace, no git).";
