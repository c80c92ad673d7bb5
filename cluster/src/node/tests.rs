//! A few nodes in a room without a network: each message arrives at once, unless a wall is between them.

mod leading;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::downing::{Downing, Strategy};
use crate::{Answer, FormingSettings, MemberStatus};

struct Room {
    nodes: BTreeMap<NodeAddress, Node>,
    walls: BTreeSet<(NodeAddress, NodeAddress)>,
    now: u64,
    told: Vec<(NodeAddress, Event)>,
    actions: Vec<(NodeAddress, Action)>,
}

fn address(letter: char) -> NodeAddress {
    NodeAddress::new(&letter.to_string(), 1).unwrap()
}

fn settings(contact_points: usize) -> Settings {
    let forming = FormingSettings { contact_points: Some(contact_points), ..FormingSettings::default() };
    Settings { forming, ..Settings::default() }
}

impl Room {
    fn new() -> Self {
        Self { nodes: BTreeMap::new(), walls: BTreeSet::new(), now: 0, told: Vec::new(), actions: Vec::new() }
    }

    fn enter(&mut self, letter: char, contacts: &str, settings: Settings) {
        self.enter_as(
            Identity::new(address(letter), Incarnation(u64::from(letter) << 32 | self.now)),
            contacts,
            settings,
        );
    }

    fn enter_as(&mut self, identity: Identity, contacts: &str, settings: Settings) {
        let seed = identity.id.incarnation.0;
        let at = identity.id.address.clone();
        let mut node = Node::new(Moment::from_millis(self.now), identity, settings, seed);
        node.step(Moment::from_millis(self.now), Input::Discovered(contacts.chars().map(address).collect()));
        self.nodes.insert(at, node);
    }

    fn give(&mut self, to: char, input: Input) {
        self.step(&address(to), input);
    }

    fn step(&mut self, at: &NodeAddress, input: Input) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let from = node.id().clone();
        for action in node.step(Moment::from_millis(self.now), input) {
            match action {
                Action::Send { to, incarnation, message } => {
                    let walled = self.walls.contains(&(at.clone(), to.clone()));
                    let lives = self.nodes.get(&to).is_some_and(|node| {
                        incarnation.is_none_or(|incarnation| incarnation == node.id().incarnation)
                    });
                    if lives && !walled {
                        self.step(&to, Input::Received { from: from.clone(), message });
                    }
                }
                Action::Tell(event) => self.told.push((at.clone(), event)),
                action => self.actions.push((at.clone(), action)),
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now += 100;
            for at in self.nodes.keys().cloned().collect::<Vec<_>>() {
                self.step(&at, Input::Tick);
            }
        }
    }

    fn wall(&mut self, one: &str, other: &str) {
        for (a, b) in one.chars().flat_map(|a| other.chars().map(move |b| (address(a), address(b)))) {
            self.walls.insert((a.clone(), b.clone()));
            self.walls.insert((b, a));
        }
    }

    /// `"A up, B joining"`, as this node sees it.
    fn members(&self, of: char) -> String {
        let Some(state) = self.nodes[&address(of)].state() else { return String::new() };
        let mut members: Vec<_> = state
            .members()
            .values()
            .map(|member| format!("{} {}", member.address().host(), member.status))
            .collect();
        members.sort();
        members.join(", ")
    }

    fn told(&self, at: char, which: impl Fn(&Event) -> bool) -> bool {
        self.told.iter().any(|(who, event)| *who == address(at) && which(event))
    }
}

#[test]
fn one_listed_node_forms_at_once() {
    let mut room = Room::new();
    room.enter('A', "A", settings(1));
    room.now = 100;
    room.give('A', Input::Tick);
    room.give('A', Input::Tick);
    assert_eq!(room.members('A'), "A up");
}

#[test]
fn fewer_than_a_majority_wait_and_say_for_how_many() {
    let mut room = Room::new();
    room.enter('A', "ABC", settings(3));
    room.pass(30);
    assert_eq!(room.members('A'), "");
    let waits = |event: &Event| matches!(event, Event::Waiting { needed: 2, answered } if *answered == [address('A')]);
    assert!(room.told('A', waits));
    room.enter('C', "ABC", settings(3));
    room.pass(10);
    assert_eq!(room.members('A'), "A up, C up");
    assert_eq!(room.members('C'), "A up, C up");
}

