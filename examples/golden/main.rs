//! A journal that three builds have written, replayed in a test: do the events of all of them still mean the same?
//!
//! ```text
//! cargo test --example golden --features testing              the tests at the end of this file
//! cargo run  --example golden --features testing              what the replay finds
//! cargo run  --example golden --features testing -- record    records another journal
//! ANNALS_REPLAY=overwrite cargo test --example golden --features testing golden
//!                                                   takes the states of today as the expected ones
//! ```
//!
//! | file | what |
//! |---|---|
//! | `first.rs`, `second.rs` | the account as older builds had it; in an application of yours this is gone, and its events remain |
//! | `today.rs` | the account of today, which reads the events of all three |
//! | `golden.jsonl` | a journal as `annals export` writes it: its events were stored by the three, one after the other |
//! | `golden.states.jsonl` | the states that its entities have, looked at by somebody |
//! | `record.rs` | how the journal was recorded |

mod first;
mod record;
mod second;
mod today;

use std::path::PathBuf;

use annals::testing::Replay;
use clap::{Parser, Subcommand};

use crate::today::Account;

/// Replays a journal that three builds have written.
#[derive(Debug, Parser)]
#[command(name = "golden")]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record `golden.jsonl` anew instead.
    Record,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(Command::Record) = Options::parse().command {
        let events = record::record(&file("golden.jsonl")).await?;
        println!("recorded {events} events; run the tests with ANNALS_REPLAY=overwrite");
        return Ok(());
    }
    let replay = Replay::<Account>::of(file("golden.jsonl")).expecting(file("golden.states.jsonl"));
    println!("{}", replay.overwriting(false).run()?);
    Ok(())
}

/// A file beside this one. In a test of yours a path relative to the package does.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/golden").join(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use annals::migrations::Role;
    use annals::testing::{SchemaLock, SchemaLockReport};
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Builds, Phase};

    #[test]
    fn a_golden_journal_of_three_builds_means_what_it_did() {
        Replay::<Account>::of(file("golden.jsonl")).expecting(file("golden.states.jsonl")).check();
    }

    #[test]
    fn the_golden_journal_has_all_versions() {
        let lines = std::fs::read_to_string(file("golden.jsonl")).unwrap();
        let stored: BTreeSet<(String, u64)> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| {
                (line["manifest"].as_str().unwrap().to_owned(), line["schema_version"].as_u64().unwrap())
            })
            .collect();
        let all = [
            ("account.deposited", 1),
            ("account.deposited", 2),
            ("account.moved", 1),
            ("account.pinged", 1),
            ("account.withdrawn", 1),
            ("account.withdrawn", 2),
        ];
        assert_eq!(stored, all.map(|(manifest, version)| (manifest.to_owned(), version)).into());
    }

    #[test]
    fn each_build_fits_the_lock_file_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let lock = || SchemaLock::at(dir.path().join("schemas.lock")).updating();
        let fits = |report: SchemaLockReport| assert!(report.is_clean() && report.written, "{report}");
        fits(lock().entity::<first::Account>().run().unwrap());
        // All but the command that only nodes of the first build send: it is forgotten when none of them runs any more.
        let second = || lock().entity::<second::Account>();
        let breaks = second().run().unwrap().breaks;
        let gone: Vec<_> = breaks.iter().map(|found| (found.role, found.manifest.as_str())).collect();
        assert_eq!(gone, [(Role::Command, "account.ping")]);
        fits(second().overwriting().run().unwrap());
        fits(lock().entity::<Account>().run().unwrap());
        let back =
            SchemaLock::at(dir.path().join("schemas.lock")).only_comparing().entity::<second::Account>();
        assert!(back.run().unwrap().breaks.iter().any(|found| found.role == Role::State), "no way back");
    }

    #[tokio::test]
    async fn a_recording_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("golden.jsonl");
        let events = record::record(&path).await.unwrap();
        let recorded =
            Replay::<Account>::of(path).expecting(file("golden.states.jsonl")).overwriting(false).check();
        assert_eq!(recorded.events, events);
    }

    #[tokio::test]
    async fn snapshots_of_all_three_builds_are_recovered_from() {
        let phase = |amounts: &[i64]| Phase { snapshot_every: 1, changes: of_alice(amounts) };
        for (phases, version) in [
            ([phase(&[7, -3]), phase(&[]), phase(&[])], 1),
            ([phase(&[7, -3]), phase(&[1]), phase(&[])], 2),
            ([phase(&[7, -3]), phase(&[1]), phase(&[2, -5])], 3),
        ] {
            let builds = Builds::new();
            builds.run(&phases).await.unwrap();
            let (recovered, snapshot) = builds.today("alice").await.unwrap();
            assert_eq!(snapshot.unwrap().1, version);
            assert_eq!(recovered, builds.without_snapshots().today("alice").await.unwrap().0);
        }
    }

    fn of_alice(amounts: &[i64]) -> Vec<(String, i64)> {
        amounts.iter().map(|amount| ("alice".to_owned(), *amount)).collect()
    }

    fn phase() -> impl Strategy<Value = Phase> {
        (0..4_usize, prop::collection::vec(-50..50_i64, 0..8))
            .prop_map(|(snapshot_every, amounts)| Phase { snapshot_every, changes: of_alice(&amounts) })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Snapshots are taken by whichever build runs, at any event, and those of older builds are the newest when a later one stores nothing.
        #[test]
        fn a_snapshot_of_any_version_and_its_tail_is_full_replay(phases in [phase(), phase(), phase()]) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let builds = Builds::new();
                builds.run(&phases).await.unwrap();
                let (recovered, used) = builds.today("alice").await.unwrap();
                let (replayed, unused) = builds.without_snapshots().today("alice").await.unwrap();
                assert_eq!(recovered, replayed, "snapshot {used:?}, {phases:?}");
                assert!(unused.is_none());
            });
        }
    }
}
