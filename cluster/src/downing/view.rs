use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{ClusterState, Identity, Incarnation, MemberStatus, NodeAddress};

/// What one node knows when it decides: the inputs of a decision.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Members of the own data center, by address.
    pub members: Vec<ViewMember>,
    /// Those that somebody finds unreachable.
    pub unreachable: BTreeSet<Incarnation>,
    /// Who finds whom unreachable.
    pub records: BTreeSet<(Incarnation, Incarnation)>,
    /// Who has seen the state that this view is of.
    pub seen: BTreeSet<Incarnation>,
}

/// A member in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewMember {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Where it stands.
    pub status: MemberStatus,
    /// Order of becoming up.
    pub age: Option<u32>,
}

impl ViewMember {
    /// Its life.
    pub fn incarnation(&self) -> Incarnation {
        self.identity.id.incarnation
    }

    /// Where it listens.
    pub fn address(&self) -> &NodeAddress {
        &self.identity.id.address
    }
}

/// Who is counted beside those that are up for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Joining ones may be up on the other side already.
    pub(super) joining: bool,
    /// Leaving ones may be exiting on the other side already.
    pub(super) leaving: bool,
}

impl Counted {
    pub(super) const CERTAIN: Self = Self { joining: false, leaving: true };
}

impl View {
    pub(crate) fn of(state: &ClusterState, me: Incarnation, seen: BTreeSet<Incarnation>) -> Self {
        let data_center = state.member(me).map(|member| member.identity.data_center.as_str());
        let near = |incarnation: Incarnation| {
            state
                .member(incarnation)
                .is_some_and(|member| Some(member.identity.data_center.as_str()) == data_center)
        };
        let mut members: Vec<_> = state
            .members()
            .values()
            .filter(|member| near(member.incarnation()))
            .map(|member| ViewMember {
                identity: member.identity.clone(),
                status: member.status,
                age: member.age,
            })
            .collect();
        members.sort_by(|one, other| one.identity.id.cmp(&other.identity.id));
        let mut records = state.records();
        records.retain(|(observer, subject)| near(*observer) && near(*subject));
        let unreachable = records.iter().map(|(_, subject)| *subject).collect();
        Self { members, unreachable, records, seen }
    }

    /// Whether a member is unreachable.
    pub fn is_unreachable(&self, member: &ViewMember) -> bool {
        self.unreachable.contains(&member.incarnation())
    }

    /// By address.
    pub(super) fn counted<'a>(
        &'a self,
        role: Option<&'a str>,
        counted: Counted,
    ) -> impl Iterator<Item = &'a ViewMember> {
        self.members.iter().filter(move |member| {
            let counts = match member.status {
                MemberStatus::Joining | MemberStatus::WeaklyUp => counted.joining,
                MemberStatus::Up => true,
                MemberStatus::Leaving => counted.leaving,
                MemberStatus::Exiting | MemberStatus::Down => false,
            };
            counts && member.identity.has(role)
        })
    }

    /// How many of them are reachable, and how many are not.
    pub(super) fn sides(&self, role: Option<&str>, counted: Counted) -> (usize, usize) {
        let unreachable = self.counted(role, counted).filter(|member| self.is_unreachable(member)).count();
        (self.counted(role, counted).count() - unreachable, unreachable)
    }

    /// Those that a decision can down: all but exiting and down.
    pub(super) fn downable(&self) -> BTreeSet<Incarnation> {
        let all = self.members.iter().filter(|member| !member.status.is_going());
        all.map(ViewMember::incarnation).collect()
    }
}
