use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Incarnation, Moment};

/// Incarnations that were removed, so that old gossip does not bring them back. Kept for a day, and at most so many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tombstones {
    since: BTreeMap<Incarnation, Moment>,
}

impl Tombstones {
    /// For so long no message of before is on its way, and no member has been cut off without being downed.
    const KEPT: Duration = Duration::from_secs(24 * 3_600);
    const MOST: usize = 8_192;

    pub(crate) fn contains(&self, incarnation: Incarnation) -> bool {
        self.since.contains_key(&incarnation)
    }

    pub(crate) fn bury(&mut self, incarnation: Incarnation, since: Moment) {
        self.since.entry(incarnation).or_insert(since);
        if self.since.len() > Self::MOST {
            let oldest =
                self.since.iter().min_by_key(|(_, since)| **since).map(|(incarnation, _)| *incarnation);
            if let Some(oldest) = oldest {
                self.since.remove(&oldest);
            }
        }
    }

    pub(crate) fn forget_old(&mut self, now: Moment) {
        self.since.retain(|_, since| now.since(*since) < Self::KEPT);
    }

    /// With how long ago each was removed.
    pub(crate) fn ages(&self, now: Moment) -> impl Iterator<Item = (Incarnation, Duration)> {
        self.since.iter().map(move |(incarnation, since)| (*incarnation, now.since(*since)))
    }

    pub(crate) fn age(&self, incarnation: Incarnation, now: Moment) -> Option<Duration> {
        self.since.get(&incarnation).map(|since| now.since(*since))
    }
}
