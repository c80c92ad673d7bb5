use std::collections::BTreeMap;
use std::fmt;

use crate::downing::Decision;
use crate::{ClusterId, Incarnation, MemberStatus, Message, NodeAddress, NodeId};

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time has passed: every [`Settings::tick`](crate::Settings::tick).
    Tick,
    /// A message for this incarnation came. The transport vouches for the sender.
    Received {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Discovery found these contact points. What it found before counts no more.
    Discovered(Vec<NodeAddress>),
    /// The node shall leave.
    Leave,
    /// What had to be handed over is handed over.
    HandedOver,
    /// An operator decides that a member is down.
    Down(Incarnation),
    /// The node announces these facts from now on.
    Announce(BTreeMap<String, Vec<u8>>),
    /// The store's answer to [`Action::AcquireLease`]. No answer in time counts as a refusal; a refusal without a question tells that
    /// the lease is lost.
    LeaseAnswered {
        /// Whether the lease is ours, with enough time left.
        acquired: bool,
    },
}

/// What the driver of a node does next, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send this.
    Send {
        /// Where.
        to: NodeAddress,
        /// To whom; `None`: to whoever is there.
        incarnation: Option<Incarnation>,
        /// What.
        message: Message,
    },
    /// Tell who subscribes.
    Tell(Event),
    /// Log it; [`Node::decisions`](crate::Node::decisions) keeps it.
    Decided(Box<Decision>),
    /// Acquire the lease in the journal's records, as an owner named by the cluster and this incarnation.
    AcquireLease,
    /// Give it back.
    ReleaseLease,
    /// Keep this where a restart finds it.
    Remember(Memory),
    /// Begin coordinated shutdown; [`Input::HandedOver`] when it has handed over.
    HandOver,
    /// The node is no member any more: stop what needs the cluster, shut down, exit.
    Stop(StopReason),
}

/// What a node remembers of its cluster beyond its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Where its members listened.
    pub members: Vec<NodeAddress>,
    /// The node was downed: others may go on. It joins them, and neither votes nor forms before all of them have said that they are in
    /// no cluster.
    pub downed: bool,
}

/// What changed, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This node is a member now.
    Joined(ClusterId),
    /// The cluster that was about to be formed did not come to be; the node looks again, as another incarnation.
    Dissolved(ClusterId),
    /// A member is new, or has another status.
    Status(NodeId, MemberStatus),
    /// A member is none any more; with its last status.
    Removed(NodeId, MemberStatus),
    /// Somebody finds a member unreachable.
    Unreachable(NodeId),
    /// Nobody finds it unreachable any more.
    Reachable(NodeId),
    /// Another member leads, or nobody.
    Leader(Option<NodeId>),
    /// This node was suspended, and accuses nobody until it has caught up.
    Suspended(std::time::Duration),
    /// There is another cluster of the same name that has a majority of the contact points, and this one has not: this node gives way.
    Superseded {
        /// The other one.
        by: ClusterId,
        /// Who is in it.
        told_by: NodeId,
    },
    /// There are more members than the static quorum allows: a split would down all.
    TooManyMembers {
        /// How many it allows.
        most: usize,
    },
    /// Nobody of another data center is reached. That is not decided about.
    DataCenterUnreachable(String),
    /// A contact point does not take this node in, and says why.
    Refused(NodeId, String),
    /// No cluster yet, and this node forms none: nobody has said how many contact points there are.
    CountUnknown {
        /// How many discovery has found.
        found: usize,
    },
    /// No cluster yet: a majority of the contact points is needed, these have answered.
    Waiting {
        /// Votes or members that are needed.
        needed: usize,
        /// Who has answered lately, this node included if it is a contact point.
        answered: Vec<NodeAddress>,
    },
}

/// Why a node is no member any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It left.
    Left,
    /// It was downed, or removed.
    Downed,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(cluster) => write!(formatter, "is in cluster {cluster}"),
            Self::Dissolved(cluster) => write!(formatter, "cluster {cluster} did not come to be"),
            Self::Status(id, status) => write!(formatter, "{id} is {status}"),
            Self::Removed(id, status) => write!(formatter, "{id} is removed, after it was {status}"),
            Self::Unreachable(id) => write!(formatter, "{id} is unreachable"),
            Self::Reachable(id) => write!(formatter, "{id} is reachable again"),
            Self::Leader(Some(id)) => write!(formatter, "{id} leads"),
            Self::Leader(None) => formatter.write_str("nobody leads"),
            Self::Suspended(gap) => write!(formatter, "was suspended for {gap:?}"),
            Self::Superseded { by, told_by } => {
                write!(formatter, "{told_by} is in cluster {by}, which has a majority of the contact points")
            }
            Self::TooManyMembers { most } => write!(formatter, "there are more than {most} members"),
            Self::DataCenterUnreachable(name) => {
                write!(formatter, "nobody of data center {name:?} is reached")
            }
            Self::Refused(id, reason) => write!(formatter, "{id} and this node refuse each other: {reason}"),
            Self::CountUnknown { found } => write!(
                formatter,
                "no cluster yet, and this node forms none: discovery has found {found} contact points, and how many there are to be is not said; \
                 say it in the settings (contact_points), the same on all nodes"
            ),
            Self::Waiting { needed, answered } => {
                write!(
                    formatter,
                    "no cluster yet: {needed} contact points are needed, of these have answered"
                )?;
                answered.iter().try_for_each(|address| write!(formatter, " {address}"))
            }
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Left => "it left",
            Self::Downed => "it was downed",
        })
    }
}
