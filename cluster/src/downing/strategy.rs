use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use super::view::Counted;
use super::{Verdict, View, indirect, majority, oldest};
use crate::fingerprint::Fingerprint;
use crate::flaw::Flaws;
use crate::{ClusterState, Incarnation, Member, NodeAddress};

/// Which side of a split goes on. All members must have the same; who has another is refused when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// The side with more members; of two equal ones that with the lowest address. Promises one side at most, as long as there is one
    /// split at a time. Three sides without a majority all go.
    KeepMajority {
        /// Counts only members with this role.
        role: Option<String>,
    },
    /// The side with at least so many members. Promises one side at most up to `2 · quorum - 1` members; with more, all go.
    StaticQuorum {
        /// Members that a side needs.
        quorum: usize,
        /// Counts only members with this role.
        role: Option<String>,
    },
    /// The side with the oldest member, where the singletons are.
    KeepOldest {
        /// An oldest that is alone against two or more goes, and they stay. Without it a crash of the oldest ends the cluster.
        down_if_alone: bool,
        /// The oldest among the members with this role.
        role: Option<String>,
    },
    /// The side with the member at this address; without it all go.
    KeepReferee {
        /// Whose side goes on.
        referee: NodeAddress,
        /// A side with fewer members goes too.
        at_least: usize,
    },
    /// The side that gets the lease, of which there is one in the journal's records; the larger one asks first.
    LeaseMajority {
        /// How long the smaller side waits. Default 2 s in [`Strategy::lease_majority`].
        minority_waits: Duration,
        /// Sides are measured by members with this role.
        role: Option<String>,
    },
    /// Nobody goes on: for applications that are started again as a whole.
    DownAll,
}

impl FromStr for Strategy {
    type Err = InvalidStrategy;

    /// Reads `keep-majority`, `static-quorum=3`, `keep-oldest`, `keep-oldest=even-alone`, `keep-referee=host:port`, `lease-majority` and
    /// `down-all`.
    fn from_str(text: &str) -> Result<Self, InvalidStrategy> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let strategy = match (name, value) {
            ("keep-majority", None) => Some(Self::default()),
            ("static-quorum", Some(quorum)) => {
                let quorum = quorum.parse().ok().filter(|quorum| *quorum > 0);
                quorum.map(|quorum| Self::StaticQuorum { quorum, role: None })
            }
            ("keep-oldest", None) => Some(Self::KeepOldest { down_if_alone: true, role: None }),
            ("keep-oldest", Some("even-alone")) => {
                Some(Self::KeepOldest { down_if_alone: false, role: None })
            }
            ("keep-referee", Some(referee)) => {
                referee.parse().ok().map(|referee| Self::KeepReferee { referee, at_least: 1 })
            }
            ("lease-majority", None) => Some(Self::lease_majority()),
            ("down-all", None) => Some(Self::DownAll),
            _ => None,
        };
        strategy.ok_or_else(|| InvalidStrategy(text.chars().take(64).collect()))
    }
}

/// No strategy has this name, or not this value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no downing strategy: write keep-majority, static-quorum=SIZE, keep-oldest, keep-oldest=even-alone, \
     keep-referee=HOST:PORT, lease-majority or down-all"
)]
pub struct InvalidStrategy(String);

impl Default for Strategy {
    fn default() -> Self {
        Self::KeepMajority { role: None }
    }
}

impl Strategy {
    /// Lease majority of all members, where the smaller side waits 2 s.
    pub const fn lease_majority() -> Self {
        Self::LeaseMajority { minority_waits: Duration::from_secs(2), role: None }
    }

    /// What to do about the unreachable members of this view.
    pub fn decide(&self, view: &View) -> Verdict {
        self.decide_with(view, Flaws::default())
    }

    pub(crate) fn decide_with(&self, view: &View, flaws: Flaws) -> Verdict {
        match self {
            Self::DownAll => Verdict::DownAll,
            Self::StaticQuorum { quorum, role } => {
                let (reachable, unreachable) = view.sides(role.as_deref(), Counted::CERTAIN);
                if reachable + unreachable > Self::most_members(*quorum) {
                    Verdict::DownAll
                } else if indirect::is_there_any(view) {
                    Verdict::DownIndirectlyConnected
                } else if reachable >= *quorum {
                    Verdict::DownUnreachable
                } else {
                    Verdict::DownReachable
                }
            }
            Self::LeaseMajority { .. } if indirect::is_there_any(view) => {
                Verdict::AcquireLeaseForIndirectlyConnected
            }
            _ if indirect::is_there_any(view) => Verdict::DownIndirectlyConnected,
            Self::KeepMajority { role } => majority::decide(view, role.as_deref(), flaws),
            Self::KeepOldest { down_if_alone, role } => oldest::decide(view, *down_if_alone, role.as_deref()),
            Self::KeepReferee { referee, at_least } => {
                let (reachable, _) = view.sides(None, Counted::CERTAIN);
                let here = view
                    .counted(None, Counted::CERTAIN)
                    .any(|member| member.address() == referee && !view.is_unreachable(member));
                let there = view.counted(None, Counted::CERTAIN).any(|member| member.address() == referee);
                match (here, there) {
                    (true, _) if reachable >= *at_least => Verdict::DownUnreachable,
                    (_, true) => Verdict::DownReachable,
                    (_, false) => Verdict::DownAll,
                }
            }
            Self::LeaseMajority { minority_waits, role } => {
                let smaller = majority::is_smaller(view, role.as_deref());
                Verdict::AcquireLease { after: if smaller { *minority_waits } else { Duration::ZERO } }
            }
        }
    }

    /// Whom a verdict means.
    pub fn to_down(&self, view: &View, verdict: Verdict) -> BTreeSet<Incarnation> {
        let downable = view.downable();
        match verdict {
            Verdict::DownUnreachable | Verdict::AcquireLease { .. } => &downable & &view.unreachable,
            Verdict::DownReachable => &downable - &view.unreachable,
            Verdict::DownAll => downable,
            Verdict::DownIndirectlyConnected | Verdict::AcquireLeaseForIndirectlyConnected => {
                indirect::to_down(self, view, &downable)
            }
            Verdict::DownIndirectlyConnectedAndReachable => {
                &(&downable & &indirect::connected(view)) | &(&downable - &view.unreachable)
            }
        }
    }

    /// With more members than this a split could leave a quorum on both sides: they are all downed.
    pub const fn most_members(quorum: usize) -> usize {
        (quorum * 2).saturating_sub(1)
    }

    /// How many members the strategy allows, if the cluster has more: worth a warning before any split.
    pub fn too_many(&self, state: &ClusterState) -> Option<usize> {
        let Self::StaticQuorum { quorum, role } = self else { return None };
        let counts = |member: &&Member| member.status.is_settled() && member.identity.has(role.as_deref());
        let most = Self::most_members(*quorum);
        (state.members().values().filter(counts).count() > most).then_some(most)
    }

    /// The same for the same strategy, to compare at the door.
    pub(crate) fn fingerprint(&self) -> u64 {
        Fingerprint::new().bytes(format!("{self:?}").as_bytes()).finish()
    }
}
