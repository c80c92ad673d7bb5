//! The real driver on virtual time: a smaller sister of the model test of the entity's state machine.
//!
//! Nodes come and go, one of them while the other still believes that it owns the entities; the stores are slow, refuse and lose answers.
//! Every ask ends, and the log has exactly what the answers say. `ANNALS_SEED=7` runs one seed,
//! `ANNALS_TIME_BUDGET_SECS=60` goes on with new seeds for so long.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod brittle;
mod faulty;
mod ledger;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_actors::Stores;
use annals_journal::MemoryJournal;
use annals_snapshot::MemorySnapshotStore;
use run::{Place, Run};

/// Seeds of the normal test.
const SEEDS: u64 = 300;

/// Runs one seed on virtual time.
fn one(seed: u64, lies: bool) -> std::thread::Result<[usize; 3]> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    std::panic::catch_unwind(|| {
        let journal = Arc::new(MemoryJournal::new());
        let snapshots = Arc::new(MemorySnapshotStore::new());
        let stores = Stores { journal: journal.clone(), records: journal, snapshots };
        let place = Place { stores, seal: None, real_time: false };
        runtime.block_on(Run::new(seed, place, lies).all())
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nodes_on_faulty_stores_answer_every_ask_with_the_truth() {
    let budget = number("ANNALS_TIME_BUDGET_SECS").map(Duration::from_secs);
    let began = Instant::now();
    let (mut runs, mut totals) = (0, [0; 3]);
    // What a search tries after the seeds that every test tries, no other one does.
    let elsewhere = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() * 1_000_000;
    let only = number("ANNALS_SEED");
    loop {
        let enough = if only.is_some() { runs >= 1 } else { runs >= SEEDS };
        if enough && budget.is_none_or(|budget| only.is_some() || began.elapsed() >= budget) {
            break;
        }
        let seed = only.unwrap_or(if runs < SEEDS { runs } else { elsewhere + runs });
        let Ok(counts) = one(seed, false) else { panic!("ANNALS_SEED={seed} fails") };
        totals = std::array::from_fn(|at| totals[at] + counts[at]);
        runs += 1;
    }
    let [entered, not_done, unknown] = totals;
    println!(
        "{runs} seeds in {:?}: {entered} entered, {not_done} not done, {unknown} unknown",
        began.elapsed()
    );
    assert!(runs < SEEDS || totals.iter().all(|count| *count > 0), "a kind of answer never came: {totals:?}");
}

#[test]
fn a_journal_that_calls_an_unknown_outcome_unavailable_is_found_out() {
    let found = (0..SEEDS).find_map(|seed| one(seed, true).err());
    let found = found.expect("it goes unnoticed");
    let said = found.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(said.contains("seed "), "{said}");
}
