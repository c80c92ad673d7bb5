use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::founding::Founding;
use super::heartbeats::Suspicion;
use super::{Core, Next};
use crate::assessment::Assessment;
use crate::detector::{Pulse, observed};
use crate::downing::Resolver;
use crate::flaw::Flaw;
use crate::seen::Seen;
use crate::{
    Action, ClusterId, ClusterState, Event, Incarnation, Input, Member, MemberStatus, Memory, Message,
    Moment, NodeId, StopReason, Update,
};

/// A node in a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(super) state: ClusterState,
    /// Who has seen this state.
    pub(super) seen: Seen,
    pub(super) assessment: Assessment,
    pub(super) pulses: BTreeMap<Incarnation, Pulse>,
    pub(super) suspicions: BTreeMap<Incarnation, Suspicion>,
    pub(super) next_heartbeat: Moment,
    pub(super) next_gossip: Moment,
    pub(super) next_look: Moment,
    pub(super) last_converged: Moment,
    pub(super) resolver: Resolver,
    /// After a suspension: accuses nobody and decides nothing until then.
    pub(super) catching_up_until: Option<Moment>,
    /// As long as the cluster has not come to be.
    pub(super) founding: Option<Founding>,
    handing_over: bool,
    /// The state that has been assessed, and what was told of it.
    assessed: u64,
    told: BTreeMap<Incarnation, (NodeId, MemberStatus)>,
    told_unreachable: BTreeSet<Incarnation>,
    told_leader: Option<Incarnation>,
    told_too_many: Option<usize>,
    remembered: Vec<crate::NodeAddress>,
}

impl Membership {
    /// The first node of a cluster that has not come to be yet.
    pub(super) fn founded(core: &mut Core, needed: usize) -> Box<Self> {
        let mut state = ClusterState::new(core.new_cluster(), core.me());
        state.insert(Member::new(core.identity.clone(), MemberStatus::Joining, core.facts.clone()));
        let founding = Founding::mine(core, needed);
        Self::new(core, state, founding)
    }

    pub(super) fn welcomed(
        core: &mut Core,
        cluster: ClusterId,
        founder: Incarnation,
        members: &[Update],
        removed: &[(Incarnation, Duration)],
    ) -> Box<Self> {
        let mut state = ClusterState::new(cluster, founder);
        take_in(core, &mut state, members, removed);
        let founding = Founding::of_another(core);
        let mut membership = Self::new(core, state, founding);
        membership.gossip_at_once(core);
        membership
    }

    fn new(core: &mut Core, state: ClusterState, founding: Founding) -> Box<Self> {
        let resolver = Resolver::new(core.settings.downing.clone(), core.now, core.flaws);
        let assessment = Assessment::of(&state, core.me());
        core.tell(Event::Joined(state.id()));
        let mut membership = Box::new(Self {
            seen: Seen::none(assessment.order.len()),
            assessment,
            pulses: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            next_heartbeat: core.now,
            next_gossip: core.now,
            next_look: core.now,
            last_converged: core.now,
            resolver,
            catching_up_until: None,
            founding: (!state.is_established()).then_some(founding),
            handing_over: false,
            assessed: state.fingerprint().wrapping_add(1),
            told: BTreeMap::new(),
            told_unreachable: BTreeSet::new(),
            told_leader: None,
            told_too_many: None,
            remembered: Vec::new(),
            state,
        });
        membership.settle(core);
        membership
    }

    pub(super) const fn state(&self) -> &ClusterState {
        &self.state
    }

    pub(super) const fn leader(&self) -> Option<Incarnation> {
        self.assessment.leader
    }

    pub(super) fn is_converged(&self) -> bool {
        self.assessment.is_converged(&self.seen)
    }

    pub(super) fn status(&self, core: &Core) -> Option<MemberStatus> {
        self.state.member(core.me()).map(|member| member.status)
    }

