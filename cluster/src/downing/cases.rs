//! The table of cases, one test each, by number. Members A to G by address; E is the oldest, then D, C, B, A. A has role r3, B r1 and
//! r3, C r2, D r1, r2 and r3. `Aj` is joining, `Aw` weakly up, `Al` leaving, `Ax` exiting, `Ad` down.

mod resolving;
mod strategies;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::view::Counted;
use super::{Strategy, Verdict, View, ViewMember};
use crate::{Identity, Incarnation, MemberStatus, NodeAddress};

/// `Aj`: a member by its letter and its status.
fn member(text: &str) -> ViewMember {
    let letter = text.chars().next().expect("a letter");
    let (number, roles): (u64, &[&str]) = match letter {
        'A' => (5, &["r3"]),
        'B' => (4, &["r1", "r3"]),
        'C' => (3, &["r2"]),
        'D' => (2, &["r1", "r2", "r3"]),
        'E' => (1, &[]),
        'F' => (6, &[]),
        _ => (7, &[]),
    };
    let status = match &text[1..] {
        "j" => MemberStatus::Joining,
        "w" => MemberStatus::WeaklyUp,
        "l" => MemberStatus::Leaving,
        "x" => MemberStatus::Exiting,
        "d" => MemberStatus::Down,
        _ => MemberStatus::Up,
    };
    let address = NodeAddress::new(&letter.to_lowercase().to_string(), 1).unwrap();
    let mut identity = Identity::new(address, life(letter));
    identity.roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let age = (status >= MemberStatus::Up).then_some(number as u32);
    ViewMember { identity: Arc::new(identity), status, age }
}

fn life(letter: char) -> Incarnation {
    Incarnation(u64::from(letter))
}

fn members(text: &str) -> Vec<ViewMember> {
    let mut members: Vec<_> = text.split_whitespace().map(member).collect();
    members.sort_by(|one, other| one.address().cmp(other.address()));
    members
}

/// `"AB BA"`: A does not reach B, B not A.
fn records(text: &str) -> BTreeSet<(Incarnation, Incarnation)> {
    let pair = |pair: &str| {
        let mut letters = pair.chars().map(life);
        (letters.next().expect("an observer"), letters.next().expect("a subject"))
    };
    text.split_whitespace().map(pair).collect()
}

fn letters(set: impl IntoIterator<Item = Incarnation>) -> String {
    set.into_iter().filter_map(|life| char::from_u32(life.0 as u32)).collect()
}

/// What the side `here` knows: it does not reach the members `there`, and these records besides.
fn view(here: &str, there: &str, indirect: &str) -> View {
    let (mine, theirs) = (members(here), members(there));
    let mut records = records(indirect);
    let observer = here.chars().next().expect("somebody decides");
    records.extend(theirs.iter().map(|member| (life(observer), member.incarnation())));
    let unreachable = records.iter().map(|(_, subject)| *subject).collect();
    let seen = mine.iter().map(ViewMember::incarnation).collect();
    let members = members(&format!("{here} {there}"));
    View { members, unreachable, records, seen }
}

fn verdict(strategy: &Strategy, here: &str, there: &str) -> Verdict {
    strategy.decide(&view(here, there, ""))
}

/// Whom the side `here` downs.
fn downs(strategy: &Strategy, here: &str, there: &str, indirect: &str) -> String {
    let view = view(here, there, indirect);
    letters(strategy.to_down(&view, strategy.decide(&view)))
}

/// Both sides down the same.
fn both_down(strategy: &Strategy, one: &str, other: &str, expected: &str) {
    assert_eq!(downs(strategy, one, other, ""), expected, "seen from {one}");
    assert_eq!(downs(strategy, other, one, ""), expected, "seen from {other}");
}

fn majority() -> Strategy {
    Strategy::KeepMajority { role: None }
}

fn majority_of(role: &str) -> Strategy {
    Strategy::KeepMajority { role: Some(role.to_owned()) }
}

fn quorum(quorum: usize) -> Strategy {
    Strategy::StaticQuorum { quorum, role: None }
}

fn oldest() -> Strategy {
    Strategy::KeepOldest { down_if_alone: true, role: None }
}

fn oldest_even_alone() -> Strategy {
    Strategy::KeepOldest { down_if_alone: false, role: None }
}
