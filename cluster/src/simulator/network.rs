use super::{Fault, FaultKind};
use crate::Random;

/// Who reaches whom, and how long it takes.
#[derive(Debug)]
pub(super) struct Network {
    nodes: usize,
    /// How many faults are between two nodes.
    blocked: Vec<u16>,
    /// When the last message of a link arrives: the next one comes later.
    last_arrival: Vec<u64>,
    slow: Vec<u64>,
    loss: u64,
    delay: u64,
    reordering: u64,
    duplication: u64,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            blocked: vec![0; nodes * nodes],
            last_arrival: vec![0; nodes * nodes],
            slow: vec![0; nodes],
            loss: 0,
            delay: 0,
            reordering: 0,
            duplication: 0,
        }
    }

    /// A fault begins or ends; true if it was one of the network.
    pub(super) fn apply(&mut self, fault: &Fault, begins: bool) -> bool {
        let set = |value: u64| if begins { value } else { 0 };
        match &fault.kind {
            FaultKind::Cut(side) | FaultKind::Flapping(side, _) => self.cut(side, true, begins),
            FaultKind::OneWay(side) => self.cut(side, false, begins),
            FaultKind::Link(one, other) => {
                self.block(*one, *other, begins);
                self.block(*other, *one, begins);
            }
            FaultKind::Loss(share) => self.loss = set(*share),
            FaultKind::Delay(most) => self.delay = set(*most),
            FaultKind::Reordering(most) => self.reordering = set(*most),
            FaultKind::Duplication(share) => self.duplication = set(*share),
            FaultKind::Slow(node, more) => self.slow[*node] = set(*more),
            _ => return false,
        }
        true
    }

    fn cut(&mut self, side: &[usize], both_ways: bool, begins: bool) {
        for &inside in side {
            for outside in (0..self.nodes).filter(|node| !side.contains(node)) {
                self.block(inside, outside, begins);
                if both_ways {
                    self.block(outside, inside, begins);
                }
            }
        }
    }

    fn block(&mut self, from: usize, to: usize, begins: bool) {
        let link = &mut self.blocked[from * self.nodes + to];
        *link = if begins { *link + 1 } else { link.saturating_sub(1) };
    }

    /// When a message that is sent now arrives: never, once, or twice.
    pub(super) fn arrivals(
        &mut self,
        random: &mut Random,
        now: u64,
        from: usize,
        to: usize,
    ) -> (Option<u64>, Option<u64>) {
        if self.blocked[from * self.nodes + to] > 0 || (self.loss > 0 && random.chance(self.loss)) {
            return (None, None);
        }
        let mut more = 1 + random.below(4) + self.slow[to];
        if self.delay > 0 {
            more += random.below(self.delay);
        }
        let mut arrival = now + more;
        if self.reordering > 0 {
            arrival += random.below(self.reordering);
        } else {
            let last = &mut self.last_arrival[from * self.nodes + to];
            arrival = arrival.max(*last);
            *last = arrival;
        }
        let twice = self.duplication > 0 && random.chance(self.duplication);
        (Some(arrival), twice.then(|| arrival + random.below(300)))
    }
}
