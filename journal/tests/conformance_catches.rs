//! A clause that cannot fail proves nothing: journals that break one promise each, and the clauses that say so.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "conformance_catches/broken.rs"]
mod broken;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals_journal::MemoryJournal;
use annals_journal::conformance::{
    Harness, Store, append, concurrency, deletes, fencing, gate, ids, limits, marks, records, replace,
    replay, run_clause, slices, tags,
};
use broken::{Broken, BrokenRecords, Fault, RecordFault};

#[test]
fn a_journal_that_ignores_tokens_is_caught() {
    let broken = || with(Fault::IgnoresTokens);
    caught(broken(), fencing::a_stale_append_after_a_claim_is_fenced);
    caught(broken(), fencing::a_stale_append_after_the_new_owners_append_is_fenced);
    caught(broken(), fencing::nothing_of_a_stale_batch_is_stored);
    caught(broken(), fencing::a_stale_append_is_fenced_after_the_new_owner_deleted);
    caught(broken(), fencing::an_append_on_top_of_a_failed_one_is_never_stored);
    caught(broken(), fencing::after_an_unknown_outcome_claiming_and_reading_settles_it);
    caught(broken(), fencing::two_unknown_outcomes_in_a_row_are_settled);
    caught(broken(), fencing::of_concurrent_claims_the_newest_wins);
    caught(broken(), fencing::verifying_says_whether_a_token_is_the_newest);
    // One that never notices a claim goes on for ever, so it is not run here: the_newest_owner_is_never_refused_for_good.
}

#[test]
fn a_journal_that_forgets_the_head_with_the_events_is_caught() {
    let broken = || with(Fault::ForgetsHeadAfterDelete);
    caught(broken(), deletes::deleting_everything_keeps_the_head);
    caught(broken(), fencing::a_stale_append_is_fenced_after_the_new_owner_deleted);
    caught(broken(), fencing::a_token_is_never_forgotten);
    caught(broken(), ids::an_id_is_listed_from_its_first_claim_on);
    kept(broken(), deletes::deleting_a_part_keeps_the_head);
}

#[test]
fn a_journal_that_repeats_offsets_is_caught() {
    caught(with(Fault::RepeatsOffsets), deletes::offsets_never_repeat);
}

#[test]
fn a_journal_that_stores_a_part_of_a_refused_append_is_caught() {
    let broken = || with(Fault::StoresAPartOfAConflict);
    caught(broken(), append::an_append_on_another_head_is_a_conflict);
    caught(broken(), append::a_refused_entry_leaves_its_neighbours_alone);
}

#[test]
fn a_journal_that_shows_half_an_append_is_caught() {
    caught_in_time(|| with(Fault::StoresOneByOne), concurrency::readers_see_appends_whole);
    caught_in_time(|| with(Fault::StoresOneByOne), append::a_dropped_append_is_done_whole_or_not_at_all);
}

#[test]
fn a_journal_that_accepts_any_newer_head_is_caught() {
    let broken = || with(Fault::AcceptsGaps);
    caught(broken(), append::the_first_append_expects_zero);
    caught(broken(), fencing::an_append_on_top_of_a_failed_one_is_never_stored);
}

#[test]
fn a_journal_that_decides_each_entry_of_a_list_alone_is_caught() {
    let broken = || with(Fault::ForgetsRefusals);
    caught(broken(), append::after_a_refused_entry_its_writer_is_refused_in_that_list);
    caught(broken(), fencing::an_append_on_top_of_a_failed_one_is_refused_in_its_list);
}

#[test]
fn a_journal_whose_readers_skip_late_commits_is_caught() {
    let broken = || with(Fault::SkipsLateCommits);
    caught(broken(), slices::readers_by_slice_never_skip_a_late_commit);
    caught(broken(), slices::readers_by_tag_never_skip_a_late_commit);
}

#[test]
fn a_journal_that_hides_what_was_deleted_is_caught() {
    let broken = || with(Fault::HidesDeletions);
    caught(broken(), deletes::deleted_events_are_one_item);
    caught(broken(), deletes::deleting_during_a_replay_hides_nothing);
    caught(broken(), deletes::a_reader_by_slice_meets_what_was_deleted);
    caught(broken(), deletes::a_reader_by_tag_meets_what_was_deleted);
}

#[test]
fn a_journal_that_replaces_whatever_is_there_is_caught() {
    let broken = || with(Fault::ReplacesAnything);
    caught(broken(), replace::a_changed_event_is_left_alone);
    caught(broken(), replace::of_concurrent_replacements_one_wins);
    caught(broken(), replace::each_replacement_of_a_list_is_decided_by_itself);
    kept(broken(), replace::an_unchanged_event_is_replaced);
}

#[test]
fn a_journal_whose_reads_lag_behind_its_answers_is_caught() {
    let broken = || with(Fault::ReadsStaleHeads);
    caught(broken(), append::what_was_answered_is_seen);
    caught(broken(), concurrency::the_head_never_goes_back);
}

#[test]
fn a_journal_that_ends_long_replays_early_is_caught() {
    let broken = || with(Fault::EndsReplaysEarly);
    caught(broken(), replay::a_long_history_is_streamed_whole);
    kept(broken(), replay::all_events_come_in_order);
}

#[test]
fn a_journal_that_takes_events_of_any_size_is_caught() {
    caught(with(Fault::StoresTooLarge), limits::what_is_above_the_limits_is_rejected);
}

#[test]
fn a_journal_that_passes_what_it_did_not_show_is_caught() {
    let broken = || with(Fault::MarksTooFar);
    caught(broken(), slices::all_slices_give_every_event_in_order);
    caught(broken(), slices::a_page_says_up_to_where_it_is_complete);
    caught(broken(), tags::a_tags_pages_go_on_where_the_last_one_ended);
}

