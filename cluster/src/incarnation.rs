use std::fmt;

use crate::NodeAddress;

/// One life of a node, from its start to its end: a random number, never used again. A restart is another incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0 >> 32)
    }
}

/// A process that is spoken to: where, and in which life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Where it listens.
    pub address: NodeAddress,
    /// Its life.
    pub incarnation: Incarnation,
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}#{}", self.address, self.incarnation)
    }
}
