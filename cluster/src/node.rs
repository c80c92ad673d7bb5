mod founding;
mod gossiping;
mod heartbeats;
mod joining;
mod leading;
mod membership;
mod outside;
mod resolving;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use self::membership::Membership;
use self::outside::Outside;
use crate::downing::Decision;
use crate::flaw::Flaws;
use crate::{
    Action, ClusterId, ClusterState, Compatibility, Event, Facts, FactsTooLarge, Identity, Incarnation,
    Input, Memory, Message, Moment, NodeAddress, NodeId, Random, Settings, StopReason,
};

/// One node of a cluster: a state machine without I/O.
#[derive(Debug, Clone)]
pub struct Node {
    core: Core,
    phase: Phase,
    /// What the driver's clock was ahead when it last went back.
    ahead: Duration,
    last_tick: Moment,
}

/// What is there in every phase.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    pub(crate) settings: Arc<Settings>,
    pub(crate) flaws: Flaws,
    pub(crate) identity: Arc<Identity>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) random: Random,
    pub(crate) now: Moment,
    pub(crate) contacts: Vec<NodeAddress>,
    pub(crate) memory: Option<Memory>,
    pub(crate) decisions: VecDeque<Decision>,
    pub(crate) out: Vec<Action>,
}

#[derive(Debug, Clone)]
enum Phase {
    Outside(Outside),
    Member(Box<Membership>),
    Stopped(StopReason),
}

/// What a phase ends with.
pub(crate) enum Next {
    Stay,
    Member(Box<Membership>),
    /// The cluster never came to be.
    Outside,
    Stopped(StopReason),
}

impl Node {
    /// How many decisions a node keeps.
    pub const DECISIONS: usize = 32;

    /// A node that has just started. The same seed and inputs give the same actions; take another seed for each incarnation.
    pub fn new(now: Moment, identity: Identity, settings: Settings, seed: u64) -> Self {
        let core = Core {
            settings: Arc::new(settings),
            flaws: Flaws::default(),
            identity: Arc::new(identity),
            facts: Arc::default(),
            random: Random::new(seed),
            now,
            contacts: Vec::new(),
            memory: None,
            decisions: VecDeque::new(),
            out: Vec::new(),
        };
        let phase = Phase::Outside(Outside::new(now));
        Self { core, phase, ahead: Duration::ZERO, last_tick: now }
    }

    /// What it remembers of an earlier life: it looks for those members first, and forms nothing below their majority.
    #[must_use]
    pub fn with_memory(mut self, memory: Option<Memory>) -> Self {
        self.core.memory = memory;
        self
    }

    /// What it announces from the beginning.
    #[must_use]
    pub fn with_facts(mut self, facts: Facts) -> Self {
        self.core.facts = Arc::new(facts);
        self
    }

    /// Makes it err, for the simulator.
    #[cfg(feature = "simulator")]
    #[must_use]
    pub fn with_flaw(mut self, flaw: Option<crate::Flaw>) -> Self {
        self.core.flaws = Flaws::of(flaw);
        self
    }

