//! Owners and readers on three replicas.
//!
//! Each write reaches each replica at a time of its own, or never, also when its writer is gone. A reading asks two replicas one after the
//! other, page by page. Owners crash, give up waiting and take over again, and several at once believe to be the newest. After each step
//! every two replicas must make a log that has all that anybody was ever shown.
//!
//! `ANNALS_SEED=7` runs one seed; `ANNALS_TIME_BUDGET_SECS=600` goes on with new ones for so long.

use std::time::{Duration, Instant};

mod process;
mod random;
mod replica;
mod scenario;
mod tally;
mod world;

use super::{Buckets, Rule, Rules};
use scenario::Scenario;
use tally::Tally;
use world::World;

/// What every test runs.
const SEEDS: u64 = 1_000;
/// Within so many runs the loss of a rule must be seen.
const SEEDS_FOR_A_RULE: u64 = 20_000;

#[test]
fn every_quorum_has_all_that_was_exposed() {
    if let Some(seed) = number("ANNALS_SEED") {
        let (outcome, tally) = World::run(Rules::default(), None, seed);
        println!("{tally:?}");
        assert_eq!(outcome, Ok(()));
        return;
    }
    let (began, budget) = (Instant::now(), budget());
    let mut tally = Tally::default();
    let (mut runs, elsewhere) = (0, elsewhere());
    while runs < SEEDS || began.elapsed() < budget {
        let seed = if runs < SEEDS { runs } else { elsewhere + runs };
        let (outcome, one) = World::run(Rules::default(), None, seed);
        assert_eq!(outcome, Ok(()), "ANNALS_SEED={seed}");
        tally.add(&one);
        runs += 1;
    }
    println!("{runs} runs; {tally:?}");
    assert_eq!(tally.missing(), Vec::<&str>::new(), "never happened");
}

fn budget() -> Duration {
    Duration::from_secs(number("ANNALS_TIME_BUDGET_SECS").unwrap_or(0))
}

/// Where a search goes on after the seeds that every test tries: no two search the same.
fn elsewhere() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default() * 1_000_000
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What goes wrong without a rule; with it nothing does in the same run.
fn finds(rule: Rule) {
    for seed in 0..SEEDS_FOR_A_RULE {
        if let (Err(wrong), _) = World::run(Rules::without(rule), None, seed) {
            println!("without {rule:?}: {wrong}");
            assert_eq!(World::run(Rules::default(), None, seed).0, Ok(()));
            return;
        }
    }
    panic!("nothing rests on {rule:?}");
}

macro_rules! without {
    ($($name:ident: $rule:ident)*) => {
        $(#[test]
        fn $name() {
            finds(Rule::$rule);
        })*
    };
}

without! {
    without_waiting_for_the_claim_what_was_acknowledged_is_lost: ClaimIsWaitedFor
    without_the_epoch_as_its_time_stamp_an_older_claim_stays: ClaimIsStampedByEpoch
    without_reading_what_is_deleted_after_the_rows_a_log_seems_shorter: DeletedIsReadAfterRows
    without_going_to_the_bucket_of_the_next_number_a_log_ends_early: BucketOfTheNextNumber
    without_looking_where_a_batch_begins_a_log_ends_at_what_is_deleted: BatchBeginsEarlier
    without_the_bounds_of_batches_half_of_one_is_adopted: WholeBatches
    without_writing_adopted_rows_again_a_quorum_lacks_them: AdoptedRowsAreWrittenAgain
    without_waiting_for_adopted_rows_a_log_has_a_hole: AdoptedRowsAreWaitedFor
    without_markers_a_late_row_hides_what_was_exposed: MarkerDecides
    without_a_marker_but_rows_written_anew_what_was_acknowledged_is_lost: MarkerInsteadOfRewriting
    without_the_history_in_it_a_late_marker_voids_what_was_exposed: MarkerHasHistory
    without_waiting_for_the_marker_the_next_owner_decides_otherwise: MarkerIsWaitedFor
    without_verifying_a_recovery_a_deposed_owner_exposes: RecoveryIsVerified
    without_verifying_an_append_a_deposed_owner_acknowledges: AppendIsVerified
    without_verifying_it_afterwards_a_deposed_owner_acknowledges: AppendIsVerifiedAfterwards
    without_acknowledging_in_order_what_was_acknowledged_is_lost: AcknowledgedInOrder
    without_another_token_after_an_unknown_outcome_an_event_has_two_contents: UnknownTakesAnotherToken
    without_the_mark_of_what_is_settled_a_reader_shows_what_is_voided: ReaderShowsSettled
    without_waiting_for_what_is_deleted_a_log_has_a_hole: DeletedIsWaitedFor
    without_a_quorum_for_writes_what_was_acknowledged_is_lost: WriteAtQuorum
    without_a_quorum_for_readings_what_was_acknowledged_is_lost: ReadAtQuorum
}

/// Owners, stale ones among them, that begin with such appends to buckets of three; with deletes and without.
fn at_an_edge(planned: &[u64]) {
    for deletes in [false, true] {
        let scenario = Scenario {
            buckets: Buckets { size: 3, largest_batch: 5 },
            page: 2,
            owners: 3,
            readers: 1,
            deletes,
            repairs: false,
            planned: planned.to_vec(),
            events: 10,
            steps: 300,
            late: 25,
            lost: 5,
            impatience: 1,
        };
        let mut tally = Tally::default();
        for seed in 0..150 {
            let (outcome, one) = World::run(Rules::default(), Some(&scenario), seed);
            assert_eq!(outcome, Ok(()), "{planned:?}, deletes: {deletes}");
            tally.add(&one);
        }
        let planned: u64 = planned.iter().sum();
        assert!(tally.of("fenced") > 0 && tally.acknowledged_at(planned) > 0, "{tally:?}");
        assert_eq!(tally.of("deleted") > 0, deletes, "{tally:?}");
    }
}

#[test]
fn a_head_one_short_of_the_end_of_a_bucket() {
    at_an_edge(&[2]);
}

#[test]
fn a_head_at_the_end_of_a_bucket() {
    at_an_edge(&[2, 1]);
}

#[test]
fn a_head_one_behind_the_end_of_a_bucket() {
    at_an_edge(&[3, 1]);
}

#[test]
fn a_batch_across_two_buckets() {
    at_an_edge(&[2, 2]);
}

#[test]
fn a_batch_longer_than_a_bucket() {
    at_an_edge(&[1, 5, 1]);
}
