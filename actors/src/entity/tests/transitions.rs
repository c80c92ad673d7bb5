//! State × input: what leads where, and that each cell is exercised or cannot be.
//!
//! Recorded are runs of the model, whose owners do what the driver does, and the stories below.

use annals_journal::Replayed;
use annals_snapshot::SnapshotPolicy;

use super::rig::*;
use crate::entity::table::{INPUTS, STATES, Seen, take};
use crate::entity::{Action, Input, model};
use crate::plain::ActorFailure;

/// `+`: it happens. Other letters say why it cannot, see [`why`].
#[rustfmt::skip]
const TABLE: [(&str, [char; INPUTS.len()]); STATES.len()] = [
    //             command, claimed, superseded, fenced, claim failed, rested,
    //                 a snapshot, no snapshot, load failed, event, deleted, replay ended, replay failed,
    //                     stored, not stored, worked, child failed, saved, idle, drain, stop, wake again
    ("Claiming",  ['m', '+', '+', '+', '+', 'r',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Resting",   ['m', 'c', 'c', 'c', 'c', '+',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Loading",   ['m', 'c', 'c', 'c', 'c', 'r',  '+', '+', '+', 'e', 'e', 'e', 'e',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Replaying", ['m', 'c', 'c', 'c', 'c', 'r',  'l', 'l', 'l', '+', '+', '+', '+',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Settling",  ['m', 'c', 'c', 'c', 'c', 'r',  'l', 'l', 'l', '+', '+', '+', '+',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Running",   ['+', 'c', 'c', 'c', 'c', 'r',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  '+', '+', '+', '+', '+', '+', '+', '+', 's']),
    ("Leaving",   ['m', 'c', 'c', 'c', 'c', '+',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  '+', '+', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Pausing",   ['m', 'c', 'c', 'c', 'c', '+',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  'w', 'w', 'a', '+', '+', 'i', '+', '+', 's']),
    ("Stopped",   ['m', 'c', 'c', 'c', 'c', 'r',  'l', 'l', 'l', 'e', 'e', 'e', 'e',  'w', 'w', 'a', '+', '+', 'i', '+', '+', '+']),
];

fn why(letter: char) -> &'static str {
    match letter {
        'm' => "commands are taken from the mailbox only while the entity accepts them",
        'c' => "its claim is answered before it leaves `Claiming`",
        'r' => "a pause under way is dropped when the next step of recovery, or the end, takes its place",
        'l' => "its load is answered before it leaves `Loading`",
        'e' => "a replay is dropped when it leaves `Replaying` or `Settling`",
        'w' => "whoever throws a state away forgets its writes, and who stops waits for them",
        'a' => "whoever throws a state away or stops cancels the work",
        'i' => "only who accepts commands is called idle",
        's' => "only who has stopped is woken again",
        other => panic!("no reason {other}"),
    }
}

#[test]
fn each_cell_of_the_table_is_exercised_or_impossible() {
    take();
    model::run_some(1_000);
    settling();
    saves_that_end_late();
    pauses_that_end_late();
    stops_that_come_late();
    children_that_fail();
    drains();
    let seen = take();
    let wrong: Vec<_> = TABLE.iter().flat_map(|(state, row)| look(state, row, &seen)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// Prints a row; says what is not as the table has it.
fn look(state: &'static str, row: &[char], seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for (input, cell) in INPUTS.iter().zip(row) {
        match (cell, seen.get(&(state, *input))) {
            ('+', Some((to, times))) => {
                let to: Vec<_> = to.iter().copied().collect();
                println!("{state:9} × {input:13} → {} ({times} times)", to.join(", "));
            }
            ('+', None) => wrong.push(format!("{state} × {input} is possible, and was not exercised")),
            (letter, None) => println!("{state:9} × {input:13}   impossible: {}", why(*letter)),
            (letter, Some(_)) => {
                wrong.push(format!("{state} × {input} happened, and is called impossible: {}", why(*letter)));
            }
        }
    }
    wrong
}

/// Fenced while an outcome is unknown.
fn settled(input: Input<Counter>) {
    let mut rig = with_a_save_under_way();
    let _answer = rig.ask(Add(vec![1]));
    rig.append();
    rig.refused(unknown());
    rig.reclaim();
    rig.step(Input::Claimed(Err(fenced())));
    assert!(matches!(rig.take(), Action::Replay(..)));
    rig.step(input);
}

fn settling() {
    settled(Input::Replayed(Ok(Some(Replayed::Deleted { from: seq(2), to: seq(2) }))));
    settled(Input::Replayed(Err(unavailable())));
    settled(Input::Saved { stored: true });
    settled(Input::Stop);
    settled(Input::Drain);
}

fn drains() {
    // Claiming, loading, replaying, pausing.
    for steps in 0..4 {
        panicked(steps).step(Input::Drain);
    }
}

/// Running, with one event and its snapshot on the way.
fn with_a_save_under_way() -> Rig {
    let mut rig = Rig::running_with(SnapshotPolicy::every_events(1));
    let _answer = rig.ask(Add(vec![1]));
    rig.append();
    rig.written();
    assert!(matches!(rig.take(), Action::Save(_)));
    rig
}

/// The same, after a panic; how far it has come with its recovery.
fn panicked(steps: usize) -> Rig {
    let mut rig = with_a_save_under_way();
    let _answer = rig.ask(Explode::Handle);
    let token = rig.reclaim();
    if steps > 0 {
        rig.answer_claim(token, 1, 0);
    }
    if steps > 1 {
        rig.no_snapshot();
    }
    if steps > 2 {
        rig.replay(&[foreign(1, 1)]);
    }
    rig
}

fn child_failed() -> Input<Counter> {
    Input::ChildFailed(ActorFailure::Panicked { message: "child".into() })
}

fn children_that_fail() {
    // Claiming, loading, replaying, pausing.
    for steps in 0..4 {
        panicked(steps).step(child_failed());
    }
    let mut resting = panicked(0);
    resting.step(Input::Claimed(Err(unavailable())));
    resting.step(child_failed());
    settled(child_failed());
    Rig::running().step(child_failed());
    let mut leaving = Rig::running();
    let _answer = leaving.ask(Leave::Stop);
    leaving.step(child_failed());
    let mut stopped = Rig::running();
    stopped.step(Input::Idle);
    stopped.step(child_failed());
}

fn saves_that_end_late() {
    // Claiming, loading, replaying, pausing.
    for steps in 0..4 {
        panicked(steps).step(Input::Saved { stored: true });
    }
    let mut resting = panicked(0);
    resting.step(Input::Claimed(Err(unavailable())));
    resting.step(Input::Saved { stored: false });
    let mut fenced_meanwhile = with_a_save_under_way();
    let _answer = fenced_meanwhile.ask(Add(vec![1]));
    fenced_meanwhile.refused(fenced());
    fenced_meanwhile.step(Input::Saved { stored: true });
}

fn pauses_that_end_late() {
    let mut rig = panicked(3);
    // Its last snapshot waits for the save on its way.
    rig.step(Input::Stop);
    rig.step(Input::Rested);
    rig.step(Input::Saved { stored: true });
}

fn stops_that_come_late() {
    for steps in 0..4 {
        panicked(steps).step(Input::Stop);
    }
    // Side effects run, and the node stops.
    let mut rig = Rig::running();
    rig.step(Input::Idle);
    rig.step(Input::Stop);
    rig.step(Input::WakeAgain);
}
