use std::fmt;

/// Something that goes wrong for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Virtual milliseconds after the start.
    pub begin: u64,
    /// When it is over.
    pub end: u64,
    /// What.
    pub kind: FaultKind,
}

/// What can go wrong. Nodes are numbers from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// These nodes and the others do not reach each other.
    Cut(Vec<usize>),
    /// What these nodes send does not reach the others.
    OneWay(Vec<usize>),
    /// These two do not reach each other.
    Link(usize, usize),
    /// Like a cut that comes and goes, each for so many milliseconds.
    Flapping(Vec<usize>, u64),
    /// So many of 1,000 messages are lost.
    Loss(u64),
    /// Messages take up to so many milliseconds more.
    Delay(u64),
    /// The same, and they overtake each other.
    Reordering(u64),
    /// So many of 1,000 messages come twice.
    Duplication(u64),
    /// The process dies, and is started again in the end; with or without its memory.
    Crash {
        /// Which node.
        node: usize,
        /// Whether it remembers its cluster afterwards.
        memory: bool,
    },
    /// The process does not run; messages wait for it.
    Suspension(usize),
    /// Each message to the node takes so many milliseconds more.
    Slow(usize, u64),
    /// The node's clock jumps by so many milliseconds at the beginning.
    ClockJump(usize, i64),
    /// The node's clock runs so many millionths faster.
    ClockDrift(usize, i64),
    /// Discovery tells the node only of these, and of one that is not there.
    Discovery(usize, Vec<usize>),
    /// The node does not reach the store of the lease.
    StoreCut(usize),
    /// The node is asked to leave at the beginning; it is started again in the end.
    Leave(usize),
}

impl FaultKind {
    /// Whether it divides nodes that run.
    pub(super) const fn divides(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::OneWay(_) | Self::Link(..) | Self::Flapping(..))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begin, end) = (self.begin, self.end);
        write!(
            formatter,
            "{}.{:03} to {}.{:03} s: ",
            begin / 1_000,
            begin % 1_000,
            end / 1_000,
            end % 1_000
        )?;
        match &self.kind {
            FaultKind::Cut(side) => write!(formatter, "{} cut off from the others", names(side)),
            FaultKind::OneWay(side) => {
                write!(formatter, "what {} send does not reach the others", names(side))
            }
            FaultKind::Link(one, other) => write!(formatter, "n{one} and n{other} do not reach each other"),
            FaultKind::Flapping(side, period) => {
                write!(formatter, "{} cut off and back again every {period} ms", names(side))
            }
            FaultKind::Loss(share) => write!(formatter, "{share} of 1,000 messages are lost"),
            FaultKind::Delay(most) => write!(formatter, "messages take up to {most} ms more"),
            FaultKind::Reordering(most) => {
                write!(formatter, "messages overtake each other by up to {most} ms")
            }
            FaultKind::Duplication(share) => write!(formatter, "{share} of 1,000 messages come twice"),
            FaultKind::Crash { node, memory: true } => write!(formatter, "n{node} has crashed"),
            FaultKind::Crash { node, memory: false } => {
                write!(formatter, "n{node} has crashed and forgets its cluster")
            }
            FaultKind::Suspension(node) => write!(formatter, "n{node} is suspended"),
            FaultKind::Slow(node, more) => write!(formatter, "messages to n{node} take {more} ms more"),
            FaultKind::ClockJump(node, by) => write!(formatter, "the clock of n{node} jumps by {by} ms"),
            FaultKind::ClockDrift(node, ppm) => {
                write!(formatter, "the clock of n{node} runs {ppm} ppm faster")
            }
            FaultKind::Discovery(node, seen) => {
                write!(
                    formatter,
                    "discovery tells n{node} of {} and of a node that is not there",
                    names(seen)
                )
            }
            FaultKind::StoreCut(node) => write!(formatter, "n{node} does not reach the store"),
            FaultKind::Leave(node) => write!(formatter, "n{node} leaves"),
        }
    }
}

fn names(nodes: &[usize]) -> String {
    let names: Vec<_> = nodes.iter().map(|node| format!("n{node}")).collect();
    format!("[{}]", names.join(" "))
}
