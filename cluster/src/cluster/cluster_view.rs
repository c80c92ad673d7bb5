use std::collections::BTreeSet;
use std::sync::Arc;

use crate::downing::Decision;
use crate::{ClusterId, ClusterState, Incarnation, Member, MemberStatus, Node, NodeId, StopReason};

/// What a node knows of its cluster at a moment.
#[derive(Debug, Clone)]
pub struct ClusterView {
    id: NodeId,
    state: Option<ClusterState>,
    leader: Option<Incarnation>,
    converged: bool,
    decisions: Arc<[Decision]>,
    stopped: Option<StopReason>,
}

impl ClusterView {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            id: node.id().clone(),
            state: node.state().cloned(),
            leader: node.leader(),
            converged: node.is_converged(),
            decisions: node.decisions().cloned().collect(),
            stopped: node.stopped(),
        }
    }

    /// Whether `node` knows what this says; decisions come with events.
    pub(super) fn is_of(&self, node: &Node) -> bool {
        self.state.as_ref().map(ClusterState::fingerprint) == node.state().map(ClusterState::fingerprint)
            && self.cluster() == node.state().map(ClusterState::id)
            && self.leader == node.leader()
            && self.converged == node.is_converged()
            && self.stopped == node.stopped()
            && self.id == *node.id()
    }

    /// Who this node is.
    pub const fn id(&self) -> &NodeId {
        &self.id
    }

    /// Which cluster; `None`: none yet, or none any more.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.state.as_ref().map(ClusterState::id)
    }

    /// All members, in the order of their addresses.
    pub fn members(&self) -> Vec<&Member> {
        let mut members: Vec<_> = self.state.iter().flat_map(|state| state.members().values()).collect();
        members.sort_by(|one, other| one.identity.id.cmp(&other.identity.id));
        members
    }

    /// How many members have this status.
    pub fn count(&self, status: MemberStatus) -> usize {
        self.members().iter().filter(|member| member.status == status).count()
    }

    /// This node's own status; `None`: it is no member.
    pub fn my_status(&self) -> Option<MemberStatus> {
        self.state.as_ref()?.member(self.id.incarnation).map(|member| member.status)
    }

    /// Members that somebody finds unreachable.
    pub fn unreachable(&self) -> BTreeSet<Incarnation> {
        self.state.as_ref().map(ClusterState::unreachable).unwrap_or_default()
    }

    /// Who leads those that this node reaches.
    pub const fn leader(&self) -> Option<Incarnation> {
        self.leader
    }

    /// Whether all members that must have seen this.
    pub const fn is_converged(&self) -> bool {
        self.converged
    }

    /// The last decisions about unreachable members that this node took, oldest first.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Why it is no member any more.
    pub const fn stopped(&self) -> Option<StopReason> {
        self.stopped
    }

    pub(super) const fn state(&self) -> Option<&ClusterState> {
        self.state.as_ref()
    }
}
