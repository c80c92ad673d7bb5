//! A recorded journal as a test: does history still mean the same to the code of today?
//!
//! ```text
//! cargo test --example replay_in_tests --features testing            the tests at the end of this file
//! cargo run  --example replay_in_tests --features testing            what they look like when they pass, and when not
//! cargo run  --example replay_in_tests --features testing -- record  records another journal
//! ANNALS_REPLAY=overwrite cargo test --example replay_in_tests --features testing history
//!                                                   takes the states of today as the expected ones
//! ```
//!
//! `loans.jsonl` is a journal as [`annals::testing::export`] writes it, `loans.states.jsonl` has the states that its entities had
//! when somebody last looked at them. In an application of yours the recording comes from production, cut and masked.

mod changed;
mod loan;
mod record;

use std::path::PathBuf;

use annals::testing::{Replay, ReplayError, ReplayReport};
use clap::{Parser, Subcommand};

use crate::changed::ChangedLoan;
use crate::loan::Loan;

/// Replays a recorded journal through today's code, and through code in which `apply` means something else.
#[derive(Debug, Parser)]
#[command(
    name = "replay_in_tests",
    after_help = "The tests that do it: cargo test --example replay_in_tests --features testing"
)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record `loans.jsonl` anew instead.
    Record,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(Command::Record) = Options::parse().command {
        let events = record::record(&file("loans.jsonl")).await?;
        println!("recorded {events} events; run the tests with ANNALS_REPLAY=overwrite");
        return Ok(());
    }
    println!("Today's code: {}", today()?);
    println!("Code in which `apply` means something else: {}", changed()?);
    Ok(())
}

fn today() -> Result<ReplayReport, ReplayError> {
    Replay::<Loan>::of(file("loans.jsonl")).expecting(file("loans.states.jsonl")).run()
}

fn changed() -> Result<ReplayReport, ReplayError> {
    let replay = Replay::<ChangedLoan>::of(file("loans.jsonl")).expecting(file("loans.states.jsonl"));
    // Whatever the environment says: the states of the changed code are not the expected ones.
    replay.overwriting(false).run()
}

/// A file beside this one. In a test of yours a path relative to the package does.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/replay_in_tests").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_means_what_it_did() {
        Replay::<Loan>::of(file("loans.jsonl")).expecting(file("loans.states.jsonl")).check();
    }

    #[test]
    fn an_apply_that_means_something_else_is_found_without_a_test_of_its_own() {
        let report = changed().unwrap();
        assert!(
            report.failed == 0 && report.differing > 0,
            "every event is read, the states differ: {report}"
        );
        let text = report.to_string();
        assert!(text.contains("is another state after event"), "{text}");
        assert!(text.contains("-   \"amount\": 1900") && text.contains("+   \"amount\": 2000"), "{text}");
    }

    #[tokio::test]
    async fn a_recording_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loans.jsonl");
        let events = record::record(&path).await.unwrap();
        let recorded =
            Replay::<Loan>::of(path).expecting(file("loans.states.jsonl")).overwriting(false).check();
        assert_eq!((recorded.entities, recorded.events), (40, events));
        assert!(std::fs::metadata(file("loans.jsonl")).unwrap().len() < 50_000);
    }
}
