use std::collections::BTreeSet;

use crate::seen::Seen;
use crate::{ClusterState, Incarnation, MemberStatus};

/// What follows from a state: computed once a change.
#[derive(Debug, Clone)]
pub(crate) struct Assessment {
    /// The members in the order in which a seen-set counts them.
    pub(crate) order: Vec<Incarnation>,
    /// Who must have seen the state before the leader acts.
    pub(crate) required: Seen,
    /// Somebody who is waited for is unreachable.
    pub(crate) blocked: bool,
    pub(crate) unreachable: BTreeSet<Incarnation>,
    pub(crate) leader: Option<Incarnation>,
}

impl Assessment {
    /// A node does not take others' word that it is unreachable for its own leadership.
    pub(crate) fn of(state: &ClusterState, me: Incarnation) -> Self {
        let order: Vec<_> = state.members().keys().copied().collect();
        let unreachable = state.unreachable();
        let mut required = Seen::none(order.len());
        let mut blocked = false;
        for (index, member) in state.members().values().enumerate() {
            if !member.status.is_going() {
                required.add(index);
                blocked |= unreachable.contains(&member.incarnation());
            }
        }
        let leader = leader(state, |incarnation| incarnation == me || !unreachable.contains(&incarnation));
        Self { order, required, blocked, unreachable, leader }
    }

    pub(crate) fn index(&self, incarnation: Incarnation) -> Option<usize> {
        self.order.binary_search(&incarnation).ok()
    }

    pub(crate) fn is_converged(&self, seen: &Seen) -> bool {
        !self.blocked && seen.includes(&self.required)
    }
}

/// The first by address among the reachable that are up or leaving; without any, among the others that are not down.
fn leader(state: &ClusterState, is_reachable: impl Fn(Incarnation) -> bool) -> Option<Incarnation> {
    state
        .members()
        .values()
        .filter(|member| member.status != MemberStatus::Down && is_reachable(member.incarnation()))
        .min_by_key(|member| {
            (!member.status.is_settled(), member.status.is_going(), member.address(), member.incarnation())
        })
        .map(|member| member.incarnation())
}
