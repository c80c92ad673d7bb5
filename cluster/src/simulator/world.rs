use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::checks::{Checks, Failure};
use super::network::Network;
use super::process::{Process, SeenState};
use super::scenario::{address, place_of};
use super::store::LeaseStore;
use super::{Fault, FaultKind, Scenario};
use crate::fingerprint::Fingerprint;
use crate::{
    Action, Event, Facts, Identity, Incarnation, Input, MemberStatus, Message, Node, NodeAddress, NodeId,
    Random, StopReason,
};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold.
    pub failure: Option<Failure>,
    /// Stands for everything that happened: equal on every machine.
    pub print: u64,
    /// Steps of nodes.
    pub steps: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Decisions about unreachable members.
    pub decisions: u64,
    /// When all were up in one cluster, in milliseconds; for ever in a run without faults.
    pub together_at: Option<u64>,
}

/// Runs a scenario to its end, or to its first failure.
pub fn run(scenario: &Scenario) -> Outcome {
    World::new(scenario, false).run().0
}

/// Runs it and tells what happened, line by line.
pub fn tell(scenario: &Scenario) -> (Outcome, Vec<String>) {
    World::new(scenario, true).run()
}

#[derive(Debug)]
enum Happening {
    Start(usize),
    Tick(usize, u32),
    Deliver { from: NodeId, to: usize, incarnation: Option<Incarnation>, message: Box<Message> },
    Begin(usize),
    End(usize),
    Flap(usize, bool),
    HandedOver(usize, u32),
    LeaseAnswered(usize, u32, bool),
    Renew(usize, u32),
    Look,
}

struct Due {
    at: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct World<'a> {
    scenario: &'a Scenario,
    settings: crate::Settings,
    random: Random,
    now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    processes: Vec<Process>,
    network: Network,
    store: LeaseStore,
    checks: Checks,
    print: Fingerprint,
    steps: u64,
    messages: u64,
    decisions: u64,
    together_at: Option<u64>,
    story: Option<Vec<String>>,
    /// Of all messages, and of gossip, if they are counted.
    bytes: Option<(u64, u64)>,
}