    pub(super) fn step(&mut self, core: &mut Core, input: Input, suspended: bool) -> Next {
        if suspended && !core.flaws.has(Flaw::AccusesAfterSuspension) {
            self.catch_up(core);
        }
        match input {
            Input::Tick => self.tick(core),
            Input::Received { from, message } => {
                if let Some(next) = self.received(core, &from, message) {
                    return next;
                }
            }
            Input::Discovered(contacts) => core.contacts = contacts,
            Input::Leave => self.raise(core.me(), MemberStatus::Leaving),
            Input::HandedOver => {
                if self.handing_over {
                    self.confirm_exit(core);
                    return Next::Stopped(StopReason::Left);
                }
            }
            Input::Down(incarnation) => self.down_for_operator(core, incarnation),
            Input::Announce(entries) => {
                if core.announce(entries).is_ok() {
                    let facts = core.facts.clone();
                    self.state.change(core.me(), |member| member.facts = facts);
                }
            }
            Input::LeaseAnswered { acquired } => self.lease_answered(core, acquired),
        }
        self.settle(core);
        self.what_becomes_of_me(core)
    }

    fn tick(&mut self, core: &mut Core) {
        self.observe(core);
        self.settle(core);
        self.resolve(core);
        self.settle(core);
        self.lead(core);
        self.settle(core);
        self.gossip(core);
        self.look_for_others(core);
        self.state.forget_old_tombstones(core.now);
    }

    fn what_becomes_of_me(&mut self, core: &mut Core) -> Next {
        match self.status(core) {
            None | Some(MemberStatus::Down) if !core.flaws.has(Flaw::DownedGoesOn) => {
                self.gossip_at_once(core);
                if self.handing_over { Next::Stopped(StopReason::Left) } else { self.stop_downed(core) }
            }
            Some(MemberStatus::Exiting) if !self.handing_over => {
                self.handing_over = true;
                core.out.push(Action::HandOver);
                Next::Stay
            }
            _ => self.found(core),
        }
    }

    /// Where a restart finds it: a supervisor that starts the downed side of a split again must not make it a second cluster.
    pub(super) fn stop_downed(&self, core: &mut Core) -> Next {
        if !self.remembered.is_empty() {
            let members = self.remembered.clone();
            core.out.push(Action::Remember(Memory { cluster: self.state.id(), members, downed: true }));
        }
        Next::Stopped(StopReason::Downed)
    }

    fn confirm_exit(&mut self, core: &mut Core) {
        self.state.change(core.me(), |member| member.exit_confirmed = true);
        self.settle(core);
        let mut others = self.others(core);
        core.random.shuffle(&mut others);
        let leader = others.iter().position(|other| Some(other.incarnation) == self.assessment.leader);
        if let Some(leader) = leader {
            others.swap(0, leader);
        }
        for other in others.iter().take(5) {
            core.send(other, Message::ExitConfirmed(self.state.id()));
        }
    }

    /// Members beside this one that are not down.
    pub(super) fn others(&self, core: &Core) -> Vec<NodeId> {
        let others = self.state.members().values();
        others
            .filter(|member| member.incarnation() != core.me() && member.status != MemberStatus::Down)
            .map(|member| member.identity.id.clone())
            .collect()
    }

    /// Raises a member's status, if it may become that.
    pub(super) fn raise(&mut self, incarnation: Incarnation, status: MemberStatus) {
        self.state.change(incarnation, |member| {
            if member.status.may_become(status) {
                member.status = status;
            }
        });
    }

    /// Draws the conclusions from a state that has changed.
    pub(super) fn settle(&mut self, core: &mut Core) {
        if self.assessed == self.state.fingerprint() {
            return;
        }
        self.assessed = self.state.fingerprint();
        let before = std::mem::replace(&mut self.assessment, Assessment::of(&self.state, core.me()));
        let unseen = self.seen.members() != self.assessment.order.len();
        if !core.flaws.has(Flaw::SeenIsNotReset) || unseen {
            self.seen = Seen::none(self.assessment.order.len());
        }
        if let Some(me) = self.assessment.index(core.me()) {
            self.seen.add(me);
        }
        if before.order != self.assessment.order
            || before.unreachable != self.assessment.unreachable
            || self.pulses.is_empty()
        {
            self.choose_whom_to_observe(core);
        }
        if self.state.is_established() {
            self.founding = None;
            if self.status(core).is_some_and(|status| !status.is_going()) {
                self.remember(core);
            }
        }
        self.tell_what_changed(core);
        self.observe_for_downing(core);
    }

