//! What a member says to who asks, and how it takes others in.

use std::sync::Arc;

use super::membership::{Membership, take_in};
use super::{Core, Next};
use crate::downing::{Cause, Verdict};
use crate::message::Answer;
use crate::{
    Compatibility, Event, Facts, Identity, Member, MemberStatus, Message, NodeAddress, NodeId, Update,
};

impl Membership {
    pub(super) fn received(&mut self, core: &mut Core, from: &NodeId, message: Message) -> Option<Next> {
        match message {
            Message::Ask(theirs) => self.asked(core, from, &theirs),
            Message::Answer(answer) => return self.answered(core, from, &answer),
            Message::RequestVote => core.send(from, Message::Vote { granted: false }),
            Message::Vote { .. } => {}
            Message::Join { identity, facts, compatibility } => {
                self.take_in_who_joins(core, from, identity, facts, &compatibility);
            }
            message if message.cluster() != Some(self.state.id()) => {}
            Message::Dissolved(_) => {
                if self.founding.is_some() && from.incarnation == self.state.founder() {
                    return Some(self.dissolve(core, false));
                }
            }
            Message::Obituary(_) => {
                // Only of who is a member here: the other side of a split that this side has downed is not obeyed.
                let sender = self.state.member(from.incarnation).map(|member| member.status);
                if sender.is_some_and(|status| status != MemberStatus::Down) {
                    return Some(self.stop_downed(core));
                }
            }
            Message::Stranger(_) => {
                if self.status(core).is_some_and(|status| status < MemberStatus::Up) {
                    let (identity, facts, compatibility) =
                        (core.identity.clone(), core.facts.clone(), core.compatibility());
                    core.send(from, Message::Join { identity, facts, compatibility });
                }
            }
            Message::Welcome { members, removed, .. } => {
                take_in(core, &mut self.state, &members, &removed);
            }
            message => self.received_in_cluster(core, from, message),
        }
        None
    }

    fn received_in_cluster(&mut self, core: &mut Core, from: &NodeId, message: Message) {
        let Some(sender) = self.state.member(from.incarnation) else {
            let (cluster, removed) = (self.state.id(), self.state.was_removed(from.incarnation));
            return core
                .send(from, if removed { Message::Obituary(cluster) } else { Message::Stranger(cluster) });
        };
        if sender.status == MemberStatus::Down {
            return core.send(from, Message::Obituary(self.state.id()));
        }
        match message {
            Message::Digest(digest) => self.compare(core, from, &digest),
            Message::Groups { groups, .. } => self.compare_groups(core, from, &groups),
            Message::Entries { groups, known, .. } => self.compare_entries(core, from, groups, &known),
            Message::Delta { digest, updates, removed, wants, unknown } => {
                self.take_delta(core, from, &digest, &updates, &removed, &wants, &unknown);
            }
            Message::ExitConfirmed(_) => {
                self.state.change(from.incarnation, |member| {
                    member.exit_confirmed |= member.status == MemberStatus::Exiting;
                });
            }
            message => self.received_of_detector(core, from, &message),
        }
    }

    fn asked(&self, core: &mut Core, from: &NodeId, theirs: &Compatibility) {
        let answer = match core.compatibility().objection(theirs) {
            Some(objection) => Answer::Refused(objection),
            None if !self.takes_in(core) && self.founding.is_none() => return,
            None => {
                let founder =
                    self.state.member(self.state.founder()).map(|founder| founder.address().clone());
                let mine = core.identity.id.address.clone();
                let join_at = if self.founding.is_some() { founder.unwrap_or(mine) } else { mine };
                Answer::InCluster { cluster: self.state.id(), join_at, majority: self.has_majority(core) }
            }
        };
        core.send(from, Message::Answer(answer));
    }

    fn answered(&mut self, core: &mut Core, from: &NodeId, answer: &Answer) -> Option<Next> {
        if self.founding.is_some() {
            return self.founder_answered(core, from, answer);
        }
        match answer {
            Answer::InCluster { cluster, majority: true, .. }
                if *cluster != self.state.id() && !self.has_majority(core) =>
            {
                core.tell(Event::Superseded { by: *cluster, told_by: from.clone() });
                Some(self.stop_downed(core))
            }
            _ => None,
        }
    }

    /// Whether a majority of the contact points are members that this node does not know to be unreachable. Of two clusters of one name
    /// one at most has it: after an outage of all nodes but one that was suspended, that one finds the new cluster and gives way.
    fn has_majority(&self, core: &Core) -> bool {
        let Some(listed) = core.settings.forming.contact_points else { return false };
        let here = |member: &&Member| {
            !member.status.is_going()
                && core.contacts.contains(member.address())
                && !self.assessment.unreachable.contains(&member.incarnation())
        };
        let here: std::collections::BTreeSet<_> =
            self.state.members().values().filter(here).map(Member::address).collect();
        here.len() > listed.max(core.contacts.len()) / 2
    }

    /// Asks a contact point now and then that is no reachable member: there may be another cluster.
    pub(super) fn look_for_others(&mut self, core: &mut Core) {
        if core.now < self.next_look || self.founding.is_some() {
            return;
        }
        self.next_look = core.now + core.settings.forming.ask_interval * 5;
        let mut others = core.others();
        others.retain(|address| {
            !self.state.members().values().any(|member| {
                member.address() == address
                    && !member.status.is_going()
                    && !self.assessment.unreachable.contains(&member.incarnation())
            })
        });
        if let Some(other) = core.random.pick(&others).cloned() {
            core.send_to_any(other, Message::Ask(core.compatibility()));
        }
    }

    /// A cluster that has not come to be grows at its founder alone, so that one node knows who is bound.
    fn takes_in(&self, core: &Core) -> bool {
        let stays = self.status(core).is_some_and(|status| status <= MemberStatus::Up);
        stays && (self.founding.is_none() || self.state.founder() == core.me())
    }

    fn take_in_who_joins(
        &mut self,
        core: &mut Core,
        from: &NodeId,
        identity: Arc<Identity>,
        facts: Arc<Facts>,
        theirs: &Compatibility,
    ) {
        if identity.id != *from || from.address == core.identity.id.address || !self.takes_in(core) {
            return;
        }
        if let Some(objection) = core.compatibility().objection(theirs) {
            core.tell(Event::Refused(from.clone(), objection.clone()));
            return core.send(from, Message::Answer(Answer::Refused(objection)));
        }
        if self.state.was_removed(from.incarnation) {
            return core.send(from, Message::Obituary(self.state.id()));
        }
        self.displace(core, &from.address, from);
        if self.state.member(from.incarnation).is_none() {
            self.state.insert(Member::new(identity, MemberStatus::Joining, facts));
        }
        self.settle(core);
        let members = self.state.members().values().map(Update::whole).collect();
        let removed = self.state.tombstones(core.now);
        let (cluster, founder) = (self.state.id(), self.state.founder());
        core.send(from, Message::Welcome { cluster, founder, members, removed });
        self.gossip_at_once(core);
    }

    /// Whoever listens at an address proves that its earlier incarnations have ended.
    fn displace(&mut self, core: &mut Core, address: &NodeAddress, by: &NodeId) {
        let earlier = |member: &&Member| {
            member.address() == address
                && member.incarnation() != by.incarnation
                && member.status != MemberStatus::Down
        };
        let earlier: Vec<_> =
            self.state.members().values().filter(earlier).map(Member::incarnation).collect();
        if !earlier.is_empty() {
            self.down(core, earlier.into_iter().collect(), Verdict::DownUnreachable, Cause::Displaced);
        }
    }
}
