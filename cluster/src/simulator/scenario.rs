use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Fault, FaultKind};
use crate::downing::{Downing, Strategy};
use crate::flaw::Flaw;
use crate::{FormingSettings, NodeAddress, Random, Settings};

/// What a run starts from: it and nothing else decides what happens.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Of everything that is drawn.
    pub seed: u64,
    /// How many nodes there are; all of them are contact points, up to [`Scenario::contact_points`].
    pub nodes: usize,
    /// The first so many nodes are contact points.
    pub contact_points: usize,
    /// Which side of a split goes on.
    pub strategy: StrategyName,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// When all faults are over, in milliseconds.
    pub faults_end: u64,
    /// How long everybody then has to come together.
    pub settle: u64,
    /// Start of each node.
    pub starts: Vec<u64>,
    /// A deliberate error.
    pub flaw: Option<Flaw>,
}

/// A strategy, as it is chosen on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyName {
    /// `keep-majority`
    KeepMajority,
    /// `static-quorum`: of a majority of the nodes.
    StaticQuorum,
    /// `keep-oldest`: not if it is alone.
    KeepOldest,
    /// `keep-referee`: the first node.
    KeepReferee,
    /// `lease-majority`
    LeaseMajority,
    /// `down-all`
    DownAll,
}

impl StrategyName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::KeepMajority,
        Self::StaticQuorum,
        Self::KeepOldest,
        Self::KeepReferee,
        Self::LeaseMajority,
        Self::DownAll,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::KeepMajority => "keep-majority",
            Self::StaticQuorum => "static-quorum",
            Self::KeepOldest => "keep-oldest",
            Self::KeepReferee => "keep-referee",
            Self::LeaseMajority => "lease-majority",
            Self::DownAll => "down-all",
        }
    }

    fn strategy(self, nodes: usize) -> Strategy {
        match self {
            Self::KeepMajority => Strategy::KeepMajority { role: None },
            Self::StaticQuorum => Strategy::StaticQuorum { quorum: nodes / 2 + 1, role: None },
            Self::KeepOldest => Strategy::KeepOldest { down_if_alone: true, role: None },
            Self::KeepReferee => Strategy::KeepReferee { referee: address(0), at_least: 1 },
            Self::LeaseMajority => Strategy::lease_majority(),
            Self::DownAll => Strategy::DownAll,
        }
    }
}

