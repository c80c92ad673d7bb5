//! A seeded model test: one entity against a sequential specification.
//!
//! The real state machines of several owners are driven directly, on virtual time and one source of randomness. Between them
//! and the store everything may go wrong that can: commits that are slow, are not stored, land late or whose outcome
//! is unknown; maintenance under the stored epoch; two and more owners; crashes, restarts, passivation; snapshots that are
//! not saved, are damaged, or belong to another history; callers that give up.
//!
//! ```text
//! clients ─→ Owner (driver, mailbox) ─→ Entity ─→ Link (group commit) ─→ Store
//!    │            ▲       └── crash, stop             └── slow, lost, late  └── token, head, events
//!    └── history ─┴─→ checked against the fold of the log
//! ```
//!
//! A run prints its seed when it fails. `ANNALS_SEED=7` runs one seed with its trace; `ANNALS_TIME_BUDGET_SECS=600`
//! goes on with new seeds for so long.

mod chance;
mod found;
mod history;
mod ledger;
mod link;
mod owner;
mod plan;
mod setting;
mod store;
mod tally;
mod world;

use std::time::{Duration, Instant};

use store::Flaw;
use tally::Tally;
use world::World;

/// Runs so many seeds on this thread, for what is recorded of them.
pub(super) fn run_some(seeds: u64) {
    let mut tally = Tally::default();
    for seed in 0..seeds {
        assert_eq!(run(seed, Flaw::None, &mut tally), Ok(()), "ANNALS_SEED={seed}");
    }
}

/// Seeds of the normal test.
const SEEDS: u64 = 3_000;

/// Runs one seed; `Err`: what does not hold, and how it came to it.
fn run(seed: u64, flaw: Flaw, tally: &mut Tally) -> Result<(), String> {
    let mut world = World::new(seed, flaw, false);
    let outcome = world.run();
    tally.add(&world.tally);
    outcome
}

fn explain(seed: u64) -> String {
    let mut world = World::new(seed, Flaw::None, true);
    match world.run() {
        Ok(()) => format!("seed {seed} holds\n{}", world.trace()),
        Err(reason) => {
            format!("ANNALS_SEED={seed}: {reason}\n{}\nANNALS_SEED={seed}: {reason}", world.trace())
        }
    }
}

/// Where a search goes on after the seeds that every test tries: no two search the same.
fn elsewhere() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default() * 1_000_000
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn one_entity_is_linearizable_whatever_goes_wrong() {
    if let Some(seed) = number("ANNALS_SEED") {
        let mut tally = Tally::default();
        let outcome = run(seed, Flaw::None, &mut tally);
        println!("{}\n{tally:?}", explain(seed));
        assert!(outcome.is_ok(), "{outcome:?}");
        return;
    }
    let budget = number("ANNALS_TIME_BUDGET_SECS").map(Duration::from_secs);
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let (mut runs, elsewhere) = (0, elsewhere());
    while runs < SEEDS || budget.is_some_and(|budget| began.elapsed() < budget) {
        let seed = if runs < SEEDS { runs } else { elsewhere + runs };
        if let Err(reason) = run(seed, Flaw::None, &mut tally) {
            failures.push((seed, reason));
            if failures.len() >= 20 {
                break;
            }
        }
        runs += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{runs} seeds, {:.0} runs a second; {tally:?}", runs as f64 / seconds);
    for (seed, reason) in &failures {
        println!("ANNALS_SEED={seed}: {reason}");
    }
    if let Some((seed, _)) = failures.first() {
        panic!("{} of the seeds fail\n{}", failures.len(), explain(*seed));
    }
    assert_eq!(tally.missing(), Vec::<&str>::new(), "never happened");
}

/// Seeds within which each flaw must be found.
const SEEDS_FOR_A_FLAW: u64 = 2_000;

/// Some seed finds the flaw, and says so in these words.
fn finds(flaw: Flaw, words: &str) {
    let mut tally = Tally::default();
    let mut others = Vec::new();
    for seed in 0..SEEDS_FOR_A_FLAW {
        match run(seed, flaw, &mut tally) {
            Err(reason) if reason.contains(words) => {
                println!("{flaw:?}: found by seed {seed}: {reason}; before it by {} others", others.len());
                return;
            }
            Err(reason) => others.push((seed, reason)),
            Ok(()) => {}
        }
    }
    panic!("{flaw:?} goes unnoticed, or is called something else: {others:#?}");
}

#[test]
fn a_store_that_ignores_tokens_is_found_out() {
    finds(Flaw::IgnoresTokens, "stored twice");
}

#[test]
fn a_store_that_ignores_the_head_is_found_out() {
    finds(Flaw::IgnoresHead, "I6");
}

#[test]
fn a_store_that_splits_appends_is_found_out() {
    finds(Flaw::SplitsAppends, "I5");
}

#[test]
fn a_store_that_verifies_anything_is_found_out() {
    finds(Flaw::VerifiesAnything, "not linearizable");
}

#[test]
fn a_store_whose_claims_raise_nothing_is_found_out() {
    finds(Flaw::ClaimsRaiseNothing, "stored twice");
}

#[test]
fn a_store_that_answers_before_it_stores_is_found_out() {
    finds(Flaw::AnswersEarly, "I5");
}

#[test]
fn a_store_that_calls_an_unknown_outcome_unavailable_is_found_out() {
    finds(Flaw::UnknownIsUnavailable, "stored twice");
}

#[test]
fn a_store_that_replays_less_than_it_has_is_found_out() {
    finds(Flaw::ReplaysLess, "I7");
}

#[test]
fn a_snapshot_store_that_gives_another_state_is_found_out() {
    finds(Flaw::SpoilsSnapshots, "I6");
}

#[test]
fn a_driver_that_releases_replies_before_they_are_durable_is_found_out() {
    finds(Flaw::ReleasesEarly, "I5");
}

#[test]
fn a_driver_that_does_not_pause_is_found_out() {
    finds(Flaw::NeverRests, "it takes commands, and pauses until");
}

#[test]
fn a_driver_that_forgets_how_often_an_entity_panicked_is_found_out() {
    finds(Flaw::Forgets, "restarts within");
}
