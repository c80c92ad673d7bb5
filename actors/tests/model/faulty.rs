//! Stores that draw lots: they are slow, refuse, and lose answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_journal::Journal;
use annals_journal::testing::{Fault, FaultyJournal, JournalAnswer, JournalOperation, Outcome};
use annals_snapshot::SnapshotStore;
use annals_snapshot::testing::{FaultySnapshots, SnapshotAnswer, SnapshotOperation};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The randomness that a run's parts share, and whether faults still happen.
#[derive(Clone)]
pub(crate) struct Chance {
    random: Arc<Mutex<StdRng>>,
    calm: Arc<AtomicBool>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), calm: Arc::default() }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().random_range(0..bound)
    }

    /// True in so many of 1,000 cases, until it is calm.
    pub(crate) fn fault(&self, of_thousand: u64) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.below(1_000) < of_thousand
    }

    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    fn dawdle(&self) -> Duration {
        Duration::from_millis(if self.fault(20) { self.below(3_000) } else { self.below(4) })
    }
}

/// A journal that is slow, refuses, and loses answers. One that `lies` says of an unknown outcome that it is certainly not stored.
pub(crate) fn journal(inner: Arc<dyn Journal>, chance: Chance, lies: bool) -> FaultyJournal {
    let journal = FaultyJournal::around(inner);
    let (unknown, unavailable) = (chance.below(150), chance.below(150));
    journal.decide_by(move |call| match call.operation {
        JournalOperation::Append | JournalOperation::Claim | JournalOperation::Verify => {
            let answer = if chance.fault(unavailable) {
                JournalAnswer::Unavailable("the disk is full".into())
            } else if chance.fault(unknown) {
                let outcome = match chance.below(3) {
                    0 => Outcome::NotStored,
                    1 => Outcome::Stored,
                    _ => Outcome::Late(Duration::from_millis(chance.below(2_000))),
                };
                if lies {
                    JournalAnswer::FalselyUnavailable(outcome)
                } else {
                    JournalAnswer::Unknown(outcome)
                }
            } else {
                JournalAnswer::Truth
            };
            Some(Fault::new(answer).delayed(chance.dawdle()))
        }
        // Within the first events, where every replay passes.
        JournalOperation::Replay if chance.fault(150) => {
            let away = JournalAnswer::Unavailable("the disk is away".into());
            Some(Fault::new(away).after_events(chance.below(8)))
        }
        JournalOperation::Replay if chance.fault(150) => {
            Some(Fault::new(JournalAnswer::Truth).after_events(chance.below(8)).delayed(chance.dawdle()))
        }
        _ => None,
    });
    journal
}

/// A snapshot store that is slow, refuses, and tears what it saves.
pub(crate) fn snapshots(inner: Arc<dyn SnapshotStore>, chance: Chance) -> FaultySnapshots {
    let store = FaultySnapshots::around(inner);
    let unavailable = chance.below(400);
    store.decide_by(move |call| {
        let answer = if chance.fault(unavailable) {
            SnapshotAnswer::Unavailable
        } else if call.operation == SnapshotOperation::Save && chance.fault(100) {
            SnapshotAnswer::Torn
        } else {
            SnapshotAnswer::Truth
        };
        Some(Fault::new(answer).delayed(chance.dawdle()))
    });
    store
}
