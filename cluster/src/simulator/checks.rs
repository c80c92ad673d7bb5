use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Scenario;
use super::process::Process;
use crate::downing::Decision;
use crate::{ClusterId, Incarnation, MemberStatus};

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub invariant: &'static str,
    /// Where.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.detail)
    }
}

/// What is remembered of a run to judge it.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Who leads a state that all have seen.
    leaders: BTreeMap<(ClusterId, u64), Option<Incarnation>>,
    removed: BTreeSet<(ClusterId, Incarnation)>,
    up: BTreeSet<(ClusterId, Incarnation)>,
    /// Who may be removed: downed by a decision, or leaving.
    excused: BTreeSet<Incarnation>,
    downed: BTreeSet<Incarnation>,
    /// Since when two nodes go on without each other.
    apart: BTreeMap<(usize, usize), u64>,
}

impl Checks {
    pub(super) fn decided(&mut self, decision: &Decision) {
        self.excused.extend(decision.downed.iter().map(|id| id.incarnation));
        self.downed.extend(decision.downed.iter().map(|id| id.incarnation));
    }

    pub(super) fn left(&mut self, incarnation: Incarnation) {
        self.excused.insert(incarnation);
    }

    /// Looks at the node that has just taken a step.
    pub(super) fn after_step(
        &mut self,
        now: u64,
        place: usize,
        processes: &mut [Process],
    ) -> Result<(), Failure> {
        let process = &processes[place];
        let Some(node) = &process.node else { return Ok(()) };
        if let Some(last) = node.decisions().next_back() {
            self.excused.extend(last.downed.iter().map(|id| id.incarnation));
            self.downed.extend(last.downed.iter().map(|id| id.incarnation));
        }
        let Some(state) = node.state() else {
            processes[place].seen = super::process::SeenState::default();
            return Ok(());
        };
        let converged = node.is_converged();
        let seen = &process.seen;
        let same_cluster = seen.cluster == Some(state.id());
        if same_cluster && seen.print == state.fingerprint() && seen.converged == converged {
            return Ok(());
        }
        if converged {
            let leader = node.leader();
            let known = self.leaders.entry((state.id(), state.fingerprint())).or_insert(leader);
            if *known != leader {
                return fail(
                    "one leader per converged view",
                    format!("{} leads by {leader:?} and {known:?}", node.id()),
                );
            }
        }
        let mut next = super::process::SeenState {
            cluster: Some(state.id()),
            print: state.fingerprint(),
            converged,
            ..Default::default()
        };
        if same_cluster {
            next.removed.clone_from(&seen.removed);
        }
        let mut ages = BTreeSet::new();
        for (incarnation, member) in state.members() {
            if same_cluster && seen.removed.contains(incarnation) {
                return fail(
                    "no removed incarnation returns",
                    format!("{} has {} again as {}", node.id(), member.identity.id, member.status),
                );
            }
            if let Some((before, _)) = seen.members.get(incarnation).filter(|_| same_cluster)
                && *before > member.status
            {
                return fail(
                    "a status only rises",
                    format!(
                        "{} has {} fall from {before} to {}",
                        node.id(),
                        member.identity.id,
                        member.status
                    ),
                );
            }
            if member.status >= MemberStatus::Leaving {
                // Its own wish, or a decision.
                if member.status != MemberStatus::Down {
                    self.excused.insert(*incarnation);
                }
            }
            if let Some(age) = member.age.filter(|age| !ages.insert(*age)) {
                let detail = format!("{} has {} and another with age {age}", node.id(), member.identity.id);
                return fail(ONE_AGE, detail);
            }
            next.members.insert(*incarnation, (member.status, member.age));
        }
        let gone: Vec<_> = seen
            .members
            .keys()
            .filter(|incarnation| same_cluster && !next.members.contains_key(incarnation))
            .copied()
            .collect();
        next.accuses =
            state.member(node.id().incarnation).map_or(0, |member| member.observations.unreachable.len());
        if same_cluster && next.accuses > seen.accuses && process.resumed > 0 && now < process.resumed + 3_500
        {
            return fail("who was suspended accuses nobody", format!("{} does", node.id()));
        }
        let id = node.id().clone();
        let cluster = state.id();
        let came_up: Vec<_> = next
            .members
            .iter()
            .filter(|(_, (status, age))| *status == MemberStatus::Up && age.is_some())
            .map(|(incarnation, _)| *incarnation)
            .collect();
        let waited_for: Vec<_> = seen
            .members
            .iter()
            .filter(|(_, (status, _))| !status.is_going())
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in gone {
            next.removed.insert(incarnation);
            if self.removed.insert((cluster, incarnation)) {
                if !self.excused.contains(&incarnation) {
                    return fail(
                        "no member is removed but by leaving or by a downing decision",
                        format!("{id} removes {incarnation}"),
                    );
                }
                let going = |status: Option<MemberStatus>| status.is_none_or(MemberStatus::is_going);
                self.all_know(processes, cluster, &waited_for, incarnation, going, &id.to_string())?;
            }
        }
        for incarnation in came_up {
            if self.up.insert((cluster, incarnation)) {
                let known = |status: Option<MemberStatus>| status.is_some();
                self.all_know(processes, cluster, &waited_for, incarnation, known, &id.to_string())?;
            }
        }
        processes[place].seen = next;
        Ok(())
    }