    /// Takes one step. `now` is the driver's clock; when that goes back, the node's goes on from where it was.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Action> {
        self.advance(now);
        let suspended = self.notice_suspension(&input);
        let next = match &mut self.phase {
            Phase::Outside(outside) => outside.step(&mut self.core, input),
            Phase::Member(membership) => membership.step(&mut self.core, input, suspended),
            Phase::Stopped(_) => Next::Stay,
        };
        match next {
            Next::Stay => {}
            Next::Member(membership) => self.phase = Phase::Member(membership),
            Next::Outside => {
                let incarnation = Incarnation(self.core.random.number());
                self.core.identity = self.core.identity.reborn(incarnation);
                self.phase = Phase::Outside(Outside::new(self.core.now));
            }
            Next::Stopped(reason) => {
                self.core.out.push(Action::Stop(reason));
                self.phase = Phase::Stopped(reason);
            }
        }
        std::mem::take(&mut self.core.out)
    }

    fn advance(&mut self, now: Moment) {
        let corrected = now + self.ahead;
        if corrected < self.core.now {
            self.ahead += self.core.now.since(corrected);
        }
        self.core.now = self.core.now.max(corrected);
    }

    fn notice_suspension(&mut self, input: &Input) -> bool {
        let gap = self.core.now.since(self.last_tick);
        let suspended = gap > self.core.settings.suspended_after;
        if suspended {
            self.core.tell(Event::Suspended(gap));
        }
        if suspended || matches!(input, Input::Tick) {
            self.last_tick = self.core.now;
        }
        suspended
    }

    /// Who it is. A node that dissolves what it was about to form is another incarnation afterwards.
    pub fn id(&self) -> &NodeId {
        &self.core.identity.id
    }

    /// What it knows of its cluster; `None`: it is in none.
    pub fn state(&self) -> Option<&ClusterState> {
        match &self.phase {
            Phase::Member(membership) => Some(membership.state()),
            _ => None,
        }
    }

    /// Whether all members that must have seen what this node knows.
    pub fn is_converged(&self) -> bool {
        matches!(&self.phase, Phase::Member(membership) if membership.is_converged())
    }

    /// Who leads those that this node reaches.
    pub fn leader(&self) -> Option<Incarnation> {
        match &self.phase {
            Phase::Member(membership) => membership.leader(),
            _ => None,
        }
    }

    /// Why it is no member any more.
    pub fn stopped(&self) -> Option<StopReason> {
        match self.phase {
            Phase::Stopped(reason) => Some(reason),
            _ => None,
        }
    }

    /// The last decisions about unreachable members that this node took, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.core.decisions.iter()
    }
}

impl Core {
    pub(crate) fn send(&mut self, to: &NodeId, message: Message) {
        let (address, incarnation) = (to.address.clone(), Some(to.incarnation));
        self.out.push(Action::Send { to: address, incarnation, message });
    }

    pub(crate) fn send_to_any(&mut self, to: NodeAddress, message: Message) {
        self.out.push(Action::Send { to, incarnation: None, message });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.out.push(Action::Tell(event));
    }

    pub(crate) fn me(&self) -> Incarnation {
        self.identity.id.incarnation
    }

    pub(crate) fn compatibility(&self) -> Compatibility {
        Compatibility {
            cluster_name: self.settings.cluster_name.clone(),
            wire_version: Compatibility::WIRE_VERSION,
            strategy: self.settings.downing.strategy.fingerprint(),
        }
    }

    pub(crate) fn announce(
        &mut self,
        entries: std::collections::BTreeMap<String, Vec<u8>>,
    ) -> Result<(), FactsTooLarge> {
        self.facts = Arc::new(self.facts.next(entries)?);
        Ok(())
    }

    pub(crate) fn keep(&mut self, decision: Decision) {
        if self.decisions.len() == Node::DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision.clone());
        self.out.push(Action::Decided(Box::new(decision)));
    }

    /// Contact points and remembered members, without this node.
    pub(crate) fn others(&self) -> Vec<NodeAddress> {
        let mut others = self.contacts.clone();
        others.extend(self.memory.iter().flat_map(|memory| memory.members.iter().cloned()));
        others.sort();
        others.dedup();
        others.retain(|address| *address != self.identity.id.address);
        others
    }

    /// Votes that forming takes; `None`: this node must not form.
    pub(crate) fn needed(&self) -> Option<usize> {
        if self.settings.forming.form {
            return Some(1);
        }
        let majority = |count: usize| count / 2 + 1;
        let listed = self.settings.forming.contact_points?.max(self.contacts.len());
        let remembered = self.memory.as_ref().map_or(0, |memory| majority(memory.members.len()));
        Some(majority(listed).max(remembered))
    }

    pub(crate) fn new_cluster(&mut self) -> ClusterId {
        ClusterId(self.random.number())
    }
}