#[test]
fn without_contact_points_nobody_forms_and_the_operator_can() {
    let mut room = Room::new();
    let forming = FormingSettings { contact_points: None, ..FormingSettings::default() };
    room.enter('A', "AB", Settings { forming: forming.clone(), ..Settings::default() });
    room.enter('B', "AB", Settings { forming, ..Settings::default() });
    room.pass(30);
    assert_eq!((room.members('A'), room.members('B')), Default::default());
    let said: Vec<_> = room.told.iter().filter(|(at, _)| *at == address('A')).collect();
    assert_eq!(said, [&(address('A'), Event::CountUnknown { found: 2 })], "once, and nothing else");
    assert!(said[0].1.to_string().contains("contact_points"), "{}", said[0].1);
    let forming = FormingSettings { form: true, ..FormingSettings::default() };
    room.enter('C', "ABC", Settings { forming, ..Settings::default() });
    room.pass(5);
    assert_eq!(room.members('C'), "C up");
}

#[test]
fn who_remembers_a_cluster_does_not_form_below_its_majority() {
    let mut room = Room::new();
    room.enter('A', "A", settings(1));
    let members = "ABC".chars().map(address).collect();
    let memory = Memory { cluster: ClusterId(1), members, downed: false };
    let node = room.nodes.remove(&address('A')).unwrap().with_memory(Some(memory));
    room.nodes.insert(address('A'), node);
    room.pass(30);
    assert_eq!(room.members('A'), "");
}

#[test]
fn who_was_downed_begins_nothing_anew_before_all_have_answered() {
    let mut room = Room::new();
    for letter in "BC".chars() {
        let members = "ABC".chars().map(address).collect();
        let memory = Memory { cluster: ClusterId(1), members, downed: true };
        room.enter(letter, "ABC", settings(3));
        let node = room.nodes.remove(&address(letter)).unwrap().with_memory(Some(memory));
        room.nodes.insert(address(letter), node);
    }
    room.pass(40);
    assert_eq!(
        (room.members('B'), room.members('C')),
        Default::default(),
        "A may go on where they do not hear it"
    );
    room.enter('A', "ABC", settings(3));
    room.pass(30);
    assert_eq!(room.members('B'), "A up, B up, C up");
}

#[test]
fn who_was_given_up_before_it_heard_that_it_was_taken_in_joins_as_another() {
    let mut room = three();
    room.wall("D", "ABC");
    room.enter('D', "ABCD", settings(3));
    let first = room.nodes[&address('D')].id().clone();
    let identity = Arc::new(Identity::new(first.address.clone(), first.incarnation));
    let compatibility = room.nodes[&address('A')].core.compatibility();
    let join = Message::Join { identity, facts: Arc::default(), compatibility };
    room.give('A', Input::Received { from: first.clone(), message: join });
    room.give('A', Input::Down(first.incarnation));
    room.pass(5);
    assert_eq!(room.members('A'), "A up, B up, C up");
    room.walls.clear();
    room.pass(10);
    assert_eq!(room.members('A'), "A up, B up, C up, D up");
    assert_ne!(room.nodes[&address('D')].id().incarnation, first.incarnation);
}

#[test]
fn who_does_not_fit_is_refused_with_a_sentence() {
    let mut room = Room::new();
    room.enter('A', "A", settings(1));
    let other_name = Settings { cluster_name: "other".to_owned(), ..settings(2) };
    let downing = Downing { strategy: Strategy::DownAll, ..Downing::default() };
    let other_strategy = Settings { downing, ..settings(2) };
    room.enter('B', "AB", other_name);
    room.enter('C', "AC", other_strategy);
    room.pass(10);
    assert_eq!(room.members('A'), "A up");
    for (who, part) in
        [('B', "this is cluster \"annals\", not \"other\""), ('C', "the downing strategies differ")]
    {
        let refused = |event: &Event| matches!(event, Event::Refused(_, reason) if reason.contains(part));
        assert!(room.told(who, refused), "{who}: {part}");
    }
    let mine = Compatibility { cluster_name: "c".to_owned(), wire_version: 1, strategy: 1 };
    let newer = Compatibility { wire_version: 3, ..mine.clone() };
    assert!(mine.objection(&newer).is_some_and(|reason| reason.contains("more than one apart")));
    assert_eq!(mine.objection(&Compatibility { wire_version: 2, ..mine.clone() }), None);
}

