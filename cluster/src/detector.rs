//! Who is observed by whom, and how silence becomes suspicion.

mod phi;
mod pulse;
pub(crate) use pulse::Pulse;

use std::collections::BTreeSet;

use crate::random::mix;
use crate::{ClusterState, Incarnation, MemberStatus};

/// Whom `me` observes: the next `observers` reachable members on a ring, and the unreachable ones between them. The ring is in an order
/// that has nothing to do with addresses, so that the members of one rack observe those of others.
pub(crate) fn observed(
    state: &ClusterState,
    unreachable: &BTreeSet<Incarnation>,
    me: Incarnation,
    observers: usize,
) -> BTreeSet<Incarnation> {
    let mine = mix(me.0);
    let mut ring: Vec<_> = state
        .members()
        .values()
        .filter(|member| member.status != MemberStatus::Down && member.incarnation() != me)
        .map(|member| (mix(member.incarnation().0).wrapping_sub(mine), member.incarnation()))
        .collect();
    if ring.len() > observers {
        ring.sort_unstable();
    }
    let mut left = observers;
    let mut observed = BTreeSet::new();
    for (_, incarnation) in ring {
        if left == 0 {
            break;
        }
        left -= usize::from(!unreachable.contains(&incarnation));
        observed.insert(incarnation);
    }
    observed
}
