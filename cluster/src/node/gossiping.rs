//! Digests first, then only what the other lacks.

use std::time::Duration;

use super::Core;
use super::membership::{Membership, take_in};
use crate::cluster_state::Known;
use crate::message::Digest;
use crate::{ClusterState, Incarnation, MemberStatus, Message, NodeId, Update};

/// Up to so many members, their versions are sent without asking for groups first.
const SMALL: usize = 64;

impl Membership {
    pub(super) fn gossip_at_once(&mut self, core: &mut Core) {
        self.next_gossip = core.now;
        self.settle(core);
        self.gossip(core);
    }

    pub(super) fn gossip(&mut self, core: &mut Core) {
        if core.now < self.next_gossip {
            return;
        }
        let interval = core.settings.gossip_interval;
        let hurry = self.seen.count() * 2 < self.assessment.order.len();
        self.next_gossip = core.now + if hurry { interval / 3 } else { interval };
        if let Some(peer) = self.peer(core) {
            let digest = self.digest();
            core.send(&peer, Message::Digest(digest));
        }
    }

    /// Mostly somebody who has not seen this state; seldom somebody whom this node does not reach.
    fn peer(&self, core: &mut Core) -> Option<NodeId> {
        let unreached = &self.state.member(core.me())?.observations.unreachable;
        let anyway = core.random.chance(100);
        let (mut all, mut unseen) = (Vec::new(), Vec::new());
        for (index, member) in self.state.members().values().enumerate() {
            let incarnation = member.incarnation();
            if incarnation == core.me() || member.status == MemberStatus::Down {
                continue;
            }
            if anyway || !unreached.contains(&incarnation) {
                all.push(&member.identity.id);
                if !self.seen.contains(index) {
                    unseen.push(&member.identity.id);
                }
            }
        }
        // In a large cluster too many would otherwise choose the same few.
        let preferred = if all.len() > 400 { 400 } else { 800 };
        let from = if !unseen.is_empty() && core.random.chance(preferred) { unseen } else { all };
        core.random.pick(&from).map(|id| (*id).clone())
    }

    fn digest(&self) -> Digest {
        let all = self.seen.includes(&self.assessment.required);
        Digest {
            cluster: self.state.id(),
            print: self.state.fingerprint(),
            seen: (!all).then(|| self.seen.clone()),
        }
    }

    /// Takes over who has seen this very state; says whether the sender knew less than this node.
    fn take_seen(&mut self, digest: &Digest) -> bool {
        let theirs = digest.seen.as_ref().unwrap_or(&self.assessment.required).clone();
        self.seen.add_all(&theirs);
        digest.seen.is_some() && theirs.members() == self.seen.members() && theirs != self.seen
    }

    pub(super) fn compare(&mut self, core: &mut Core, from: &NodeId, digest: &Digest) {
        if digest.print == self.state.fingerprint() {
            if let Some(index) = self.assessment.index(from.incarnation) {
                self.seen.add(index);
            }
            if self.take_seen(digest) {
                core.send(from, Message::Digest(self.digest()));
            }
            return;
        }
        let cluster = self.state.id();
        let message = if self.state.members().len() <= SMALL {
            Message::Entries { cluster, groups: u32::MAX, known: self.state.known(u32::MAX) }
        } else {
            Message::Groups { cluster, groups: self.state.groups().to_vec() }
        };
        core.send(from, message);
    }

    pub(super) fn compare_groups(&mut self, core: &mut Core, from: &NodeId, theirs: &[u64]) {
        let mut groups = 0_u32;
        for (index, (mine, theirs)) in self.state.groups().iter().zip(theirs).enumerate() {
            groups |= u32::from(mine != theirs) << index;
        }
        if groups != 0 {
            let known = self.state.known(groups);
            core.send(from, Message::Entries { cluster: self.state.id(), groups, known });
        }
    }

    pub(super) fn compare_entries(&mut self, core: &mut Core, from: &NodeId, groups: u32, known: &[Known]) {
        let theirs: std::collections::BTreeMap<_, _> =
            known.iter().map(|known| (known.incarnation, known)).collect();
        let asked = |incarnation: Incarnation| groups >> ClusterState::group_of(incarnation) & 1 == 1;
        let mine = self.state.members().values().filter(|member| asked(member.incarnation()));
        let updates: Vec<Update> = mine
            .filter_map(|member| self.state.lacking(member, theirs.get(&member.incarnation()).copied()))
            .collect();
        let removed: Vec<_> =
            known.iter().filter_map(|known| self.state.tombstone(known.incarnation, core.now)).collect();
        let (mut wants, mut unknown) = (Vec::new(), Vec::new());
        for known in known {
            match self.state.member(known.incarnation) {
                Some(member) if Known::of(member).lacks(known) => wants.push(Known::of(member)),
                None if !self.state.was_removed(known.incarnation) => unknown.push(known.incarnation),
                _ => {}
            }
        }
        if !updates.is_empty() || !removed.is_empty() || !wants.is_empty() || !unknown.is_empty() {
            core.send(from, Message::Delta { digest: self.digest(), updates, removed, wants, unknown });
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn take_delta(
        &mut self,
        core: &mut Core,
        from: &NodeId,
        digest: &Digest,
        updates: &[Update],
        removed: &[(Incarnation, Duration)],
        wants: &[Known],
        unknown: &[Incarnation],
    ) {
        let buried = take_in(core, &mut self.state, updates, removed);
        self.settle(core);
        let mut knows_less = false;
        if digest.print == self.state.fingerprint() {
            knows_less = self.take_seen(digest);
        }
        let lacking = |known: &Known| {
            let member = self.state.member(known.incarnation)?;
            self.state.lacking(member, Some(known))
        };
        let mut answers: Vec<_> = wants.iter().filter_map(lacking).collect();
        answers.extend(
            unknown.iter().filter_map(|incarnation| self.state.member(*incarnation)).map(Update::whole),
        );
        let gone = wants.iter().map(|known| known.incarnation).chain(unknown.iter().copied()).chain(buried);
        let removed: Vec<_> =
            gone.filter_map(|incarnation| self.state.tombstone(incarnation, core.now)).collect();
        if !answers.is_empty() || !removed.is_empty() {
            let (digest, wants, unknown) = (self.digest(), Vec::new(), Vec::new());
            core.send(from, Message::Delta { digest, updates: answers, removed, wants, unknown });
        } else if knows_less || digest.print == self.state.fingerprint() && digest.seen.is_some() {
            core.send(from, Message::Digest(self.digest()));
        }
    }
}
