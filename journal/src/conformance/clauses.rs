//! The list of all clauses, as a macro that makes tests of them.

/// Generates one `#[test]` for each clause of the [conformance suite](mod@crate::conformance), in a module with the given
/// name.
///
/// Arguments: the module's name, and the constructor: `Fn(Place) -> impl Future<Output = Store>`.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $open:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            /// The process that the crash clauses kill; does nothing otherwise.
            #[test]
            fn crash_child() {
                $crate::conformance::crash::child($open);
            }

            $crate::__conformance_clauses! {
                $open, concat!(module_path!(), "::crash_child");
                replay:
                    all_events_come_in_order
                    a_lower_bound_leaves_out_what_is_before
                    an_upper_bound_leaves_out_what_is_behind
                    a_limit_bounds_the_number_of_events
                    both_bounds_hold
                    both_bounds_and_the_limit_hold
                    equal_bounds_give_one_event
                    a_limit_of_one_gives_one_event
                    a_limit_of_zero_gives_nothing
                    crossed_bounds_give_nothing
                    bounds_outside_of_the_events_give_what_is_inside
                    an_unknown_id_gives_nothing
                    an_event_comes_back_as_it_was_written
                    a_long_history_is_streamed_whole
                    a_replay_has_what_was_stored_when_it_began
                    a_replay_may_be_left_in_the_middle
                ;
                append:
                    each_entry_of_a_list_is_answered
                    an_empty_list_has_no_answers
                    an_append_on_another_head_is_a_conflict
                    the_first_append_expects_zero
                    a_refused_entry_leaves_its_neighbours_alone
                    a_malformed_append_is_rejected_whole
                    after_a_refused_entry_its_writer_is_refused_in_that_list
                    the_next_list_decides_anew
                    what_was_answered_is_seen
                    a_dropped_append_is_done_whole_or_not_at_all
                ;
                fencing:
                    a_claim_takes_over_and_says_the_head
                    a_claim_may_be_repeated
                    a_stale_append_after_a_claim_is_fenced
                    an_older_activations_append_is_superseded
                    a_stale_append_after_the_new_owners_append_is_fenced
                    nothing_of_a_stale_batch_is_stored
                    a_stale_append_is_fenced_after_the_new_owner_deleted
                    an_older_claim_is_refused
                    an_append_on_top_of_a_failed_one_is_never_stored
                    an_append_on_top_of_a_failed_one_is_refused_in_its_list
                    after_a_conflict_the_owner_catches_up
                    after_an_unknown_outcome_claiming_and_reading_settles_it
                    two_unknown_outcomes_in_a_row_are_settled
                    verifying_says_whether_a_token_is_the_newest
                    verifying_sees_what_stands_before_it_in_its_list
                    a_token_is_never_forgotten
                    tokens_are_ordered_by_epoch_then_activation
                    of_concurrent_claims_the_newest_wins
                    the_newest_owner_is_never_refused_for_good
                ;
                deletes:
                    deleted_events_are_one_item
                    deleting_a_part_keeps_the_head
                    deleting_everything_keeps_the_head
                    a_replay_from_the_last_deleted_has_all_survivors
                    a_replay_inside_of_the_deleted_prefix_has_no_event
                    a_replay_up_to_the_last_deleted_has_no_event
                    a_replay_from_the_first_survivor_has_all_survivors
                    a_replay_across_the_border_has_both_parts
                    deleted_numbers_do_not_count_against_the_limit
                    deleting_again_changes_nothing
                    deleting_above_the_head_is_rejected
                    deleting_during_a_replay_hides_nothing
                    replays_beside_a_deleter_miss_nothing
                    offsets_never_repeat
                    a_reader_by_slice_meets_what_was_deleted
                    a_reader_by_tag_meets_what_was_deleted
                ;
                marks:
                    a_mark_is_stored_with_its_append
                    an_append_on_another_mark_is_a_conflict
                    a_refused_append_leaves_the_mark
                    marks_move_through_a_list
                    a_mark_is_changed_by_its_owner_alone
                    a_mark_is_never_forgotten
                    of_concurrent_changes_one_is_made
                ;
                replace:
                    an_unchanged_event_is_replaced
                    a_changed_event_is_left_alone
                    an_event_that_is_not_there_is_not_created
                    another_event_is_rejected_as_replacement
                    tags_follow_the_new_envelope
                    of_concurrent_replacements_one_wins
                    each_replacement_of_a_list_is_decided_by_itself
                ;
                gate:
                    a_sealed_journal_stores_nothing
                    a_journal_that_is_filled_has_no_owners
                    a_gate_is_opened_again
                    nothing_is_stored_behind_the_seal
                ;
                tags:
                    a_tags_events_come_in_the_order_of_offsets
                    a_tag_is_found_exactly
                    a_tag_that_is_given_twice_is_found_once
                    a_tags_pages_go_on_where_the_last_one_ended
                    a_page_with_room_passes_events_without_its_tag
                ;
                slices:
                    all_slices_give_every_event_in_order
                    a_range_gives_the_events_of_its_ids
                    every_read_gives_the_same_event
                    a_page_says_up_to_where_it_is_complete
                    readers_by_slice_never_skip_a_late_commit
                    readers_by_tag_never_skip_a_late_commit
                ;
                ids:
                    ids_come_in_order_and_in_pages
                    an_id_is_listed_from_its_first_claim_on
                    an_id_is_not_listed_for_what_was_not_stored
                ;
                records:
                    a_record_that_was_never_set_is_not_there
                    a_record_is_set_where_it_is_unchanged
                    a_changed_record_is_left_alone
                    a_record_is_deleted_where_it_is_unchanged
                    revisions_never_repeat
                    a_value_may_be_any_bytes_up_to_its_limit
                    keys_are_told_apart_by_all_their_bytes
                    records_are_listed_by_prefix_in_order
                    of_concurrent_changes_one_wins
                    counting_concurrently_loses_no_step
                    a_page_of_records_is_one_view
                    many_records_are_read_in_the_order_of_their_keys
                    each_change_of_a_list_is_decided_by_itself
                    a_change_sees_those_before_it_in_its_list
                    a_guarded_change_is_made_while_its_guard_is_unchanged
                    a_guard_is_judged_in_the_step_that_changes
                    the_clock_is_one_for_all
                    no_epoch_is_handed_out_twice
                ;
                limits:
                    the_limits_are_at_least_the_promised_ones
                    an_event_of_a_mebibyte_is_stored
                    an_append_of_many_events_is_stored
                    what_is_above_the_limits_is_rejected
                    the_longest_names_are_stored
                    a_long_list_is_stored
                ;
                concurrency:
                    of_concurrent_appends_on_one_head_one_is_stored
                    owners_that_take_over_from_each_other_leave_one_history
                    each_entitys_events_stay_in_order_under_load
                    readers_see_appends_whole
                    the_head_never_goes_back
                    all_calls_run_beside_each_other
                ;
                crash:
                    what_was_acknowledged_survives_a_kill
                ;
            }
        }
    };
}

/// The tests of [`conformance!`](crate::conformance!).
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_clauses {
    ($open:expr, $child:expr; $($topic:ident: $($clause:ident)*;)*) => {
        const CHILD: &str = $child;
        $(mod $topic {
            #[allow(unused_imports)]
            use super::*;
            $(#[test]
            fn $clause() {
                $crate::conformance::run($open, $crate::conformance::$topic::$clause, CHILD);
            })*
        })*
    };
}
