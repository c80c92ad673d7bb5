use super::*;

/// Three members of which nobody decides for a minute who is down.
fn undecided() -> Room {
    let mut room = Room::new();
    for letter in "ABC".chars() {
        room.enter(letter, "ABC", slow_to_decide());
    }
    room.pass(15);
    assert_eq!(room.members('B'), "A up, B up, C up");
    room
}

fn slow_to_decide() -> Settings {
    let downing = Downing { stable_after: Duration::from_secs(60), ..Downing::default() };
    Settings { downing, ..settings(3) }
}

fn leaders(room: &Room) -> String {
    let leader = |node: &Node| {
        let leader = node.leader().and_then(|incarnation| node.state()?.member(incarnation));
        leader.map_or_else(|| "-".to_owned(), |member| member.address().host().to_owned())
    };
    room.nodes.values().map(leader).collect()
}

#[test]
fn who_joins_while_a_member_is_unreachable_is_weakly_up_and_up_when_all_have_seen_it() {
    let mut room = undecided();
    room.wall("ABD", "C");
    room.pass(8);
    assert!(room.told('A', |event| matches!(event, Event::Unreachable(id) if id.address == address('C'))));
    room.enter('D', "ABC", slow_to_decide());
    room.pass(12);
    assert_eq!(room.members('A'), "A up, B up, C up, D weakly up");
    assert_eq!(room.members('D'), "A up, B up, C up, D weakly up");
    assert!(!room.nodes[&address('A')].is_converged());

    room.walls.clear();
    room.pass(10);
    for at in "ABCD".chars() {
        assert_eq!(room.members(at), "A up, B up, C up, D up", "{at}");
    }
}

#[test]
fn the_lowest_address_that_is_reached_leads() {
    let mut room = undecided();
    assert_eq!(leaders(&room), "AAA");
    room.wall("A", "BC");
    room.pass(15);
    assert_eq!(leaders(&room), "ABB");
    assert!(room.told('C', |event| matches!(event, Event::Leader(Some(id)) if id.address == address('B'))));
    room.walls.clear();
    room.pass(10);
    assert_eq!(leaders(&room), "AAA");
    assert_eq!(room.members('A'), "A up, B up, C up", "a leader that reaches too few removes nobody");
}
