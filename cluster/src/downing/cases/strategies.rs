//! Cases 1 to 66: what a strategy makes of a view.

use super::Verdict::*;
use super::*;
use std::time::Duration;

macro_rules! case {
    ($name:ident, $body:block) => {
        #[test]
        fn $name() $body
    };
}

case!(case_01_quorum_of_3_downs_the_2, { both_down(&quorum(3), "A C E", "B D", "BD") });
case!(case_02_quorum_of_3_both_sides_of_2_go, {
    assert_eq!(verdict(&quorum(3), "A B", "C D"), DownReachable);
    assert_eq!(verdict(&quorum(3), "C D", "A B"), DownReachable);
});
case!(case_03_quorum_of_a_role, {
    let strategy = Strategy::StaticQuorum { quorum: 2, role: Some("r3".to_owned()) };
    both_down(&strategy, "A B C", "D E", "DE");
});
case!(case_04_too_many_members_for_the_quorum_all_go, { both_down(&quorum(3), "A B C", "D E F", "ABCDEF") });
case!(case_05_quorum_does_not_count_joining, {
    assert_eq!(verdict(&quorum(3), "A B Cj", "D E Fj"), DownReachable);
    assert_eq!(verdict(&quorum(3), "D E Fj", "A B Cj"), DownReachable);
    assert_eq!(verdict(&quorum(3), "A B C", "D E Fj"), DownUnreachable);
    assert_eq!(verdict(&quorum(3), "D E Fj", "A B C"), DownReachable);
    assert_eq!(verdict(&quorum(3), "A B Cj", "D E F"), DownReachable);
    assert_eq!(verdict(&quorum(3), "D E F", "A B Cj"), DownUnreachable);
    assert_eq!(verdict(&quorum(3), "A B C", "D E F"), DownAll);
    assert_eq!(verdict(&quorum(3), "D E F", "A B C"), DownAll);
});
case!(case_06_quorum_counts_leaving_not_exiting, {
    assert_eq!(verdict(&quorum(3), "A B Cl", "D E"), DownUnreachable);
    assert_eq!(verdict(&quorum(3), "D E", "A B Cl"), DownReachable);
    assert_eq!(verdict(&quorum(3), "A B Cx", "D E"), DownReachable);
    assert_eq!(verdict(&quorum(3), "D E", "A B Cx"), DownReachable);
});
case!(case_07_majority_3_2, { both_down(&majority(), "A C E", "B D", "BD") });
case!(case_08_majority_2_3, { both_down(&majority(), "A B", "C D E", "AB") });
case!(case_09_majority_1_2, { both_down(&majority(), "B", "A C", "B") });
case!(case_10_tie_2_2_lowest_address, { both_down(&majority(), "A B", "C D", "CD") });
case!(case_11_tie_1_1_lowest_address, { both_down(&majority(), "A", "B", "B") });
case!(case_12_majority_of_a_role, { both_down(&majority_of("r3"), "A B", "C D E", "CDE") });
case!(case_13_tie_of_a_role_lowest_with_the_role, { both_down(&majority_of("r2"), "A D E", "B C", "ADE") });
case!(case_14_nobody_has_the_role_all_go, { both_down(&majority_of("r3"), "C", "E", "CE") });
case!(case_15_joining_is_not_counted_but_downed, { both_down(&majority(), "B D", "Aj C", "AC") });
case!(case_16_minority_and_its_joining_go, { both_down(&majority(), "A Bj", "C D E", "AB") });
case!(case_17_three_small_sides_all_go, {
    assert_eq!(downs(&majority(), "A B", "C D E", ""), "AB");
    assert_eq!(downs(&majority(), "C D", "A B E", ""), "CD");
    assert_eq!(downs(&majority(), "E", "A B C D", ""), "E");
});
case!(case_18_two_came_up_just_before_the_split, {
    assert_eq!(downs(&majority(), "A B F G", "C D E", ""), "CDE");
    assert_eq!(verdict(&majority(), "C D E", "A B Fj Gj"), DownAll);
    assert_eq!(downs(&majority(), "C D E", "A B Fj Gj", ""), "ABCDEFG");
});
case!(case_19_one_came_up_and_made_a_tie, {
    assert_eq!(downs(&majority(), "A B F", "C D E", ""), "CDE");
    assert_eq!(downs(&majority(), "C D E", "A B Fj", ""), "ABCDEF");
});
case!(case_20_one_came_up_and_changed_nothing, {
    assert_eq!(downs(&majority(), "A B", "C D E Fj", ""), "AB");
    assert_eq!(downs(&majority(), "C D E F", "A B", ""), "AB");
});
case!(case_21_one_is_exiting_unseen, {
    assert_eq!(verdict(&majority(), "Al B Ej", "C D"), DownAll);
    assert_eq!(downs(&majority(), "C D", "Ax B", ""), "B");
});
case!(case_22_a_pair_alone_goes, { assert_eq!(downs(&majority(), "A B", "", "AB BA"), "AB") });
case!(case_23_a_pair_goes_the_third_stays, { assert_eq!(downs(&majority(), "A B C", "", "AB BA"), "AB") });
case!(case_24_a_ring_of_three_goes, { assert_eq!(downs(&majority(), "A B C", "", "AB BC CA"), "ABC") });
case!(case_25_two_pairs_go, { assert_eq!(downs(&majority(), "A B C D", "", "AD DA BC CB"), "ABCD") });
case!(case_26_a_ring_goes_two_stay, { assert_eq!(downs(&majority(), "A B C D E", "", "AB BC CA"), "ABC") });
case!(case_27_two_pairs_go_the_others_stay, {
    assert_eq!(downs(&majority(), "A B C D E F G", "", "BC CB EF FE"), "BCEF");
});
case!(case_28_found_by_what_they_have_seen, { assert_eq!(downs(&majority(), "A B C", "", "AB AC"), "ABC") });
case!(case_29_found_by_both_ways_one_stays, {
    assert_eq!(downs(&majority(), "A B C D E", "", "BC CB AD"), "ABCD");
});
case!(case_30_a_pair_and_a_crashed_node, { assert_eq!(downs(&majority(), "A B D E", "C", "AB BA"), "ABC") });
case!(case_31_a_pair_and_a_split, {
    assert_eq!(downs(&majority(), "A B C", "D E", "BC CB"), "BCDE");
    assert_eq!(downs(&majority(), "D E", "A B C", ""), "DE");
    assert_eq!(downs(&majority(), "D E", "A B C", "BC CB"), "BCDE");
});
case!(case_32_a_pair_on_the_smaller_side, {
    assert_eq!(downs(&majority(), "A B C", "D E F G", "BC CB"), "ABC");
    assert_eq!(downs(&majority(), "D E F G", "A B C", ""), "ABC");
    assert_eq!(downs(&majority(), "D E F G", "A B C", "BC CB"), "ABC");
});
case!(case_33_a_pair_on_the_larger_side, {
    assert_eq!(downs(&majority(), "A B C", "D E F G", ""), "ABC");
    assert_eq!(downs(&majority(), "A B C", "D E F G", "DE ED"), "ABCDE");
    assert_eq!(downs(&majority(), "D E F G", "A B C", "DE ED"), "ABCDE");
});
case!(case_34_records_across_a_split, {
    assert_eq!(downs(&majority(), "A B C", "D E F G", "BE EF FB"), "ABCEF");
    assert_eq!(downs(&majority(), "D E F G", "A B C", "BE EF FB"), "ABCEF");
});
case!(case_35_found_by_seen_and_a_split_none_stays, {
    assert_eq!(downs(&majority(), "A B C", "D E F G", ""), "ABC");
    assert_eq!(downs(&majority(), "D E F G", "A B C", "DE GF"), "ABCDEFG");
});
case!(case_36_a_second_indirect_verdict_downs_all, {
    assert_eq!(downs(&majority(), "A B C", "D E F G", "DE GF"), "ABCDEFG");
    assert_eq!(downs(&majority(), "D E F G", "A B C", "DE GF"), "ABCDEFG");
});
case!(case_37_the_side_of_the_oldest, { both_down(&oldest(), "A E", "B C D", "BCD") });
case!(case_38_the_oldest_of_a_role, {
    let strategy = Strategy::KeepOldest { down_if_alone: true, role: Some("r2".to_owned()) };
    both_down(&strategy, "A E", "B C D", "AE");
});
case!(case_39_an_oldest_alone_goes, { both_down(&oldest(), "E", "A B C D", "E") });
case!(case_40_of_two_the_oldest_stays, { both_down(&oldest(), "B", "A", "A") });
case!(case_41_a_single_node_stays, { assert_eq!(downs(&oldest(), "A", "", ""), "") });
case!(case_42_the_oldest_may_be_alone, { both_down(&oldest_even_alone(), "E", "A B C D", "ABCD") });
case!(case_43_the_oldest_is_exiting_on_one_side, {
    assert_eq!(downs(&oldest(), "A B D", "C Ex", ""), "C");
    assert_eq!(downs(&oldest(), "C El", "A B D", ""), "ABCDE");
});
case!(case_44_the_oldest_leaves, {
    assert_eq!(verdict(&oldest(), "A El", "B C D"), DownAll);
    assert_eq!(verdict(&oldest(), "B C D", "A El"), DownReachable);
});
case!(case_45_others_leave, { both_down(&oldest(), "A E", "Bl Cl D", "BCD") });
case!(case_46_the_oldest_with_one_that_leaves, {
    assert_eq!(verdict(&oldest(), "Dl E", "A B C"), DownAll);
    assert_eq!(verdict(&oldest(), "A B C", "Dl E"), DownReachable);
});
case!(case_47_an_oldest_alone_against_one_that_leaves, {
    assert_eq!(verdict(&oldest(), "E", "A B Cl"), DownReachable);
    assert_eq!(verdict(&oldest(), "A B Cl", "E"), DownUnreachable);
});
case!(case_48_an_oldest_alone_against_most_that_leave, {
    assert_eq!(verdict(&oldest(), "E", "A Bl Cl Dl"), DownReachable);
    assert_eq!(verdict(&oldest(), "A Bl Cl Dl", "E"), DownAll);
});
case!(case_49_an_exiting_oldest_leaves_the_next_alone, {
    assert_eq!(verdict(&oldest(), "D Ex", "A B C"), DownReachable);
    assert_eq!(verdict(&oldest(), "A B C", "D El"), DownReachable);
});
case!(case_50_of_two_one_is_exiting, {
    assert_eq!(verdict(&oldest(), "A", "Bx"), DownUnreachable);
    assert_eq!(verdict(&oldest(), "Bl", "A"), DownAll);
});
case!(case_51_who_joins_beside_the_oldest_may_be_up, {
    assert_eq!(verdict(&oldest(), "Aj E", "B C D"), DownReachable);
    assert_eq!(verdict(&oldest(), "B C D", "Aj E"), DownAll);
});
case!(case_52_who_joins_does_not_matter_if_it_may_be_alone, {
    assert_eq!(verdict(&oldest_even_alone(), "Aj E", "B C D"), DownUnreachable);
    assert_eq!(verdict(&oldest_even_alone(), "B C D", "Aj E"), DownReachable);
});
case!(case_53_oldest_a_pair_goes, { assert_eq!(downs(&oldest(), "A B C", "", "AB BA"), "AB") });
case!(case_54_a_pair_on_the_younger_side, {
    assert_eq!(downs(&oldest(), "A B C", "D E F G", "BC CB"), "ABC");
    assert_eq!(downs(&oldest(), "D E F G", "A B C", ""), "ABC");
    assert_eq!(downs(&oldest(), "D E F G", "A B C", "BC CB"), "ABC");
});
case!(case_55_a_pair_on_the_older_side, {
    assert_eq!(downs(&oldest(), "A B C", "D E F G", ""), "ABC");
    assert_eq!(downs(&oldest(), "A B C", "D E F G", "DE ED"), "ABCDE");
    assert_eq!(downs(&oldest(), "D E F G", "A B C", "DE ED"), "ABCDE");
});
case!(case_56_down_all, { both_down(&Strategy::DownAll, "A B C", "D E", "ABCDE") });
case!(case_57_down_all_with_a_pair, { assert_eq!(downs(&Strategy::DownAll, "A B C", "", "AB BA"), "ABC") });