#[test]
fn a_journal_that_takes_any_mark_is_caught() {
    let broken = || with(Fault::IgnoresMarks);
    caught(broken(), marks::an_append_on_another_mark_is_a_conflict);
    caught(broken(), marks::marks_move_through_a_list);
    caught(broken(), marks::of_concurrent_changes_one_is_made);
    kept(broken(), marks::a_mark_is_stored_with_its_append);
}

#[test]
fn a_journal_that_moves_the_mark_before_it_decides_is_caught() {
    let broken = || with(Fault::MarksFirst);
    caught(broken(), marks::a_refused_append_leaves_the_mark);
    kept(broken(), marks::a_mark_is_stored_with_its_append);
}

#[test]
fn a_journal_that_forgets_the_mark_with_the_events_is_caught() {
    caught(with(Fault::ForgetsHeadAfterDelete), marks::a_mark_is_never_forgotten);
}

#[test]
fn records_that_count_revisions_from_one_again_are_caught() {
    caught(with_records(RecordFault::RepeatsRevisions), records::revisions_never_repeat);
}

#[test]
fn records_that_compare_and_set_in_two_steps_are_caught() {
    caught_in_time(|| with_records(RecordFault::RacesCompareAndSet), records::of_concurrent_changes_one_wins);
    caught_in_time(
        || with_records(RecordFault::RacesCompareAndSet),
        records::counting_concurrently_loses_no_step,
    );
}

#[test]
fn records_that_take_a_prefix_for_a_pattern_are_caught() {
    caught(with_records(RecordFault::PrefixIsPattern), records::records_are_listed_by_prefix_in_order);
}

#[test]
fn records_that_ignore_guards_are_caught() {
    let broken = || with_records(RecordFault::IgnoresGuards);
    caught(broken(), records::a_guarded_change_is_made_while_its_guard_is_unchanged);
    caught(broken(), records::a_change_sees_those_before_it_in_its_list);
}

#[test]
fn records_that_judge_a_guard_before_they_change_are_caught() {
    caught_in_time(
        || with_records(RecordFault::RacesGuards),
        records::a_guard_is_judged_in_the_step_that_changes,
    );
}

#[test]
fn records_that_decide_a_list_by_what_was_before_it_are_caught() {
    let broken = || with_records(RecordFault::DecidesListsAtOnce);
    caught(broken(), records::a_change_sees_those_before_it_in_its_list);
    kept(broken(), records::a_guarded_change_is_made_while_its_guard_is_unchanged);
}

#[test]
fn a_journal_that_ignores_its_gate_is_caught() {
    // Its records are another store's, so what they say does not reach it.
    let broken = || Store::new(Arc::new(MemoryJournal::new()), Arc::new(MemoryJournal::new()));
    caught(broken(), gate::a_sealed_journal_stores_nothing);
    caught(broken(), gate::a_journal_that_is_filled_has_no_owners);
    caught(broken(), gate::a_gate_is_opened_again);
}

#[test]
fn a_journal_that_looks_at_its_gate_before_it_writes_is_caught() {
    let broken = || {
        let records = MemoryJournal::new();
        let events = Broken::new(MemoryJournal::new(), Fault::RacesGate).gated_by(records.clone());
        Store::new(Arc::new(events), Arc::new(records))
    };
    caught_in_time(broken, gate::nothing_is_stored_behind_the_seal);
}

#[test]
fn the_wrapper_breaks_nothing_by_itself() {
    kept(with(Fault::None), fencing::a_stale_append_is_fenced_after_the_new_owner_deleted);
    kept(with(Fault::None), slices::readers_by_slice_never_skip_a_late_commit);
    kept(with(Fault::None), concurrency::owners_that_take_over_from_each_other_leave_one_history);
    kept(with_records(RecordFault::None), records::a_guard_is_judged_in_the_step_that_changes);
    kept(with_records(RecordFault::None), records::each_change_of_a_list_is_decided_by_itself);
    kept(with_records(RecordFault::None), records::counting_concurrently_loses_no_step);
}

fn with(fault: Fault) -> Store {
    let memory = MemoryJournal::new();
    Store::new(Arc::new(Broken::new(memory.clone(), fault)), Arc::new(memory))
}

fn with_records(fault: RecordFault) -> Store {
    let memory = MemoryJournal::new();
    Store::new(Arc::new(memory), Arc::new(BrokenRecords::new(fault)))
}

/// The clause fails on the store. Faults that are races wait in the gap for somebody to come, so that the first try meets them.
fn caught(store: Store, clause: impl AsyncFnOnce(&mut Harness)) {
    assert!(fails(store, clause), "the clause did not notice");
}

/// The same for a fault that is a race: on a busy machine the first tries may miss it.
fn caught_in_time(store: impl Fn() -> Store, clause: impl AsyncFn(&mut Harness)) {
    let tries = (0..20).any(|_| fails(store(), async |h: &mut Harness| clause(h).await));
    assert!(tries, "the clause did not notice");
}

fn kept(store: Store, clause: impl AsyncFnOnce(&mut Harness)) {
    assert!(!fails(store, clause), "the clause blames what is right");
}

fn fails(store: Store, clause: impl AsyncFnOnce(&mut Harness)) -> bool {
    let store = std::cell::RefCell::new(Some(store));
    let open = move |_place| std::future::ready(store.borrow_mut().take().unwrap());
    catch_unwind(AssertUnwindSafe(|| run_clause(open, clause))).is_err()
}
