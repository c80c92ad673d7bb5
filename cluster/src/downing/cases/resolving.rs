//! Cases 67 to 98: when it is decided, and by whom.

use std::time::Duration;

use super::super::resolver::{Resolver, Step};
use super::super::{Cause, Downing};
use super::*;
use crate::flaw::Flaws;
use crate::{ClusterId, ClusterState, Member, Moment, Observations};

/// A resolver, and the state that it looks at as `me`.
struct Desk {
    resolver: Resolver,
    strategy: Strategy,
    state: ClusterState,
    me: char,
    leads: bool,
    now: u64,
    lease_acquired: Option<bool>,
}

impl Desk {
    /// Decides after so many milliseconds of calm, and downs all after as many of unrest more.
    fn new(strategy: Strategy, stable_after: u64, unstable: u64, me: char, members: &str) -> Self {
        let downing = Downing {
            strategy: strategy.clone(),
            stable_after: Duration::from_millis(stable_after),
            down_all_when_unstable: (unstable > 0).then(|| Duration::from_millis(unstable)),
            release_lease_after: Duration::from_secs(10),
        };
        let resolver = Resolver::new(downing, Moment::default(), Flaws::NONE);
        let state = ClusterState::new(ClusterId(1), life(me));
        let mut desk = Self { resolver, strategy, state, me, leads: true, now: 0, lease_acquired: None };
        desk.add(members, "");
        desk
    }

    fn at_once(strategy: Strategy, me: char, members: &str) -> Self {
        Self::new(strategy, 0, 0, me, members)
    }

    fn add(&mut self, members: &str, data_center: &str) {
        for text in members.split_whitespace() {
            let member = member(text);
            let mut identity = Identity::clone(&member.identity);
            identity.data_center = data_center.to_owned();
            let mut added = Member::new(Arc::new(identity), member.status, Arc::default());
            added.age = member.age;
            self.state.insert(added);
        }
        self.observe();
    }

    /// From now on these and no other records.
    fn records(&mut self, text: &str) {
        let records = records(text);
        for observer in self.state.members().keys().copied().collect::<Vec<_>>() {
            let unreachable =
                records.iter().filter(|(who, _)| *who == observer).map(|(_, whom)| *whom).collect();
            self.state.change(observer, |member| {
                let version = member.observations.version + 1;
                member.observations = Arc::new(Observations { version, unreachable });
            });
        }
        self.observe();
    }

    fn view(&self) -> View {
        View::of(&self.state, life(self.me), BTreeSet::from([life(self.me)]))
    }

    fn observe(&mut self) {
        let view = self.view();
        let members = view.members.iter().map(|member| (member.incarnation(), member.status));
        self.resolver.observe(Moment::from_millis(self.now), members, view.unreachable.clone());
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
    }

    /// Whom it downs now; a lease is answered as told.
    fn tick(&mut self) -> String {
        let view = self.view();
        let mut step = self.resolver.tick(Moment::from_millis(self.now), &view, self.leads);
        if step == Some(Step::AcquireLease) {
            let acquired = self.lease_acquired.expect("the lease is asked for");
            step = self.resolver.lease_answered(&view, acquired);
        }
        match step {
            Some(Step::Decide(verdict, _)) => letters(self.strategy.to_down(&view, verdict)),
            _ => String::new(),
        }
    }
}

macro_rules! case {
    ($name:ident, $body:block) => {
        #[test]
        fn $name() $body
    };
}

