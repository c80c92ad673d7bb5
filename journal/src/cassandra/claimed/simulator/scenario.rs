use super::random::Random;
use crate::cassandra::claimed::Buckets;

/// What may happen in a run.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) buckets: Buckets,
    /// Rows of a page.
    pub(super) page: usize,
    pub(super) owners: u64,
    pub(super) readers: usize,
    pub(super) deletes: bool,
    /// Whether what a reading found is written to the replicas that lack it; it may stop half way.
    pub(super) repairs: bool,
    /// The lengths of the first owner's first appends; behind them, and for others, it is left to chance.
    pub(super) planned: Vec<u64>,
    /// All that are appended, about.
    pub(super) events: u64,
    pub(super) steps: usize,
    /// Of 100 writes to a replica so many are late (or more, or fewer, by who sends them), and so many are lost.
    pub(super) late: usize,
    pub(super) lost: usize,
    /// Of 100 times that somebody looks whether it has its answer, it gives up so many times.
    pub(super) impatience: usize,
}

impl Scenario {
    /// Every other one is small: what breaks the protocol takes few events, and many that are late.
    pub(super) fn drawn(random: &mut Random) -> Self {
        if random.percent(50) { Self::large(random) } else { Self::small(random) }
    }

    fn small(random: &mut Random) -> Self {
        Self {
            buckets: Buckets { size: 2, largest_batch: 1 },
            page: 4,
            owners: 2 + random.below(2) as u64,
            readers: 0,
            deletes: false,
            repairs: false,
            planned: Vec::new(),
            events: 1 + random.below(4) as u64,
            steps: 300,
            late: 30 + random.below(30),
            lost: 0,
            impatience: random.below(2) * random.below(5),
        }
    }

    fn large(random: &mut Random) -> Self {
        Self {
            buckets: Buckets { size: 1 + random.below(3) as u64, largest_batch: 1 + random.below(3) as u64 },
            page: 1 + random.below(3),
            owners: 3 + random.below(3) as u64,
            readers: random.below(2),
            deletes: random.percent(40),
            repairs: random.percent(30),
            planned: Vec::new(),
            events: 3 + random.below(10) as u64,
            steps: 250 + random.below(300),
            late: 10 + random.below(40),
            lost: random.below(25),
            impatience: random.below(3),
        }
    }
}