fn lease(role: Option<&str>) -> Strategy {
    Strategy::LeaseMajority { minority_waits: Duration::from_secs(2), role: role.map(str::to_owned) }
}

/// The delay of the verdict, whom it downs with the lease, and whom without.
fn leased(strategy: &Strategy, here: &str, there: &str, indirect: &str) -> (u64, String, String) {
    let view = view(here, there, indirect);
    let verdict = strategy.decide(&view);
    let delay = verdict.lease_delay().expect("a lease is needed").as_secs();
    assert_eq!(strategy.to_down(&view, verdict), strategy.to_down(&view, verdict.with_lease(true)));
    let with = letters(strategy.to_down(&view, verdict));
    (delay, with, letters(strategy.to_down(&view, verdict.with_lease(false))))
}

fn expect((delay, with, without): (u64, String, String), expected: (u64, &str, &str)) {
    assert_eq!((delay, with.as_str(), without.as_str()), expected);
}

case!(case_58_the_larger_side_asks_at_once, {
    expect(leased(&lease(None), "A C E", "B D", ""), (0, "BD", "ACE"));
    expect(leased(&lease(None), "B D", "A C E", ""), (2, "ACE", "BD"));
});
case!(case_59_in_a_tie_who_lacks_the_lowest_of_the_role_waits, {
    expect(leased(&lease(Some("r2")), "A D E", "B C", ""), (2, "BC", "ADE"));
    expect(leased(&lease(Some("r2")), "B C", "A D E", ""), (0, "ADE", "BC"));
});
case!(case_60_a_pair_goes_with_the_lease_all_without, {
    expect(leased(&lease(None), "A B C", "", "AB BA"), (0, "AB", "ABC"));
});
case!(case_61_a_pair_and_a_split_with_a_lease, {
    expect(leased(&lease(None), "A B C", "D E", "BC CB"), (0, "BCDE", "ABC"));
    expect(leased(&lease(None), "D E", "A B C", ""), (2, "ABC", "DE"));
    expect(leased(&lease(None), "D E", "A B C", "BC CB"), (0, "ABC", "BCDE"));
});
case!(case_62_indirect_towards_a_node_that_is_down, {
    assert_eq!(downs(&lease(None), "A B C D", "El Fd", "EF"), "E");
    assert_eq!(downs(&lease(None), "El Fd", "A B C D", "EF"), "ABCDE");
});