case!(case_67_the_removal_margin_is_the_window, {
    let downing = Downing::of(majority(), 20);
    assert_eq!(downing.removal_margin(), downing.stable_after);
    assert_eq!(downing.stable_after, Duration::from_secs(13));
});
case!(case_68_the_leader_downs_the_unreachable, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.records("AB");
    assert_eq!(desk.tick(), "B");
});
case!(case_69_who_does_not_lead_downs_nobody, {
    let mut desk = Desk::at_once(majority(), 'B', "A B C");
    desk.leads = false;
    desk.records("BC");
    assert_eq!(desk.tick(), "");
});
case!(case_70_who_comes_to_lead_does, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.leads = false;
    desk.records("AC");
    assert_eq!(desk.tick(), "");
    desk.leads = true;
    assert_eq!(desk.tick(), "C");
});
case!(case_71_not_before_the_window_has_passed, {
    let mut desk = Desk::new(majority(), 2_000, 0, 'A', "A B C");
    desk.records("AB");
    desk.pass(1_999);
    assert_eq!(desk.tick(), "");
    desk.pass(1);
    assert_eq!(desk.tick(), "B");
});
case!(case_72_who_comes_to_lead_in_the_window_waits_for_its_end, {
    let mut desk = Desk::new(majority(), 2_000, 0, 'A', "A B C");
    desk.leads = false;
    desk.records("AC");
    desk.pass(1_000);
    desk.leads = true;
    assert_eq!(desk.tick(), "");
    desk.pass(1_000);
    assert_eq!(desk.tick(), "C");
});
case!(case_73_who_leads_no_more_downs_nobody, {
    let mut desk = Desk::new(majority(), 1_000, 0, 'A', "A B C");
    desk.records("AC");
    assert_eq!(desk.tick(), "");
    desk.leads = false;
    desk.pass(1_500);
    assert_eq!(desk.tick(), "");
});
case!(case_74_a_weakly_up_leader_decides, {
    let mut desk = Desk::at_once(majority(), 'A', "Aw Bw C");
    desk.records("AC");
    assert_eq!(desk.tick(), "AB");
});
case!(case_75_healed_in_time, {
    let mut desk = Desk::new(majority(), 1_000, 0, 'A', "A B C");
    desk.records("AB");
    desk.pass(500);
    assert_eq!(desk.tick(), "");
    desk.records("");
    desk.pass(1_500);
    assert_eq!(desk.tick(), "");
});
case!(case_76_removed_in_time, {
    let mut desk = Desk::new(majority(), 1_000, 0, 'A', "A B C");
    desk.records("AB");
    desk.pass(500);
    desk.state.remove(life('B'), Moment::default(), Flaws::NONE);
    desk.observe();
    desk.pass(1_500);
    assert_eq!(desk.tick(), "");
});
case!(case_77_already_down, {
    let mut desk = Desk::at_once(majority(), 'A', "A Bd C");
    desk.records("AB");
    assert_eq!(desk.tick(), "");
});
case!(case_78_a_minority_end_to_end, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C D E");
    desk.records("AB CD");
    assert_eq!(desk.tick(), "BD");
});
case!(case_79_the_oldest_end_to_end, {
    let mut desk = Desk::at_once(oldest(), 'A', "A B C D E");
    desk.records("AB AC ED");
    assert_eq!(desk.tick(), "BCD");
});
case!(case_80_too_many_members_for_the_quorum_are_told_of, {
    let mut desk = Desk::at_once(quorum(2), 'A', "A B C");
    assert_eq!(desk.strategy.too_many(&desk.state), None);
    desk.add("D", "");
    assert_eq!(desk.strategy.too_many(&desk.state), Some(3));
    desk.records("AC AD");
    assert_eq!(desk.tick(), "ABCD");
});
case!(case_81_a_split_from_another_data_center_is_ignored, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.add("D E", "other");
    desk.records("AB AD AE");
    assert_eq!(desk.tick(), "B");
});
case!(case_82_members_of_another_data_center_are_not_counted, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.add("D E", "other");
    desk.records("AB AC");
    assert_eq!(desk.tick(), "A");
});
case!(case_83_the_oldest_of_the_own_data_center, {
    let mut desk = Desk::at_once(oldest(), 'B', "A B C");
    desk.add("D E", "other");
    desk.records("BA BC");
    assert_eq!(desk.tick(), "B");
});
case!(case_85_a_pair_end_to_end, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.records("AB BA");
    assert_eq!(desk.tick(), "AB");
});
case!(case_86_a_pair_and_a_crash, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C D E");
    desk.records("AB BA BC");
    assert_eq!(desk.tick(), "ABC");
});
case!(case_87_a_pair_and_a_split, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C D E");
    desk.records("BC CB AD BD BE CE");
    assert_eq!(desk.tick(), "BCDE");
    let mut desk = Desk::at_once(majority(), 'D', "A B C D E");
    desk.records("DA DB EB EC");
    assert_eq!(desk.tick(), "DE");
});
case!(case_88_a_pair_and_a_split_with_one_exiting, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C D E Fx");
    desk.records("AE AF BE BF CE CF DE DF EF");
    assert_eq!(desk.tick(), "E");
});
case!(case_89_a_pair_and_a_split_with_the_other_exiting, {
    let mut desk = Desk::at_once(majority(), 'A', "A B C D Ex F");
    desk.records("AE AF BE BF CE CF DE DF EF");
    assert_eq!(desk.tick(), "F");
});
case!(case_90_down_all_of_the_own_data_center, {
    let mut desk = Desk::at_once(Strategy::DownAll, 'A', "A B C");
    desk.add("D E", "other");
    desk.records("AB AC");
    assert_eq!(desk.tick(), "ABC");
});
case!(case_91_a_member_that_comes_and_goes_downs_all, {
    let mut desk = Desk::new(majority(), 2_000, 1_000, 'A', "A B C D E");
    for records in ["BD BE", "BD", "BD BE"] {
        desk.records(records);
        assert_eq!(desk.tick(), "");
        desk.pass(1_100);
    }
    desk.records("BD");
    assert_eq!(desk.tick(), "ABCDE");
});
case!(case_92_never_stable_downs_all, {
    let mut desk = Desk::new(majority(), 2_000, 500, 'A', "A B C D E");
    for records in ["AE BD CD", "AE BD", "AE", "AE BD CD"] {
        desk.records(records);
        assert_eq!(desk.tick(), "");
        desk.pass(600);
    }
    desk.pass(200);
    desk.leads = false;
    assert_eq!(desk.tick(), "ABCDE", "each node decides that, also one that does not lead");
});
case!(case_93_stable_in_time, {
    let mut desk = Desk::new(majority(), 2_000, 1_000, 'A', "A B C D E");
    for records in ["BD BE", "BD", "BE", ""] {
        desk.records(records);
        assert_eq!(desk.tick(), "");
        desk.pass(600);
    }
    for _ in 0..10 {
        desk.pass(1_000);
        assert_eq!(desk.tick(), "");
    }
});

