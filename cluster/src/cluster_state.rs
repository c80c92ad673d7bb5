//! What a node knows of its cluster, and how what two nodes know becomes one.
//!
//! Each part of each member only moves one way (a status rises, versions rise), so merging asks no clock and no order: whoever has
//! heard the same has the same state, and the same fingerprint of it. The fingerprint is the sum of those of the members, kept up
//! to date member by member; sums of 32 groups of members tell where two states differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::flaw::{Flaw, Flaws};
use crate::member::Observations;
use crate::random::mix;
use crate::tombstones::Tombstones;
use crate::{Facts, Identity, Incarnation, Member, MemberStatus, Moment};

/// Drawn by the node that formed the cluster; two clusters never become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0 >> 32)
    }
}

/// What a node knows of its cluster.
#[derive(Debug, Clone)]
pub struct ClusterState {
    id: ClusterId,
    /// Who formed it, and alone may bring its first members up.
    founder: Incarnation,
    members: BTreeMap<Incarnation, Member>,
    tombstones: Tombstones,
    print: u64,
    groups: [u64; Self::GROUPS],
}

/// How much of a member's state somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whose.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub status: MemberStatus,
    /// Its age.
    pub age: Option<u32>,
    /// Whether it has confirmed its exit.
    pub exit_confirmed: bool,
    /// Version of its facts.
    pub facts: u64,
    /// Version of its observations.
    pub observations: u64,
}

/// What one node tells another of a member: what that one lacks.
#[derive(Debug, Clone)]
pub struct Update {
    /// How far this brings the member.
    pub known: Known,
    /// For who does not know the member.
    pub identity: Option<Arc<Identity>>,
    /// For who has older facts.
    pub facts: Option<Arc<Facts>>,
    /// For who has older observations.
    pub observations: Option<Arc<Observations>>,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    Nothing,
    Changed,
    /// It is about somebody who was removed.
    Buried,
}

impl ClusterState {
    pub(crate) const GROUPS: usize = 32;

    pub(crate) fn new(id: ClusterId, founder: Incarnation) -> Self {
        Self {
            id,
            founder,
            members: BTreeMap::new(),
            tombstones: Tombstones::default(),
            print: 0,
            groups: [0; Self::GROUPS],
        }
    }

    /// Which cluster.
    pub const fn id(&self) -> ClusterId {
        self.id
    }

    /// Who formed it.
    pub const fn founder(&self) -> Incarnation {
        self.founder
    }

    /// By incarnation.
    pub const fn members(&self) -> &BTreeMap<Incarnation, Member> {
        &self.members
    }

    /// One of them.
    pub fn member(&self, incarnation: Incarnation) -> Option<&Member> {
        self.members.get(&incarnation)
    }

    /// Whether it was a member and is none any more.
    pub fn was_removed(&self, incarnation: Incarnation) -> bool {
        self.tombstones.contains(incarnation)
    }

    /// Whether the cluster has come to be: a majority of its contact points has joined, and the first members are up.
    pub fn is_established(&self) -> bool {
        self.members.values().any(|member| member.age.is_some())
    }

    /// Stands for the whole; equal states have equal fingerprints.
    pub const fn fingerprint(&self) -> u64 {
        self.print
    }

    /// Stands for each group.
    pub(crate) const fn groups(&self) -> &[u64; Self::GROUPS] {
        &self.groups
    }

    pub(crate) fn group_of(incarnation: Incarnation) -> usize {
        usize::try_from(mix(incarnation.0) % Self::GROUPS as u64).unwrap_or(0)
    }

    fn count(&mut self, incarnation: Incarnation, before: u64, after: u64) {
        let change = after.wrapping_sub(before);
        self.print = self.print.wrapping_add(change);
        let group = &mut self.groups[Self::group_of(incarnation)];
        *group = group.wrapping_add(change);
    }

    pub(crate) fn insert(&mut self, member: Member) {
        let (incarnation, print) = (member.incarnation(), member.print());
        if let Some(before) = self.members.insert(incarnation, member) {
            self.count(incarnation, before.print(), print);
        } else {
            self.count(incarnation, 0, print);
        }
    }

    /// Changes a member; says whether that made a difference.
    pub(crate) fn change(&mut self, incarnation: Incarnation, change: impl FnOnce(&mut Member)) -> bool {
        let Some(member) = self.members.get_mut(&incarnation) else { return false };
        let (before, facts) = (member.print(), member.facts.version());
        change(member);
        member.reprint(member.facts.version() != facts);
        let after = member.print();
        self.count(incarnation, before, after);
        before != after
    }

