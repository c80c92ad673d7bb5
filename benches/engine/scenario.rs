use std::time::Duration;

/// One of the scenarios that everything is measured by.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) work: Work,
    pub(crate) load: Load,
    /// Less of it, to see that it runs.
    pub(crate) quick: Load,
    /// The least that Annals has to reach, as a part of the raw limit.
    pub(crate) target: f64,
    /// The least that it has to reach with the memory journal, in events a second.
    pub(crate) memory_target: Option<f64>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Commands that persist an event each; done when the reply is there.
    Commands,
    /// Bringing all entities back that such commands made.
    Recovery,
}

/// How much, spread over how many entities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) entities: u32,
    pub(crate) events_each: u32,
    /// Commands whose reply is waited for at a time.
    pub(crate) in_flight: u32,
}

impl Load {
    pub(crate) fn events(&self) -> u32 {
        self.entities * self.events_each
    }

    /// As much of it as takes `limit` at a rate in events a second, and no less than `least`.
    pub(crate) fn within(&self, limit: Duration, rate: f64, least: &Self) -> Self {
        let each = rate * limit.as_secs_f64() / f64::from(self.entities);
        Self { events_each: self.events_each.min(each as u32).max(least.events_each), ..*self }
    }
}

/// All of them, with the targets for a file whose every commit is fsynced.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "P1",
        about: "one entity, one command after the other",
        work: Work::Commands,
        load: Load { entities: 1, events_each: 10_000, in_flight: 1 },
        quick: Load { entities: 1, events_each: 1_000, in_flight: 1 },
        target: 0.85,
        memory_target: Some(300_000.0),
    },
    Scenario {
        name: "P2",
        about: "1,000 entities, 256 commands in flight",
        work: Work::Commands,
        load: Load { entities: 1_000, events_each: 100, in_flight: 256 },
        quick: Load { entities: 1_000, events_each: 10, in_flight: 256 },
        target: 0.70,
        memory_target: Some(600_000.0),
    },
    Scenario {
        name: "H",
        about: "one hot entity, 256 commands in flight",
        work: Work::Commands,
        load: Load { entities: 1, events_each: 100_000, in_flight: 256 },
        quick: Load { entities: 1, events_each: 10_000, in_flight: 256 },
        target: 0.60,
        memory_target: None,
    },
    Scenario {
        name: "R",
        about: "recover one entity of many events, no snapshot",
        work: Work::Recovery,
        load: Load { entities: 1, events_each: 100_000, in_flight: 256 },
        quick: Load { entities: 1, events_each: 10_000, in_flight: 256 },
        target: 0.60,
        memory_target: None,
    },
    Scenario {
        name: "R2",
        about: "recover 1,000 entities, no snapshot",
        work: Work::Recovery,
        load: Load { entities: 1_000, events_each: 100, in_flight: 256 },
        quick: Load { entities: 1_000, events_each: 10, in_flight: 256 },
        target: 0.40,
        memory_target: None,
    },
];