fn leased(acquired: bool, records: &str) -> String {
    let mut desk = Desk::at_once(Strategy::lease_majority(), 'A', "A B C D E");
    desk.lease_acquired = Some(acquired);
    desk.records(records);
    desk.tick()
}

case!(case_94_with_the_lease_the_other_side_goes, { assert_eq!(leased(true, "AB AC"), "BC") });
case!(case_95_without_the_lease_the_own_side_goes, { assert_eq!(leased(false, "AB AC"), "ADE") });
case!(case_96_with_the_lease_and_a_pair, { assert_eq!(leased(true, "AB BA"), "AB") });
case!(case_97_without_the_lease_and_a_pair_all_go, { assert_eq!(leased(false, "AB BA"), "ABCDE") });
case!(case_98_the_strategy_comes_from_the_configuration, {
    for (text, strategy) in [
        ("keep-majority", majority()),
        ("static-quorum=3", quorum(3)),
        ("keep-oldest", oldest()),
        ("keep-oldest=even-alone", oldest_even_alone()),
        ("lease-majority", Strategy::lease_majority()),
        ("down-all", Strategy::DownAll),
    ] {
        assert_eq!(text.parse::<Strategy>(), Ok(strategy.clone()));
        let settings = crate::Settings { downing: Downing::of(strategy.clone(), 5), ..Default::default() };
        assert_eq!(settings.downing.strategy, strategy);
    }
    assert!("static-quorum".parse::<Strategy>().is_err() && "keep-minority".parse::<Strategy>().is_err());
    assert_eq!(crate::Settings::default().downing.strategy, majority(), "it is on by default");
});

/// Not in the table: a smaller side asks for the lease later, and not at all when it is no longer needed.
#[test]
fn the_smaller_side_waits_before_it_asks_for_the_lease() {
    let mut desk = Desk::at_once(Strategy::lease_majority(), 'A', "A B C");
    desk.records("AB AC");
    assert_eq!(desk.tick(), "");
    desk.pass(1_999);
    assert_eq!(desk.tick(), "");
    desk.pass(1);
    desk.lease_acquired = Some(true);
    assert_eq!(desk.tick(), "BC");
    let mut desk = Desk::at_once(Strategy::lease_majority(), 'A', "A B C");
    desk.records("AB AC");
    assert_eq!(desk.tick(), "");
    desk.records("");
    desk.pass(5_000);
    assert_eq!(desk.tick(), "");
}

/// A decision can be read, with who saw what.
#[test]
fn a_decision_tells_its_inputs() {
    let mut desk = Desk::at_once(majority(), 'A', "A B C");
    desk.records("AB");
    let view = desk.view();
    let by = view.members[0].identity.id.clone();
    let downed = vec![view.members[1].identity.id.clone()];
    let (at, verdict) = (Moment::default(), Verdict::DownUnreachable);
    let text = super::super::Decision { at, by, cause: Cause::Stable, verdict, downed, view }.to_string();
    for part in
        ["a:1#", "down the unreachable", "b:1#00000000 up unreachable", "a:1#00000000 does not reach b:1"]
    {
        assert!(text.contains(part), "{text} has no {part}");
    }
}
