//! Clusters of Annals: who is a member, who is reachable, who goes on after a split. Logic without I/O, and the simulator that proves it.
//!
//! A [`Node`] is a state machine: [`Node::step`] takes the time and an [`Input`] and says what to do. It has no clock, no socket, no task
//! and no randomness but a seed. What drives it sends its messages, calls it every [`Settings::tick`], and performs its [`Action`]s.
//!
//! - Membership: [`ClusterState`] is what a node knows, the same for all who have heard the same; [`MemberStatus`] only rises; the leader
//!   acts when all have seen what it acts on.
//! - Failure detection: each member is observed by nine others ([`DetectorSettings`]); others are asked before it is called unreachable.
//! - Downing: [`downing`] decides which side of a split goes on, by default the larger one.
//! - Forming: the same list of contact points on all nodes makes one cluster ([`FormingSettings`]).
//!
//! - [`shutdown`] (feature): the order in which a process stops, member of a cluster or not.
//!
//! With the feature `net` it runs: [`Cluster`] drives a node over TCP and TLS ([`transport`]), finds contact points ([`discovery`]), and
//! reaches actors on other nodes ([`remote`]).
//!
//! ```
//! use annals_cluster::{Action, Event, FormingSettings, Identity, Incarnation, Input, Moment, Node, NodeAddress, Settings};
//!
//! let address: NodeAddress = "127.0.0.1:2552".parse()?;
//! let forming = FormingSettings { contact_points: Some(1), ..FormingSettings::default() };
//! let settings = Settings { forming, ..Settings::default() };
//! let identity = Identity::new(address.clone(), Incarnation(7));
//! let mut node = Node::new(Moment::from_millis(0), identity, settings, 42);
//!
//! node.step(Moment::from_millis(0), Input::Discovered(vec![address]));
//! let actions = node.step(Moment::from_millis(100), Input::Tick);
//! assert!(actions.iter().any(|action| matches!(action, Action::Tell(Event::Joined(_)))));
//! # Ok::<(), annals_cluster::InvalidAddress>(())
//! ```

mod node;
pub use node::Node;
mod input;
pub use input::{Action, Event, Input, Memory, StopReason};
mod message;
pub use message::{Answer, Compatibility, Digest, Message};
mod wire;
pub use wire::InvalidMessage;
mod settings;
pub use settings::{DetectorSettings, FormingSettings, Settings};

mod node_address;
pub use node_address::{InvalidAddress, NodeAddress};
mod incarnation;
pub use incarnation::{Incarnation, NodeId};
mod identity;
pub use identity::Identity;
mod facts;
pub use facts::{Facts, FactsTooLarge};
mod member_status;
pub use member_status::MemberStatus;
mod member;
pub use member::{Member, Observations};
mod cluster_state;
pub use cluster_state::{ClusterId, ClusterState, Known, Update};
mod seen;
pub use seen::Seen;

#[cfg(feature = "net")]
mod cluster;
#[cfg(feature = "net")]
pub use cluster::{Cluster, ClusterSettings, ClusterView, DowningLease, Ended, Events, Heard, StartError};
pub mod discovery;
#[cfg(feature = "net")]
pub mod remote;
#[cfg(feature = "net")]
pub mod transport;

mod assessment;
mod detector;
pub mod downing;
mod tombstones;

#[cfg(feature = "shutdown")]
pub mod shutdown;
#[cfg(any(feature = "net", feature = "shutdown"))]
pub mod telemetry;

mod fingerprint;
mod moment;
pub use moment::Moment;
mod random;
pub use random::Random;
mod flaw;
#[cfg(feature = "simulator")]
pub use flaw::Flaw;
#[cfg(feature = "simulator")]
pub mod simulator;