    /// What a leader acts on must be known to all whom it waits for.
    fn all_know(
        &self,
        processes: &[Process],
        cluster: ClusterId,
        waited_for: &[Incarnation],
        subject: Incarnation,
        knows: impl Fn(Option<MemberStatus>) -> bool,
        who: &str,
    ) -> Result<(), Failure> {
        for node in processes.iter().filter_map(|process| process.node.as_ref()) {
            let Some(state) = node.state().filter(|state| state.id() == cluster) else { continue };
            let status = state.member(subject).map(|member| member.status);
            let me = node.id().incarnation;
            // Whom a decision has downed in the meantime is not waited for.
            if waited_for.contains(&me) && !self.downed.contains(&me) && !knows(status) {
                let status = status.map_or("nothing".to_owned(), |status| status.to_string());
                return fail(
                    "the leader acts on what all have seen",
                    format!("{who} acts on {subject}, of which {} knows: {status}", node.id()),
                );
            }
        }
        Ok(())
    }

    /// Looks at all nodes now and then: do some go on without each other?
    pub(super) fn look(
        &mut self,
        now: u64,
        scenario: &Scenario,
        processes: &[Process],
    ) -> Result<(), Failure> {
        // Pairs of very many nodes are too many, and they have no faults.
        let looked_at = if scenario.faults.is_empty() { 0 } else { processes.len() };
        for one in 0..looked_at {
            for other in one + 1..processes.len() {
                if !are_apart(&processes[one], &processes[other]) {
                    self.apart.remove(&(one, other));
                    same_ages(&processes[one], &processes[other])?;
                    continue;
                }
                let since = *self.apart.entry((one, other)).or_insert(now);
                let excused = processes[one].resumed.max(processes[other].resumed);
                let bound = scenario.both_sides_at_most();
                if now > since.max(excused) + bound && scenario.promises_one_side() {
                    return fail(
                        "after a split at most one side goes on (I12)",
                        both_go_on(one, other, bound),
                    );
                }
            }
        }
        Ok(())
    }
}

/// What two nodes that have not given each other up say of the ages of members.
fn same_ages(one: &Process, other: &Process) -> Result<(), Failure> {
    let (mine, theirs) = (&one.seen, &other.seen);
    if mine.cluster != theirs.cluster || mine.print == theirs.print || !one.runs() || !other.runs() {
        return Ok(());
    }
    let given_up = |seen: &super::process::SeenState, by: &Process| {
        let whom = by.node.as_ref().map(|node| node.id().incarnation);
        whom.is_none_or(|whom| {
            seen.members.get(&whom).is_none_or(|(status, _)| *status == MemberStatus::Down)
        })
    };
    if given_up(mine, other) || given_up(theirs, one) {
        return Ok(());
    }
    for (incarnation, (_, age)) in &mine.members {
        let (Some(age), Some((_, Some(another)))) = (age, theirs.members.get(incarnation)) else { continue };
        if age != another {
            return fail(ONE_AGE, format!("{incarnation} has age {age} and {another}"));
        }
    }
    Ok(())
}

const ONE_AGE: &str = "each member has one age, and each age one member";

fn both_go_on(one: usize, other: usize, bound: u64) -> String {
    format!("n{one} and n{other} have gone on without each other for {bound} ms")
}

/// Both run and act as members, and one has given up the other, or they are in different clusters.
fn are_apart(one: &Process, other: &Process) -> bool {
    let acts = |process: &Process| process.runs() && process.seen.cluster.is_some();
    if !acts(one) || !acts(other) {
        return false;
    }
    let (Some(mine), Some(theirs)) = (&one.node, &other.node) else { return false };
    let (Some(my_state), Some(their_state)) = (mine.state(), theirs.state()) else { return false };
    let acting = |state: &crate::ClusterState, who: Incarnation| {
        state.is_established()
            && state.member(who).is_some_and(|member| member.status >= MemberStatus::WeaklyUp)
    };
    if !acting(my_state, mine.id().incarnation) || !acting(their_state, theirs.id().incarnation) {
        return false;
    }
    let given_up = |state: &crate::ClusterState, whom: Incarnation| {
        state.was_removed(whom)
            || state.member(whom).is_some_and(|member| member.status == MemberStatus::Down)
    };
    my_state.id() != their_state.id()
        || given_up(my_state, theirs.id().incarnation)
        || given_up(their_state, mine.id().incarnation)
}

fn fail<T>(invariant: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure { invariant, detail })
}
