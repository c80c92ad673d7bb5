//! What nodes say to each other.
//!
//! ```text
//! outside                        a member or contact point
//!    ── Ask ─────────────────────────→
//!    ←───────────────────── Answer ──     in a cluster (join there), outside too, or refused
//!    ── RequestVote ─────────────────→    only if nobody is in a cluster
//!    ←─────────────────────── Vote ──
//!    ── Join ────────────────────────→
//!    ←──────────────────── Welcome ──     the whole state
//!
//! member A                       member B
//!    ── Digest ──────────────────────→    equal fingerprints: B takes A's seen-set, that is all
//!    ←───────────────────── Groups ──     they differ: fingerprints of 32 groups (above 64 members)
//!    ── Entries ─────────────────────→    versions of the members in groups that differ
//!    ←────────────────────── Delta ──     what A lacks, and what B wants
//!    ── Delta ───────────────────────→    what B wants
//!
//!    ── Heartbeat ───────────────────→    ←── HeartbeatAnswer ──
//!    ── Probe(C) ────────────────────→    ── Heartbeat for A ──→ C ──→    ←── Vouch(C) ──
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::seen::Seen;
use crate::{ClusterId, Facts, Identity, Incarnation, Known, NodeAddress, Update};

/// What nodes say to each other. All but the first five are between members of one cluster.
#[derive(Debug, Clone)]
pub enum Message {
    /// Is there a cluster where you are?
    Ask(Compatibility),
    /// There is, there is not, or not for you.
    Answer(Answer),
    /// May I form a cluster?
    RequestVote,
    /// Bound to the candidate for a window, or not given.
    Vote {
        /// Which of both.
        granted: bool,
    },
    /// Take me in.
    Join {
        /// Who joins.
        identity: Arc<Identity>,
        /// What it announces.
        facts: Arc<Facts>,
        /// What must fit.
        compatibility: Compatibility,
    },
    /// You are in: this is what I know.
    Welcome {
        /// Which cluster.
        cluster: ClusterId,
        /// Who formed it.
        founder: Incarnation,
        /// All members.
        members: Vec<Update>,
        /// Who was removed, and how long ago.
        removed: Vec<(Incarnation, Duration)>,
    },
    /// From its founder: the cluster never came to be.
    Dissolved(ClusterId),
    /// What I know and who has seen it.
    Digest(Digest),
    /// Fingerprints of the groups of members.
    Groups {
        /// Which cluster.
        cluster: ClusterId,
        /// One for each group.
        groups: Vec<u64>,
    },
    /// What I know of the members of some groups.
    Entries {
        /// Which cluster.
        cluster: ClusterId,
        /// Which groups, one bit each.
        groups: u32,
        /// All members in these groups.
        known: Vec<Known>,
    },
    /// What you lack.
    Delta {
        /// The state that it is from.
        digest: Digest,
        /// What was lacking.
        updates: Vec<Update>,
        /// Who was removed.
        removed: Vec<(Incarnation, Duration)>,
        /// Members of which the sender wants to know more, with what it has of them.
        wants: Vec<Known>,
        /// Members that the sender does not know at all.
        unknown: Vec<Incarnation>,
    },
    /// Are you there?
    Heartbeat {
        /// Which cluster.
        cluster: ClusterId,
        /// Who really asks.
        asks: Option<Incarnation>,
    },
    /// I am.
    HeartbeatAnswer {
        /// Which cluster.
        cluster: ClusterId,
        /// Who really asked.
        asked: Option<Incarnation>,
    },
    /// Do you reach this member?
    Probe {
        /// Which cluster.
        cluster: ClusterId,
        /// The suspect.
        subject: Incarnation,
    },
    /// This member has answered me just now.
    Vouch {
        /// Which cluster.
        cluster: ClusterId,
        /// The suspect.
        subject: Incarnation,
    },
    /// I have handed over and end.
    ExitConfirmed(ClusterId),
    /// You are down, or removed.
    Obituary(ClusterId),
    /// I do not know you.
    Stranger(ClusterId),
}

/// A state and who has seen it.
#[derive(Debug, Clone)]
pub struct Digest {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Of the state.
    pub print: u64,
    /// `None`: all who must.
    pub seen: Option<Seen>,
}

/// What a node says to who asks for a cluster.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Join there.
    InCluster {
        /// Which cluster.
        cluster: ClusterId,
        /// Who takes in.
        join_at: NodeAddress,
        /// A majority of the contact points are members of it, and reachable.
        majority: bool,
    },
    /// I look for one too.
    Outside,
    /// We do not fit: a sentence that says why, and what to do.
    Refused(String),
}

/// What must be the same in a whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compatibility {
    /// Its name.
    pub cluster_name: String,
    /// Of the messages.
    pub wire_version: u32,
    /// Stands for the downing strategy and its settings.
    pub strategy: u64,
}

impl Compatibility {
    /// The version of the messages that this build speaks.
    pub const WIRE_VERSION: u32 = 1;

    /// Why a node that has `other` cannot join one that has `self`.
    pub(crate) fn objection(&self, other: &Self) -> Option<String> {
        if self.cluster_name != other.cluster_name {
            return Some(format!(
                "this is cluster {:?}, not {:?}: give both the same name, or the node other contact points",
                self.cluster_name, other.cluster_name
            ));
        }
        if self.wire_version.abs_diff(other.wire_version) > 1 {
            return Some(format!(
                "wire version {} and {} are more than one apart: upgrade step by step",
                self.wire_version, other.wire_version
            ));
        }
        (self.strategy != other.strategy).then(|| {
            "the downing strategies differ: give all members the same, with the same settings".to_owned()
        })
    }
}

impl Message {
    /// The cluster that it is about; `None`: none, it is about finding one.
    pub fn cluster(&self) -> Option<ClusterId> {
        match self {
            Self::Ask(_) | Self::Answer(_) | Self::RequestVote | Self::Vote { .. } | Self::Join { .. } => {
                None
            }
            Self::Digest(digest) | Self::Delta { digest, .. } => Some(digest.cluster),
            Self::Welcome { cluster, .. }
            | Self::Dissolved(cluster)
            | Self::Groups { cluster, .. }
            | Self::Entries { cluster, .. }
            | Self::Heartbeat { cluster, .. }
            | Self::HeartbeatAnswer { cluster, .. }
            | Self::Probe { cluster, .. }
            | Self::Vouch { cluster, .. }
            | Self::ExitConfirmed(cluster)
            | Self::Obituary(cluster)
            | Self::Stranger(cluster) => Some(*cluster),
        }
    }
}
