use std::time::Duration;

use crate::event::JSON_BYTES;

/// Commands that persist, or recoveries, with what they have to reach.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) load: Load,
    /// Less of it, to see that it runs.
    pub(crate) quick: Load,
    /// The least that Annals has to reach, as a part of the raw limit.
    pub(crate) target: Option<f64>,
    /// With the memory journal too?
    pub(crate) memory: Memory,
    /// Whether bytes are to be seen as well.
    pub(crate) bytes_count: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Commands that persist an event each; done when the reply is there.
    Commands,
    /// Bringing all entities back that such commands made.
    Recovery,
}

/// Whether the memory journal does the same.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    No,
    /// And how many events a second it has to reach.
    Target(Option<f64>),
}

/// How much, spread over how many entities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) entities: u32,
    pub(crate) events_each: u32,
    /// Commands whose reply is waited for at a time.
    pub(crate) in_flight: u32,
    /// Of an event's payload.
    pub(crate) bytes: usize,
    /// Number of the first entity.
    pub(crate) first: u32,
    /// From an entity's number to the next one's.
    pub(crate) stride: u32,
    /// Events that each entity has already.
    pub(crate) stored: u32,
}

impl Load {
    pub(crate) const fn new(entities: u32, events_each: u32, in_flight: u32) -> Self {
        Self { entities, events_each, in_flight, bytes: JSON_BYTES, first: 0, stride: 1, stored: 0 }
    }

    const fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    pub(crate) fn events(&self) -> u32 {
        self.entities * self.events_each
    }

    /// What there is after it.
    pub(crate) fn stored_after(&self) -> u32 {
        self.entities * (self.stored + self.events_each)
    }

    /// The number of the entity with this index.
    pub(crate) fn entity(&self, index: u32) -> u32 {
        self.first + index * self.stride
    }

    /// As much of it as takes `limit` at a rate in events a second, and no less than `least`.
    pub(crate) fn within(&self, limit: Duration, rate: f64, least: &Self) -> Self {
        let each = rate * limit.as_secs_f64() / f64::from(self.entities);
        Self { events_each: self.events_each.min(each as u32).max(least.events_each), ..*self }
    }
}

// The targets are for a file whose every commit is fsynced.

pub(crate) const P1: Scenario = Scenario {
    name: "P1",
    work: Work::Commands,
    load: Load::new(1, 10_000, 1),
    quick: Load::new(1, 1_000, 1),
    target: Some(0.85),
    memory: Memory::Target(Some(300_000.0)),
    bytes_count: false,
};

pub(crate) const P2: Scenario = Scenario {
    name: "P2",
    work: Work::Commands,
    load: Load::new(1_000, 100, 256),
    quick: Load::new(1_000, 10, 256),
    target: Some(0.70),
    memory: Memory::Target(Some(600_000.0)),
    bytes_count: false,
};

pub(crate) const H: Scenario = Scenario {
    name: "H",
    work: Work::Commands,
    load: Load::new(1, 100_000, 256),
    quick: Load::new(1, 10_000, 256),
    target: Some(0.60),
    memory: Memory::Target(None),
    bytes_count: false,
};

pub(crate) const R: Scenario = Scenario {
    name: "R",
    work: Work::Recovery,
    load: Load::new(1, 100_000, 256),
    quick: Load::new(1, 10_000, 256),
    target: Some(0.60),
    memory: Memory::No,
    bytes_count: false,
};

pub(crate) const R2: Scenario = Scenario {
    name: "R2",
    work: Work::Recovery,
    load: Load::new(1_000, 100, 256),
    quick: Load::new(1_000, 10, 256),
    target: Some(0.40),
    memory: Memory::No,
    bytes_count: false,
};

/// One size of event that fills pages by itself: bytes count.
pub(crate) const LARGE: Scenario = Scenario {
    name: "large",
    work: Work::Commands,
    load: Load::new(100, 40, 256).bytes(64 * 1024),
    quick: Load::new(100, 4, 256).bytes(64 * 1024),
    target: None,
    memory: Memory::No,
    bytes_count: true,
};

/// Ten commands for each entity at once.
pub(crate) const BURST: Scenario = Scenario {
    name: "burst",
    work: Work::Commands,
    load: Load::new(1_000, 50, 10_000),
    quick: Load::new(1_000, 10, 10_000),
    target: None,
    memory: Memory::No,
    bytes_count: true,
};