fn three() -> Room {
    let mut room = Room::new();
    for letter in "ABC".chars() {
        room.enter(letter, "ABC", settings(3));
    }
    room.pass(15);
    assert_eq!(room.members('B'), "A up, B up, C up");
    room
}

#[test]
fn who_leaves_hands_over_and_is_removed() {
    let mut room = three();
    room.give('B', Input::Leave);
    room.pass(5);
    assert_eq!(room.members('A'), "A up, B exiting, C up");
    assert!(
        room.actions.iter().any(|(at, action)| *at == address('B') && matches!(action, Action::HandOver))
    );
    room.give('B', Input::HandedOver);
    room.pass(3);
    assert_eq!(room.members('A'), "A up, C up");
    assert_eq!(room.nodes[&address('B')].stopped(), Some(StopReason::Left));
}

#[test]
fn a_restart_on_the_same_address_is_a_new_member_and_displaces_the_old() {
    let mut room = three();
    let old = room.nodes[&address('C')].id().incarnation;
    room.enter('C', "ABC", settings(3));
    room.pass(6);
    let new = room.nodes[&address('C')].id().incarnation;
    assert_ne!(old, new);
    assert_eq!(room.members('A'), "A up, B up, C up");
    let state = room.nodes[&address('A')].state().unwrap();
    assert!(state.member(new).is_some() && state.was_removed(old));
}

#[test]
fn facts_reach_all_and_the_newest_win() {
    let mut room = three();
    for value in [1, 2] {
        room.give('C', Input::Announce(BTreeMap::from([("reads".to_owned(), vec![value])])));
    }
    room.pass(5);
    let state = room.nodes[&address('A')].state().unwrap();
    let facts =
        state.members().values().find(|member| *member.address() == address('C')).unwrap().facts.clone();
    assert_eq!(facts.entries()["reads"], [2]);
}

#[test]
fn a_cut_off_node_is_downed_and_stops_and_the_decision_is_kept() {
    let mut room = three();
    room.wall("AB", "C");
    room.pass(5);
    assert_eq!(room.members('A'), "A up, B up, C up", "not before the window has passed");
    room.pass(20);
    assert_eq!(room.members('A'), "A up, B up");
    assert_eq!(room.nodes[&address('C')].stopped(), Some(StopReason::Downed));
    let decision = room.nodes[&address('A')].decisions().next().expect("A decided").to_string();
    assert!(decision.contains("down the unreachable: [C:1#") && decision.contains("A:1#"), "{decision}");
}

#[test]
fn one_link_that_is_cut_makes_nobody_unreachable_as_long_as_others_vouch() {
    let mut room = three();
    room.wall("A", "B");
    room.pass(40);
    assert_eq!(room.members('C'), "A up, B up, C up");
    assert!(!room.told('C', |event| matches!(event, Event::Unreachable(_))));
}

#[test]
fn a_suspended_node_accuses_nobody_when_it_goes_on() {
    let mut room = three();
    let asleep = room.nodes.remove(&address('C')).unwrap();
    room.pass(4);
    room.nodes.insert(address('C'), asleep);
    room.pass(20);
    assert!(room.told('C', |event| matches!(event, Event::Suspended(_))));
    assert!(!room.told('C', |event| matches!(event, Event::Unreachable(_))));
    assert_eq!(room.members('A'), "A up, B up, C up");
}