    pub(crate) fn remove(&mut self, incarnation: Incarnation, since: Moment, flaws: Flaws) -> Option<Member> {
        if !flaws.has(Flaw::ForgetsTheRemoved) {
            self.tombstones.bury(incarnation, since);
        }
        let member = self.members.remove(&incarnation)?;
        self.count(incarnation, member.print(), 0);
        Some(member)
    }

    pub(crate) fn forget_old_tombstones(&mut self, now: Moment) {
        self.tombstones.forget_old(now);
    }

    pub(crate) fn tombstones(&self, now: Moment) -> Vec<(Incarnation, Duration)> {
        self.tombstones.ages(now).collect()
    }

    pub(crate) fn tombstone(&self, incarnation: Incarnation, now: Moment) -> Option<(Incarnation, Duration)> {
        self.tombstones.age(incarnation, now).map(|age| (incarnation, age))
    }

    /// Takes in what another node knows of a member.
    pub(crate) fn merge(&mut self, update: &Update, flaws: Flaws) -> Merged {
        let known = update.known;
        if self.tombstones.contains(known.incarnation) {
            return Merged::Buried;
        }
        if !self.members.contains_key(&known.incarnation) {
            let Some(identity) = &update.identity else { return Merged::Nothing };
            let facts = update.facts.clone().unwrap_or_default();
            let mut member = Member::new(identity.clone(), known.status, facts);
            member.age = known.age;
            member.exit_confirmed = known.exit_confirmed;
            member.observations = update.observations.clone().unwrap_or_default();
            member.reprint(false);
            self.insert(member);
            return Merged::Changed;
        }
        let changed = self.change(known.incarnation, |member| {
            member.status =
                if flaws.has(Flaw::StatusFalls) { known.status } else { member.status.max(known.status) };
            member.age = match (member.age, known.age) {
                (Some(mine), Some(other)) => Some(mine.min(other)),
                (mine, other) => mine.or(other),
            };
            member.exit_confirmed |= known.exit_confirmed;
            if let Some(facts) = &update.facts
                && facts.version() > member.facts.version()
            {
                member.facts = facts.clone();
            }
            if let Some(observations) = &update.observations
                && observations.version > member.observations.version
            {
                member.observations = observations.clone();
            }
        });
        if changed { Merged::Changed } else { Merged::Nothing }
    }

    /// What is known of the members of these groups.
    pub(crate) fn known(&self, groups: u32) -> Vec<Known> {
        let among = |incarnation: &Incarnation| groups >> Self::group_of(*incarnation) & 1 == 1;
        self.members
            .iter()
            .filter(|(incarnation, _)| among(incarnation))
            .map(|(_, member)| Known::of(member))
            .collect()
    }

    /// What somebody lacks who has this much of a member; `None`: nothing.
    pub(crate) fn lacking(&self, member: &Member, other: Option<&Known>) -> Option<Update> {
        let known = Known::of(member);
        let Some(other) = other else { return Some(Update::whole(member)) };
        let facts = (known.facts > other.facts).then(|| member.facts.clone());
        let observations = (known.observations > other.observations).then(|| member.observations.clone());
        let more = known.status > other.status
            || (known.exit_confirmed && !other.exit_confirmed)
            || known.age.is_some_and(|mine| other.age.is_none_or(|theirs| mine < theirs))
            || facts.is_some()
            || observations.is_some();
        more.then_some(Update { known, identity: None, facts, observations })
    }

    /// Who is observed to be unreachable, by members that are not down.
    pub fn unreachable(&self) -> BTreeSet<Incarnation> {
        self.records().into_iter().map(|(_, subject)| subject).collect()
    }

    /// Who finds whom unreachable: both are members, the observer is not down.
    pub fn records(&self) -> BTreeSet<(Incarnation, Incarnation)> {
        let observers = self.members.iter().filter(|(_, member)| member.status != MemberStatus::Down);
        observers
            .flat_map(|(observer, member)| {
                member.observations.unreachable.iter().map(|subject| (*observer, *subject))
            })
            .filter(|(_, subject)| self.members.contains_key(subject))
            .collect()
    }
}

