use std::collections::{BTreeMap, BTreeSet};

use crate::{ClusterId, Incarnation, MemberStatus, Memory, Message, Moment, Node, NodeId};

/// A place where a node runs, dies and is started again.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) node: Option<Node>,
    /// Ticks of earlier lives are ignored.
    pub(super) life: u32,
    /// Suspended as often as this.
    pub(super) suspended: u32,
    /// What came meanwhile.
    pub(super) backlog: Vec<(NodeId, Message)>,
    pub(super) memory: Option<Memory>,
    /// Milliseconds that its clock is ahead, and millionths by which it is faster since when.
    ahead: i64,
    drift: (i64, u64),
    /// Shall not be started again before the faults are over.
    pub(super) stays_down: bool,
    pub(super) store_cut: u32,
    /// When its lease was last taken or renewed, if it holds it.
    pub(super) lease: Option<u64>,
    pub(super) suspended_since: u64,
    pub(super) resumed: u64,
    pub(super) seen: SeenState,
}

/// What a process was last seen to know.
#[derive(Debug, Default)]
pub(super) struct SeenState {
    pub(super) cluster: Option<ClusterId>,
    pub(super) print: u64,
    pub(super) converged: bool,
    pub(super) members: BTreeMap<Incarnation, (MemberStatus, Option<u32>)>,
    pub(super) removed: BTreeSet<Incarnation>,
    pub(super) accuses: usize,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            node: None,
            life: 0,
            suspended: 0,
            backlog: Vec::new(),
            memory: None,
            ahead: 1_000_000,
            drift: (0, 0),
            stays_down: false,
            store_cut: 0,
            lease: None,
            suspended_since: 0,
            resumed: 0,
            seen: SeenState::default(),
        }
    }

    /// Its clock.
    pub(super) fn clock(&self, now: u64) -> Moment {
        let (ppm, since) = self.drift;
        let drifted = i64::try_from(now.saturating_sub(since)).unwrap_or(i64::MAX) / 1_000 * ppm / 1_000;
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        Moment::from_millis(u64::try_from(now + self.ahead + drifted).unwrap_or(0))
    }

    pub(super) fn jump(&mut self, by: i64) {
        self.ahead += by;
    }

    pub(super) fn drift(&mut self, now: u64, ppm: i64) {
        let before = self.clock(now).as_millis();
        self.drift = (ppm, now);
        self.ahead +=
            i64::try_from(before).unwrap_or(0) - i64::try_from(self.clock(now).as_millis()).unwrap_or(0);
    }

    pub(super) fn runs(&self) -> bool {
        self.node.is_some() && self.suspended == 0
    }
}