/// A supervisor starts a process again after this.
const RESTART: u64 = 3_000;
const LOOK: u64 = 500;

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, story: bool) -> Self {
        let mut world = Self {
            scenario,
            settings: scenario.settings(),
            random: Random::new(scenario.seed ^ 0xC1A5),
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            processes: (0..scenario.nodes).map(|_| Process::new()).collect(),
            network: Network::new(scenario.nodes),
            store: LeaseStore::default(),
            checks: Checks::default(),
            print: Fingerprint::new(),
            steps: 0,
            messages: 0,
            decisions: 0,
            together_at: None,
            story: story.then(Vec::new),
            bytes: None,
        };
        for (node, at) in scenario.starts.iter().enumerate() {
            world.at(*at, Happening::Start(node));
        }
        for (index, fault) in scenario.faults.iter().enumerate() {
            world.at(fault.begin, Happening::Begin(index));
            world.at(fault.end, Happening::End(index));
        }
        world.at(LOOK, Happening::Look);
        world
    }

    fn at(&mut self, at: u64, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Due { at, order: self.order, what }));
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>4}.{:03} s  {}", self.now / 1_000, self.now % 1_000, line()));
        }
    }

    fn run(mut self) -> (Outcome, Vec<String>) {
        let end = self.scenario.faults_end + self.scenario.settle;
        let mut failure = None;
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > end {
                break;
            }
            self.now = due.at;
            if let Err(found) = self.happen(due.what) {
                failure = Some(found);
                break;
            }
            // Whoever is together after the faults stays together, but for nodes that were asked to leave.
            let long_ago =
                self.together_at.is_some_and(|since| self.now >= since.max(self.scenario.faults_end) + 8_000);
            if long_ago && self.now > self.scenario.faults_end {
                break;
            }
        }
        if failure.is_none() && self.together_at.is_none() {
            failure = Some(self.not_together());
        }
        if let Some(failure) = &failure {
            let line = format!("FAILURE: {failure}");
            self.say(|| line);
        }
        let outcome = Outcome {
            failure,
            print: self.print.number(self.steps).finish(),
            steps: self.steps,
            messages: self.messages,
            decisions: self.decisions,
            together_at: self.together_at,
        };
        (outcome, self.story.unwrap_or_default())
    }

    pub(super) fn count_bytes(&mut self) {
        self.bytes = Some((0, 0));
    }

    pub(super) fn bytes(&self) -> (u64, u64) {
        self.bytes.unwrap_or_default()
    }

    pub(super) const fn together_at(&self) -> Option<u64> {
        self.together_at
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.processes.iter().filter_map(|process| process.node.as_ref())
    }

    pub(super) fn run_until(&mut self, end: u64) -> Result<(), Failure> {
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > end {
                self.queue.push(Reverse(due));
                break;
            }
            self.now = due.at;
            self.happen(due.what)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, what: Happening) -> Result<(), Failure> {
        match what {
            Happening::Start(node) => self.start(node)?,
            Happening::Tick(node, life) => {
                if self.processes[node].life == life && self.processes[node].node.is_some() {
                    let tick = u64::try_from(self.settings.tick.as_millis()).unwrap_or(u64::MAX);
                    self.at(self.now + tick, Happening::Tick(node, life));
                    if self.processes[node].suspended == 0 {
                        self.step(node, Input::Tick)?;
                    }
                }
            }
            Happening::Deliver { from, to, incarnation, message } => {
                let process = &mut self.processes[to];
                let Some(node) = &process.node else { return Ok(()) };
                if incarnation.is_some_and(|incarnation| incarnation != node.id().incarnation) {
                    return Ok(());
                }
                if process.suspended > 0 {
                    process.backlog.push((from, *message));
                } else {
                    self.step(to, Input::Received { from, message: *message })?;
                }
            }
            Happening::Begin(index) => self.begin(index)?,
            Happening::End(index) => self.end(index)?,
            Happening::Flap(index, begins) => {
                let fault = &self.scenario.faults[index];
                if let FaultKind::Flapping(_, period) = fault.kind
                    && self.now < fault.end
                {
                    self.network.apply(fault, begins);
                    self.at((self.now + period).min(fault.end), Happening::Flap(index, !begins));
                }
            }
            Happening::HandedOver(node, life) if self.lives(node, life) => {
                self.step(node, Input::HandedOver)?
            }
            Happening::LeaseAnswered(node, life, acquired) if self.lives(node, life) => {
                self.step(node, Input::LeaseAnswered { acquired })?;
            }
            Happening::Renew(node, life) if self.lives(node, life) => self.renew(node, life)?,
            Happening::HandedOver(..) | Happening::LeaseAnswered(..) | Happening::Renew(..) => {}
            Happening::Look => {
                self.look()?;
                self.at(self.now + LOOK, Happening::Look);
            }
        }
        Ok(())
    }

    fn lives(&self, node: usize, life: u32) -> bool {
        self.processes[node].life == life && self.processes[node].node.is_some()
    }

    fn start(&mut self, node: usize) -> Result<(), Failure> {
        let process = &mut self.processes[node];
        if process.node.is_some() || process.stays_down {
            return Ok(());
        }
        process.life += 1;
        process.seen = SeenState::default();
        process.resumed = 0;
        process.lease = None;
        let identity = Identity::new(address(node), Incarnation(self.random.number()));
        let id = identity.id.clone();
        let facts = Facts::new([("reads".to_owned(), vec![1, 2])].into()).unwrap_or_default();
        let started =
            Node::new(process.clock(self.now), identity, self.settings.clone(), self.random.number());
        let started =
            started.with_memory(process.memory.clone()).with_facts(facts).with_flaw(self.scenario.flaw);
        process.node = Some(started);
        let life = process.life;
        self.say(|| format!("{id} starts"));
        let first = self.now + self.random.below(250);
        self.at(first, Happening::Tick(node, life));
        let listed = (0..self.scenario.contact_points).map(address).collect();
        let lie = self.scenario.faults.iter().find_map(|fault| match &fault.kind {
            FaultKind::Discovery(of, seen)
                if *of == node && self.now >= fault.begin && self.now < fault.end =>
            {
                Some(told(seen))
            }
            _ => None,
        });
        self.step(node, Input::Discovered(lie.unwrap_or(listed)))
    }

    fn kill(&mut self, node: usize) {
        let process = &mut self.processes[node];
        process.node = None;
        process.backlog.clear();
    }

    fn begin(&mut self, index: usize) -> Result<(), Failure> {
        let fault: &Fault = &self.scenario.faults[index];
        self.say(|| format!("-- {fault}"));
        if self.network.apply(fault, true) {
            if let FaultKind::Flapping(_, period) = fault.kind {
                self.at((self.now + period).min(fault.end), Happening::Flap(index, false));
            }
            return Ok(());
        }
        match &fault.kind {
            FaultKind::Crash { node, memory } => {
                self.processes[*node].stays_down = true;
                if !memory {
                    self.processes[*node].memory = None;
                }
                self.kill(*node);
            }
            FaultKind::Suspension(node) => {
                let process = &mut self.processes[*node];
                process.suspended += 1;
                if process.suspended == 1 {
                    process.suspended_since = self.now;
                }
            }
            FaultKind::ClockJump(node, by) => self.processes[*node].jump(*by),
            FaultKind::ClockDrift(node, ppm) => self.processes[*node].drift(self.now, *ppm),
            FaultKind::Discovery(node, seen) if self.processes[*node].runs() => {
                return self.step(*node, Input::Discovered(told(seen)));
            }
            FaultKind::StoreCut(node) => self.processes[*node].store_cut += 1,
            FaultKind::Leave(node) if self.processes[*node].runs() => {
                self.processes[*node].stays_down = true;
                return self.step(*node, Input::Leave);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, index: usize) -> Result<(), Failure> {
        let fault: &Fault = &self.scenario.faults[index];
        self.say(|| format!("-- over: {fault}"));
        if let FaultKind::Flapping(_, period) = fault.kind {
            // Closed in even periods.
            let closed = (fault.end - fault.begin).div_ceil(period) % 2 == 1;
            if closed {
                self.network.apply(fault, false);
            }
            return Ok(());
        }
        if self.network.apply(fault, false) {
            return Ok(());
        }
        match &fault.kind {
            FaultKind::Crash { node, .. } | FaultKind::Leave(node) => {
                self.processes[*node].stays_down = false;
                self.at(self.now + 1, Happening::Start(*node));
            }
            FaultKind::Suspension(node) => {
                let process = &mut self.processes[*node];
                process.suspended -= 1;
                if process.suspended == 0 && process.node.is_some() {
                    // Shorter ones need not be noticed.
                    if self.now > process.suspended_since + 2_000 {
                        process.resumed = self.now;
                    }
                    let (life, backlog) = (process.life, std::mem::take(&mut process.backlog));
                    if self.random.chance(500) {
                        self.step(*node, Input::Tick)?;
                    }
                    for (from, message) in backlog {
                        if self.lives(*node, life) {
                            self.step(*node, Input::Received { from, message })?;
                        }
                    }
                }
            }
            FaultKind::ClockDrift(node, _) => self.processes[*node].drift(self.now, 0),
            FaultKind::Discovery(node, _) if self.processes[*node].runs() => {
                let listed = (0..self.scenario.contact_points).map(address).collect();
                return self.step(*node, Input::Discovered(listed));
            }
            FaultKind::StoreCut(node) => self.processes[*node].store_cut -= 1,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn step(&mut self, place: usize, input: Input) -> Result<(), Failure> {
        let process = &mut self.processes[place];
        let clock = process.clock(self.now);
        let Some(node) = &mut process.node else { return Ok(()) };
        let from = node.id().clone();
        let actions = node.step(clock, input);
        self.steps += 1;
        self.checks.after_step(self.now, place, &mut self.processes)?;
        self.print = self.print.number(self.now).number(actions.len() as u64);
        for action in actions {
            self.perform(place, &from, action)?;
        }
        Ok(())
    }

    fn perform(&mut self, place: usize, from: &NodeId, action: Action) -> Result<(), Failure> {
        let life = self.processes[place].life;
        match action {
            Action::Send { to, incarnation, message } => {
                self.messages += 1;
                if let Some((all, gossip)) = &mut self.bytes {
                    let bytes = message.encoded_len() as u64;
                    *all += bytes;
                    *gossip += if is_gossip(&message) { bytes } else { 0 };
                }
                let Some(to) = place_of(&to).filter(|to| *to < self.processes.len()) else { return Ok(()) };
                let (once, twice) = self.network.arrivals(&mut self.random, self.now, place, to);
                if let Some(at) = twice {
                    let message = Box::new(message.clone());
                    self.at(at, Happening::Deliver { from: from.clone(), to, incarnation, message });
                }
                if let Some(at) = once {
                    let message = Box::new(message);
                    self.at(at, Happening::Deliver { from: from.clone(), to, incarnation, message });
                }
            }
            Action::Tell(event) => {
                self.print = self.print.number(event_number(&event));
                self.say(|| format!("{from}: {event}"));
            }
            Action::Decided(decision) => {
                self.decisions += 1;
                self.say(|| decision.to_string());
                self.checks.decided(&decision);
            }
            Action::AcquireLease => {
                let reached = self.processes[place].store_cut == 0;
                let acquired = reached && self.store.acquire(self.now, from.incarnation);
                self.say(|| {
                    format!("{from} asks for the lease: {}", if acquired { "acquired" } else { "not" })
                });
                let took = 10 + self.random.below(40);
                if acquired {
                    self.processes[place].lease = Some(self.now);
                    self.at(self.now + 10_000, Happening::Renew(place, life));
                }
                let at = self.now + if reached { took } else { 5_000 };
                self.at(at, Happening::LeaseAnswered(place, life, acquired));
            }
            Action::ReleaseLease => {
                self.processes[place].lease = None;
                self.store.release(from.incarnation);
            }
            Action::Remember(memory) => self.processes[place].memory = Some(memory),
            Action::HandOver => {
                let at = self.now + self.random.below(4_000);
                self.at(at, Happening::HandedOver(place, life));
            }
            Action::Stop(reason) => {
                self.say(|| format!("{from} stops: {reason}"));
                if reason == StopReason::Left {
                    self.checks.left(from.incarnation);
                }
                self.kill(place);
                self.at(self.now + RESTART, Happening::Start(place));
            }
        }
        Ok(())
    }

    fn renew(&mut self, place: usize, life: u32) -> Result<(), Failure> {
        let process = &self.processes[place];
        let (Some(last), Some(node)) = (process.lease, &process.node) else { return Ok(()) };
        let owner = node.id().incarnation;
        if process.runs() && process.store_cut == 0 && self.store.acquire(self.now, owner) {
            self.processes[place].lease = Some(self.now);
        } else if self.now >= last + LeaseStore::TERM - LeaseStore::MARGIN {
            self.processes[place].lease = None;
            return self.step(place, Input::LeaseAnswered { acquired: false });
        }
        self.at(self.now + 2_000, Happening::Renew(place, life));
        Ok(())
    }

    fn look(&mut self) -> Result<(), Failure> {
        self.checks.look(self.now, self.scenario, &self.processes)?;
        let together = self.are_together();
        match (together, self.together_at) {
            (true, None) => {
                self.together_at = Some(self.now);
                self.say(|| "all are up in one cluster".to_owned());
            }
            (false, Some(_)) => self.together_at = None,
            _ => {}
        }
        Ok(())
    }

    /// All nodes run, and are up in the same state.
    fn are_together(&self) -> bool {
        let mut states = self.processes.iter().map(|process| {
            let state = process.node.as_ref()?.state()?;
            let all_up = state.members().len() == self.scenario.nodes
                && state.members().values().all(|member| member.status == MemberStatus::Up)
                && state.unreachable().is_empty();
            all_up.then(|| (state.id(), state.fingerprint()))
        });
        let first = states.next().flatten();
        first.is_some() && states.all(|other| other == first)
    }

    fn not_together(&self) -> Failure {
        let mut text = String::new();
        for (place, process) in self.processes.iter().enumerate() {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!(" n{place}: "));
            match process.node.as_ref().map(|node| (node.state(), node.stopped())) {
                None => text.push_str("not running;"),
                Some((None, _)) => text.push_str("in no cluster;"),
                Some((Some(state), _)) => {
                    let _ =
                        std::fmt::Write::write_fmt(&mut text, format_args!("cluster {} with", state.id()));
                    for member in state.members().values() {
                        let line = format_args!(" {} {},", member.identity.id, member.status);
                        let _ = std::fmt::Write::write_fmt(&mut text, line);
                    }
                    text.push(';');
                }
            }
        }
        Failure { invariant: "everyone converges after all faults have ended", detail: text }
    }
}

const fn is_gossip(message: &Message) -> bool {
    matches!(
        message,
        Message::Digest(_) | Message::Groups { .. } | Message::Entries { .. } | Message::Delta { .. }
    )
}

fn told(seen: &[usize]) -> Vec<NodeAddress> {
    seen.iter().copied().chain([9_999]).map(address).collect()
}

fn event_number(event: &Event) -> u64 {
    match event {
        Event::Joined(cluster) => cluster.0,
        Event::Dissolved(cluster) => !cluster.0,
        Event::Status(id, status) => id.incarnation.0 ^ (*status as u64 + 1),
        Event::Removed(id, status) => id.incarnation.0.rotate_left(7) ^ *status as u64,
        Event::Unreachable(id) => id.incarnation.0.rotate_left(13),
        Event::Reachable(id) => id.incarnation.0.rotate_left(17),
        Event::Leader(leader) => leader.as_ref().map_or(1, |id| id.incarnation.0.rotate_left(23)),
        Event::Suspended(_) => 2,
        Event::Refused(..) => 3,
        Event::Superseded { by, .. } => by.0.rotate_left(3),
        Event::TooManyMembers { .. } => 5,
        Event::CountUnknown { .. } => 6_000,
        Event::DataCenterUnreachable(_) => 6,
        Event::Waiting { needed, .. } => 7 + *needed as u64,
    }
}