/// Members come, change and go: a view is that of the last state, in the order of addresses and with the age of each.
fn bookkeeping() {
    let mut state = crate::ClusterState::new(crate::ClusterId(1), life('A'));
    let add = |state: &mut crate::ClusterState, text: &str| {
        let member = member(text);
        let mut added = crate::Member::new(member.identity.clone(), member.status, Arc::default());
        added.age = member.age;
        state.insert(added);
    };
    let statuses = |state: &crate::ClusterState| {
        let view = View::of(state, life('A'), BTreeSet::new());
        view.members.iter().map(|member| (member.status, member.age)).collect::<Vec<_>>()
    };
    add(&mut state, "Bj");
    add(&mut state, "Aj");
    assert_eq!(statuses(&state), [(MemberStatus::Joining, None); 2]);
    add(&mut state, "A");
    add(&mut state, "B");
    assert_eq!(statuses(&state), [(MemberStatus::Up, Some(5)), (MemberStatus::Up, Some(4))]);
    add(&mut state, "Bx");
    assert_eq!(statuses(&state)[1].0, MemberStatus::Exiting);
    state.remove(life('B'), crate::Moment::default(), crate::flaw::Flaws::NONE);
    assert_eq!(statuses(&state), [(MemberStatus::Up, Some(5))]);
}