    fn choose_whom_to_observe(&mut self, core: &Core) {
        let mut observed =
            observed(&self.state, &self.assessment.unreachable, core.me(), core.settings.detector.observers);
        if let Some(me) = self.state.member(core.me()) {
            let is_member = |subject: &&Incarnation| {
                self.state.member(**subject).is_some_and(|member| member.status != MemberStatus::Down)
            };
            observed.extend(me.observations.unreachable.iter().filter(is_member));
        }
        self.pulses.retain(|subject, _| observed.contains(subject));
        self.suspicions.retain(|subject, _| observed.contains(subject));
        for subject in observed {
            self.pulses.entry(subject).or_insert_with(|| Pulse::new(core.now));
        }
    }

    fn remember(&mut self, core: &mut Core) {
        let gone = |member: &&Member| !member.status.is_going();
        let mut members: Vec<_> =
            self.state.members().values().filter(gone).map(|member| member.address().clone()).collect();
        members.sort();
        if members != self.remembered {
            self.remembered.clone_from(&members);
            core.out.push(Action::Remember(Memory { cluster: self.state.id(), members, downed: false }));
        }
    }

    fn tell_what_changed(&mut self, core: &mut Core) {
        let state = &self.state;
        self.told.retain(|incarnation, (id, status)| {
            let stays = state.member(*incarnation).is_some();
            if !stays {
                core.out.push(Action::Tell(Event::Removed(id.clone(), *status)));
            }
            stays
        });
        for (incarnation, member) in state.members() {
            if self.told.get(incarnation).is_none_or(|(_, status)| *status != member.status) {
                self.told.insert(*incarnation, (member.identity.id.clone(), member.status));
                core.tell(Event::Status(member.identity.id.clone(), member.status));
            }
        }
        self.tell_of_data_centers(core);
        for subject in self.assessment.unreachable.symmetric_difference(&self.told_unreachable) {
            if let Some(member) = self.state.member(*subject) {
                let id = member.identity.id.clone();
                let is = self.assessment.unreachable.contains(subject);
                core.tell(if is { Event::Unreachable(id) } else { Event::Reachable(id) });
            }
        }
        let too_many = core.settings.downing.strategy.too_many(&self.state);
        if too_many.is_some() && too_many != self.told_too_many {
            core.tell(Event::TooManyMembers { most: too_many.unwrap_or_default() });
        }
        self.told_too_many = too_many;
        self.told_unreachable.clone_from(&self.assessment.unreachable);
        if self.told_leader != self.assessment.leader {
            self.told_leader = self.assessment.leader;
            let leader = self.told_leader.and_then(|leader| self.state.member(leader));
            core.tell(Event::Leader(leader.map(|leader| leader.identity.id.clone())));
        }
    }
}

impl Membership {
    /// Another data center of which nobody is reached is told of, and not decided about.
    fn tell_of_data_centers(&self, core: &mut Core) {
        let own = &core.identity.data_center;
        let mut reached: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for member in self.state.members().values() {
            let name = &member.identity.data_center;
            if name != own && !self.assessment.unreachable.is_empty() {
                let is = |unreachable: &BTreeSet<Incarnation>| !unreachable.contains(&member.incarnation());
                let entry = reached.entry(name.clone()).or_default();
                entry.0 |= is(&self.told_unreachable);
                entry.1 |= is(&self.assessment.unreachable);
            }
        }
        for (name, (before, now)) in reached {
            if before && !now {
                core.tell(Event::DataCenterUnreachable(name));
            }
        }
    }
}

/// Takes in what another node told of members and removals. `None` for an update: it is about somebody who was removed.
pub(super) fn take_in(
    core: &Core,
    state: &mut ClusterState,
    members: &[Update],
    removed: &[(Incarnation, Duration)],
) -> Vec<Incarnation> {
    for (incarnation, age) in removed {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let since = Moment::from_millis(core.now.as_millis().saturating_sub(age));
        state.remove(*incarnation, since, core.flaws);
    }
    let buried = |update: &&Update| state.merge(update, core.flaws) == crate::cluster_state::Merged::Buried;
    members.iter().filter(buried).map(|update| update.known.incarnation).collect()
}