impl fmt::Display for StrategyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for StrategyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.name() == text);
        found.ok_or_else(|| format!("{text:?} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Where the node of this number listens.
pub(super) fn address(node: usize) -> NodeAddress {
    NodeAddress::new(&format!("n{node:04}"), 2_552).unwrap_or_else(|_| unreachable!("a letter and digits"))
}

/// The number of the node that listens there.
pub(super) fn place_of(address: &NodeAddress) -> Option<usize> {
    address.host().strip_prefix('n')?.parse().ok()
}

impl Scenario {
    /// Three to seven nodes, and up to four faults within a minute.
    pub fn short(seed: u64, strategy: Option<StrategyName>) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let nodes = 3 + draw(&mut random, 5);
        let strategy = strategy.unwrap_or(StrategyName::ALL[draw(&mut random, 6)]);
        let faults = 1 + random.below(4);
        Self::drawn(seed, nodes, strategy, faults, 45_000)
    }

    /// Three to five nodes that start while the network is cut, for longer than two sides may both go on.
    pub fn forming(seed: u64, strategy: Option<StrategyName>) -> Self {
        let mut random = Random::new(seed ^ 0x5EED_0002);
        let nodes = 3 + draw(&mut random, 3);
        let strategy = strategy.unwrap_or(StrategyName::ALL[draw(&mut random, 6)]);
        let faults = random.below(3);
        let mut scenario = Self::drawn(seed, nodes, strategy, faults, 60_000);
        for fault in &mut scenario.faults {
            fault.begin %= 8_000;
            fault.end = fault.end.min(fault.begin + 5_000).max(fault.begin + 200);
        }
        let begin = 2_000 + random.below(5_000);
        let kind = FaultKind::Cut(scenario.some(&mut random));
        scenario.faults.push(Fault { begin, end: 50_000 + random.below(10_000), kind });
        scenario
    }

    /// So many nodes, with faults that overlap.
    pub fn long(seed: u64, nodes: usize, strategy: Option<StrategyName>) -> Self {
        let mut random = Random::new(seed ^ 0x5EED_0001);
        let strategy = strategy.unwrap_or(StrategyName::ALL[draw(&mut random, 6)]);
        let faults = 3 + random.below(8);
        Self::drawn(seed, nodes, strategy, faults, 120_000)
    }

    /// Without faults: all nodes start within five seconds.
    pub fn calm(seed: u64, nodes: usize) -> Self {
        Self::drawn(seed, nodes, StrategyName::KeepMajority, 0, 5_000)
    }

    fn drawn(seed: u64, nodes: usize, strategy: StrategyName, faults: u64, faults_end: u64) -> Self {
        let mut random = Random::new(seed);
        let together = random.chance(500);
        let starts =
            (0..nodes).map(|_| if together { random.below(500) } else { random.below(5_000) }).collect();
        let mut scenario = Self {
            seed,
            nodes,
            contact_points: nodes.min(5),
            strategy,
            faults: Vec::new(),
            faults_end,
            settle: 60_000,
            starts,
            flaw: None,
        };
        let early = random.chance(300);
        for _ in 0..faults {
            let fault = scenario.fault(&mut random, early);
            scenario.faults.push(fault);
        }
        scenario.settle += 2_000 * (nodes as u64 / 10) + 4 * scenario.window_millis();
        scenario
    }

    fn fault(&self, random: &mut Random, early: bool) -> Fault {
        let begin = random.below(if early { 8_000 } else { self.faults_end * 2 / 3 });
        let longest = (self.faults_end - begin).max(1);
        let length =
            if random.chance(400) { random.below(longest.min(6_000)) } else { random.below(longest) };
        let end = begin + length.max(200).min(longest);
        let node = draw(random, self.nodes);
        let kind = match random.below(19) {
            0..=2 => FaultKind::Cut(self.some(random)),
            3 => FaultKind::OneWay(self.some(random)),
            4 => FaultKind::Link(node, (node + 1 + draw(random, self.nodes - 1)) % self.nodes),
            5 => FaultKind::Flapping(self.some(random), 500 + random.below(8_000)),
            6 => FaultKind::Loss(random.below(500)),
            7 => FaultKind::Delay(random.below(2_000)),
            8 => FaultKind::Reordering(random.below(1_000)),
            9 => FaultKind::Duplication(random.below(500)),
            10 | 11 => FaultKind::Crash { node, memory: random.chance(500) },
            12 | 13 => FaultKind::Suspension(node),
            14 => FaultKind::Slow(node, random.below(1_500)),
            15 if random.chance(500) => FaultKind::ClockJump(node, signed(random, 20_000)),
            15 => FaultKind::ClockDrift(node, signed(random, 20_000)),
            16 => FaultKind::Discovery(node, self.some(random)),
            17 => FaultKind::StoreCut(node),
            _ => FaultKind::Leave(node),
        };
        Fault { begin, end, kind }
    }

    fn some(&self, random: &mut Random) -> Vec<usize> {
        let mut nodes: Vec<_> = (0..self.nodes).collect();
        random.shuffle(&mut nodes);
        nodes.truncate(1 + draw(random, self.nodes - 1));
        nodes.sort_unstable();
        nodes
    }

    /// The settings of each node.
    pub fn settings(&self) -> Settings {
        let downing = Downing::of(self.strategy.strategy(self.nodes), self.nodes);
        let forming =
            FormingSettings { contact_points: Some(self.contact_points), ..FormingSettings::default() };
        Settings { tick: Duration::from_millis(250), downing, forming, ..Settings::default() }
    }

    fn window_millis(&self) -> u64 {
        u64::try_from(Downing::advised(self.nodes).as_millis()).unwrap_or(u64::MAX)
    }

    /// For so long two sides of a split may both go on: until it is noticed, has been stable, or is found to be unstable.
    pub fn both_sides_at_most(&self) -> u64 {
        // Detection takes 6 s; each change in between starts the window again, until instability ends that.
        10_000 + 2 * self.window_millis() + self.window_millis() * 3 / 4 + 2_000
    }

    /// Whether the strategy promises that no two sides go on for longer, whatever goes wrong here.
    pub fn promises_one_side(&self) -> bool {
        let divided = self.faults.iter().filter(|fault| fault.kind.divides()).count();
        // Who forgets that it was downed may begin anew, with others, while those that it does not reach go on.
        let forgets =
            self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Crash { memory: false, .. }));
        if forgets && divided > 0 {
            return false;
        }
        match self.strategy {
            StrategyName::LeaseMajority | StrategyName::StaticQuorum | StrategyName::DownAll => true,
            _ => divided <= 1,
        }
    }
}

fn draw(random: &mut Random, below: usize) -> usize {
    usize::try_from(random.below(below as u64)).unwrap_or(0)
}

fn signed(random: &mut Random, most: u64) -> i64 {
    let size = i64::try_from(random.below(most)).unwrap_or(0);
    if random.chance(500) { size } else { -size }
}