impl Known {
    pub(crate) fn of(member: &Member) -> Self {
        Self {
            incarnation: member.incarnation(),
            status: member.status,
            age: member.age,
            exit_confirmed: member.exit_confirmed,
            facts: member.facts.version(),
            observations: member.observations.version,
        }
    }

    /// Whether `other` has something of this member that `self` has not.
    pub(crate) fn lacks(&self, other: &Self) -> bool {
        other.status > self.status
            || (other.exit_confirmed && !self.exit_confirmed)
            || other.age.is_some_and(|theirs| self.age.is_none_or(|mine| theirs < mine))
            || other.facts > self.facts
            || other.observations > self.observations
    }
}

impl Update {
    pub(crate) fn whole(member: &Member) -> Self {
        Self {
            known: Known::of(member),
            identity: Some(member.identity.clone()),
            facts: Some(member.facts.clone()),
            observations: Some(member.observations.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeAddress, Random};

    fn state(random: &mut Random, changes: u32) -> ClusterState {
        let mut state = ClusterState::new(ClusterId(1), Incarnation(1));
        for _ in 0..changes {
            let incarnation = Incarnation(1 + random.below(6));
            if state.member(incarnation).is_none() {
                let address = NodeAddress::new(&format!("n{}", incarnation.0), 1).unwrap();
                let identity = Arc::new(Identity::new(address, incarnation));
                state.insert(Member::new(identity, MemberStatus::Joining, Arc::default()));
            }
            let status = MemberStatus::ALL[random.below(6) as usize];
            let seen = Incarnation(1 + random.below(6));
            match random.below(6) {
                0 => drop(state.remove(incarnation, Moment::default(), Flaws::NONE)),
                1 => {
                    state.change(incarnation, |member| {
                        // What a version means is decided by its owner alone.
                        let version = member.observations.version + 1;
                        let unreachable = BTreeSet::from([Incarnation(1 + version % 6)]);
                        member.observations = Arc::new(Observations { version, unreachable });
                    });
                }
                2 => drop(state.change(seen, |member| member.age = member.age.or(Some(seen.0 as u32)))),
                _ => drop(state.change(incarnation, |member| member.status = member.status.max(status))),
            }
        }
        state
    }

    fn merge_all(into: &mut ClusterState, from: &ClusterState) {
        for (incarnation, age) in from.tombstones(Moment::default()) {
            let _ = age;
            into.remove(incarnation, Moment::default(), Flaws::NONE);
        }
        for member in from.members().values() {
            into.merge(&Update::whole(member), Flaws::NONE);
        }
    }

    #[test]
    fn merging_is_the_same_in_any_order_and_any_number_of_times() {
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let states = [state(&mut random, 12), state(&mut random, 12), state(&mut random, 12)];
            let mut forward = states[0].clone();
            let mut backward = states[2].clone();
            for other in [1, 2, 1] {
                merge_all(&mut forward, &states[other]);
            }
            for other in [0, 1, 0, 2] {
                merge_all(&mut backward, &states[other]);
            }
            merge_all(&mut forward, &backward);
            merge_all(&mut backward, &forward);
            assert_eq!(forward.fingerprint(), backward.fingerprint(), "seed {seed}");
            assert_eq!(forward.groups(), backward.groups(), "seed {seed}");
        }
    }

    #[test]
    fn who_was_removed_does_not_come_back() {
        let mut random = Random::new(1);
        let old = state(&mut random, 30);
        let mut new = old.clone();
        let gone = *old.members().keys().next().expect("somebody is there");
        new.remove(gone, Moment::default(), Flaws::NONE);
        merge_all(&mut new, &old);
        assert!(new.member(gone).is_none() && new.was_removed(gone));
    }

    #[test]
    fn only_what_is_lacking_is_told() {
        let address = NodeAddress::new("a", 1).unwrap();
        let identity = Arc::new(Identity::new(address, Incarnation(1)));
        let mut state = ClusterState::new(ClusterId(1), Incarnation(1));
        state.insert(Member::new(identity, MemberStatus::Up, Arc::default()));
        let member = state.member(Incarnation(1)).unwrap();
        let known = Known::of(member);
        assert!(state.lacking(member, Some(&known)).is_none());
        let older = Known { status: MemberStatus::Joining, ..known };
        let update = state.lacking(member, Some(&older)).expect("the status rose");
        assert!(update.identity.is_none() && update.facts.is_none() && update.observations.is_none());
        assert!(state.lacking(member, None).expect("everything").identity.is_some());
    }
}
