//! A cluster that has not come to be: its members are joining, and the founder alone may bring them up, once a majority of the contact
//! points is among them. A member of it votes for no other, until the founder is known to have given up or ended.
//!
//! A vote is only a promise for a window; joining is what binds. So two candidates that were both voted for, because a network was cut
//! between vote and joining, cannot both find a majority to join.

use std::collections::BTreeSet;

use super::membership::Membership;
use super::{Core, Next};
use crate::flaw::Flaw;
use crate::message::Answer;
use crate::{Event, MemberStatus, Message, Moment, NodeAddress, NodeId};

#[derive(Debug, Clone)]
pub(crate) struct Founding {
    role: Role,
    next_ask: Moment,
}

#[derive(Debug, Clone)]
enum Role {
    /// Until then enough must have joined.
    Founder {
        deadline: Moment,
        needed: usize,
        electors: BTreeSet<NodeAddress>,
    },
    Follower,
}

impl Founding {
    pub(super) fn mine(core: &Core, needed: usize) -> Self {
        let mut electors: BTreeSet<_> = core.others().into_iter().collect();
        electors.insert(core.identity.id.address.clone());
        let deadline = core.now + core.settings.forming.vote_window;
        let needed = if core.flaws.has(Flaw::EstablishesAlone) { 1 } else { needed };
        Self { role: Role::Founder { deadline, needed, electors }, next_ask: core.now }
    }

    pub(super) const fn of_another(core: &Core) -> Self {
        Self { role: Role::Follower, next_ask: core.now }
    }
}

impl Membership {
    /// The founder's first act as leader: all that have joined come up together.
    pub(super) fn may_establish(&self) -> bool {
        let Some(founding) = &self.founding else { return true };
        let Role::Founder { needed, electors, .. } = &founding.role else { return false };
        let joined = |member: &&crate::Member| {
            member.status <= MemberStatus::WeaklyUp && electors.contains(member.address())
        };
        let addresses: BTreeSet<_> =
            self.state.members().values().filter(joined).map(|member| member.address()).collect();
        addresses.len() >= *needed
    }

    /// Goes on founding; ends it when it has failed.
    pub(super) fn found(&mut self, core: &mut Core) -> Next {
        let Some(founding) = &mut self.founding else { return Next::Stay };
        if core.now < founding.next_ask {
            return Next::Stay;
        }
        founding.next_ask = core.now + core.settings.forming.ask_interval;
        match &founding.role {
            Role::Founder { deadline, needed, .. } => {
                let (deadline, needed) = (*deadline, *needed);
                if core.now >= deadline {
                    return self.dissolve(core, true);
                }
                let answered = self.state.members().values().map(|member| member.address().clone()).collect();
                core.tell(Event::Waiting { needed, answered });
            }
            Role::Follower => {
                if let Some(founder) = self.founder_address() {
                    core.send_to_any(founder, Message::Ask(core.compatibility()));
                }
            }
        }
        Next::Stay
    }

    fn founder_address(&self) -> Option<NodeAddress> {
        self.state.member(self.state.founder()).map(|founder| founder.address().clone())
    }

    /// Whether the answer of who is at the founder's address tells that this cluster will never come to be.
    pub(super) fn founder_answered(
        &mut self,
        core: &mut Core,
        from: &NodeId,
        answer: &Answer,
    ) -> Option<Next> {
        let follows = matches!(self.founding, Some(Founding { role: Role::Follower, .. }));
        if !follows || self.founder_address().as_ref() != Some(&from.address) {
            return None;
        }
        let lives = from.incarnation == self.state.founder()
            && matches!(answer, Answer::InCluster { cluster, .. } if *cluster == self.state.id());
        (!lives).then(|| self.dissolve(core, false))
    }

    pub(super) fn dissolve(&mut self, core: &mut Core, announce: bool) -> Next {
        if announce {
            for other in self.others(core) {
                core.send(&other, Message::Dissolved(self.state.id()));
            }
        }
        core.tell(Event::Dissolved(self.state.id()));
        Next::Outside
    }
}