case!(case_63_add_and_remove_in_order_of_address, { bookkeeping() });
case!(case_64_add_and_remove_with_ages, {
    bookkeeping();
    // The oldest of those that are left decides.
    assert_eq!(verdict(&oldest(), "D A", "B C"), DownUnreachable);
    assert_eq!(verdict(&oldest(), "D A", "B C Ex"), DownUnreachable);
});

fn counted(here: &str, there: &str) -> [String; 4] {
    let view = view(here, there, "");
    let of = |joining, leaving| {
        letters(view.counted(None, Counted { joining, leaving }).map(ViewMember::incarnation))
    };
    [of(false, true), of(true, true), of(false, false), of(true, false)]
}

case!(case_65_filters_by_status_and_side, {
    let (one, other) = ("Aw B Cj", "D El Fd Gx");
    assert_eq!(counted(one, other), ["BDE", "ABCDE", "BD", "ABCD"]);
    let view = view(one, other, "");
    assert_eq!(view.sides(None, Counted::CERTAIN), (1, 2));
    assert_eq!(view.sides(None, Counted { joining: true, leaving: true }), (3, 2));
    assert_eq!(view.sides(None, Counted { joining: true, leaving: false }), (3, 1));
    assert_eq!(letters(view.unreachable.iter().copied()), "DEFG");
});
case!(case_66_filters_the_same_from_the_other_side, {
    let (one, other) = ("D El Fd Gx", "Aw B Cj");
    assert_eq!(counted(one, other), ["BDE", "ABCDE", "BD", "ABCD"]);
    let view = view(one, other, "");
    assert_eq!(view.sides(None, Counted::CERTAIN), (2, 1));
    assert_eq!(view.sides(Some("r2"), Counted::CERTAIN), (1, 0));
    assert_eq!(letters(view.unreachable.iter().copied()), "ABC");
});

/// Not in the table: our own strategy.
#[test]
fn the_side_of_the_referee_goes_on() {
    let referee = |at_least| Strategy::KeepReferee { referee: member("C").address().clone(), at_least };
    both_down(&referee(1), "C", "A B D E", "ABDE");
    both_down(&referee(1), "A B", "C D E", "AB");
    assert_eq!(verdict(&referee(2), "C", "A B"), DownReachable);
    assert_eq!(verdict(&referee(1), "A B", "D E"), DownAll);
    assert_eq!(downs(&referee(1), "A B C", "", "AB BA"), "AB");
}