#[test]
fn a_clock_that_goes_back_stops_nothing() {
    let mut room = three();
    let mut node = room.nodes.remove(&address('A')).unwrap();
    let mut sent = 0;
    for tick in 0..100 {
        let actions = node.step(Moment::from_millis(tick * 100), Input::Tick);
        sent += actions.iter().filter(|action| matches!(action, Action::Send { .. })).count();
    }
    assert!(sent > 20, "{sent}");
}

#[test]
fn a_node_that_was_away_while_all_others_began_anew_gives_way() {
    let mut room = three();
    let asleep = room.nodes.remove(&address('A')).unwrap();
    room.enter('B', "ABC", settings(3));
    room.enter('C', "ABC", settings(3));
    room.pass(15);
    assert_eq!(room.members('B'), "B up, C up");
    room.nodes.insert(address('A'), asleep);
    room.pass(40);
    assert_eq!(room.nodes[&address('A')].stopped(), Some(StopReason::Downed));
    assert!(room.told('A', |event| matches!(event, Event::Superseded { .. })));
}

#[test]
fn a_contact_point_votes_for_one_candidate_at_a_time() {
    let mut room = Room::new();
    room.enter('V', "ABCDV", settings(5));
    let ask = |room: &mut Room, letter: char| {
        let from = NodeId { address: address(letter), incarnation: Incarnation(u64::from(letter)) };
        let node = room.nodes.get_mut(&address('V')).unwrap();
        let actions =
            node.step(Moment::from_millis(room.now), Input::Received { from, message: Message::RequestVote });
        actions
            .iter()
            .any(|action| matches!(action, Action::Send { message: Message::Vote { granted: true }, .. }))
    };
    assert!(ask(&mut room, 'A') && !ask(&mut room, 'B') && ask(&mut room, 'A'));
    room.now += 10_000;
    assert!(ask(&mut room, 'B') && !ask(&mut room, 'A'));
}

#[test]
fn members_give_no_votes() {
    let mut room = three();
    let from = NodeId { address: address('D'), incarnation: Incarnation(1) };
    let node = room.nodes.get_mut(&address('A')).unwrap();
    let now = Moment::from_millis(room.now);
    let answers = node.step(now, Input::Received { from: from.clone(), message: Message::RequestVote });
    let refused =
        |action: &Action| matches!(action, Action::Send { message: Message::Vote { granted: false }, .. });
    assert!(answers.iter().any(refused));
    let compatibility = node.core.compatibility();
    let answers = node.step(now, Input::Received { from, message: Message::Ask(compatibility) });
    let joins = |action: &Action| {
        matches!(
            action,
            Action::Send { message: Message::Answer(Answer::InCluster { majority: true, .. }), .. }
        )
    };
    assert!(answers.iter().any(joins));
}

#[test]
fn case_84_another_data_center_that_is_not_reached_is_told_of_and_not_decided_about() {
    let mut room = Room::new();
    let identity = |letter: char, data_center: &str| {
        let mut identity = Identity::new(address(letter), Incarnation(u64::from(letter)));
        identity.data_center = data_center.to_owned();
        identity
    };
    for letter in "ABC".chars() {
        room.enter_as(identity(letter, "east"), "ABCDE", settings(5));
    }
    for letter in "DE".chars() {
        room.enter_as(identity(letter, "west"), "ABCDE", settings(5));
    }
    room.pass(20);
    assert_eq!(room.members('A'), "A up, B up, C up, D up, E up");
    room.wall("ABC", "DE");
    room.pass(40);
    assert!(room.told('A', |event| *event == Event::DataCenterUnreachable("west".to_owned())));
    assert_eq!(room.members('A'), "A up, B up, C up, D up, E up");
    assert_eq!(room.members('D'), "A up, B up, C up, D up, E up");
}

#[test]
fn an_operator_downs_a_member() {
    let mut room = three();
    let whom = room.nodes[&address('C')].id().incarnation;
    room.give('B', Input::Down(whom));
    room.pass(5);
    assert_eq!(room.members('A'), "A up, B up");
    assert_eq!(room.nodes[&address('C')].stopped(), Some(StopReason::Downed));
    assert!(room.told('A', |event| matches!(event, Event::Removed(_, MemberStatus::Down))));
}
