use std::collections::BTreeMap;

/// What happened. A search in which something never happens is worth little.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    counts: BTreeMap<&'static str, u64>,
    /// How often a number was the last that was acknowledged.
    acknowledged: BTreeMap<u64, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn acknowledge(&mut self, number: u64) {
        self.count("acknowledged");
        *self.acknowledged.entry(number).or_default() += 1;
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(super) fn acknowledged_at(&self, number: u64) -> u64 {
        self.acknowledged.get(&number).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (number, count) in &other.acknowledged {
            *self.acknowledged.entry(*number).or_default() += count;
        }
    }

    pub(super) fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| self.of(what) == 0).collect()
    }
}

const EXPECTED: &[&str] = &[
    "acknowledged",
    "acknowledged several at once",
    "adopted",
    "crashed",
    "deleted",
    "fenced",
    "fenced while it worked",
    "longer than a bucket",
    "recovered",
    "recovered by a further activation",
    "recovered a log of three owners",
    "shown",
    "unknown",
    "unknown twice",
];
