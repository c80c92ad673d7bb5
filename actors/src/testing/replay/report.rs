use std::fmt;

use annals_journal::{PersistenceId, SeqNr};

/// What a [`Replay`](super::Replay) found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Entities of the kind that were replayed.
    pub entities: u64,
    /// Entities of other kinds, which were left out.
    pub others: u64,
    /// Events of the replayed entities.
    pub events: u64,
    /// Entities that have no state: one event cannot be read or applied, or `apply` is not deterministic.
    pub failed: u64,
    /// How many of those failed because the same events gave two states.
    pub nondeterministic: u64,
    /// The first 100 of those that failed, in the order of their ids.
    pub failures: Vec<ReplayFailure>,
    /// Entities whose state is not the expected one.
    pub differing: u64,
    /// The first 100 of those, in the order of their ids.
    pub differences: Vec<Difference>,
    /// Whether the file of expected states was written anew.
    pub overwritten: bool,
}

/// An entity that cannot be replayed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReplayFailure {
    /// Which entity.
    pub persistence_id: PersistenceId,
    /// At which event.
    pub seq_nr: SeqNr,
    /// What is wrong with it.
    pub reason: String,
}

/// An entity that is not as expected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Difference {
    /// Its persistence id.
    pub id: String,
    /// How it differs.
    pub what: String,
}

impl ReplayReport {
    /// Whether every entity has a state, and the expected one.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.differing == 0
    }

    pub(super) fn fail(&mut self, failure: ReplayFailure, nondeterministic: bool) {
        self.failed += 1;
        self.nondeterministic += u64::from(nondeterministic);
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        }
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        self.differing += 1;
        if self.differences.len() < KEPT {
            self.differences.push(difference);
        }
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entities, events, failed, differing, .. } = self;
        write!(f, "replayed {events} events of {entities} entities: ")?;
        write!(f, "{failed} failed ({} not deterministic), {differing} differ", self.nondeterministic)?;
        if self.others > 0 {
            write!(f, "; {} entities of other kinds left out", self.others)?;
        }
        writeln!(f)?;
        for ReplayFailure { persistence_id, seq_nr, reason } in self.failures.iter().take(SHOWN) {
            writeln!(f, "  {persistence_id} event {}: {}", seq_nr.get(), reason.trim_end())?;
        }
        more(f, failed.saturating_sub(SHOWN as u64), "failed")?;
        for Difference { id, what } in self.differences.iter().take(SHOWN) {
            writeln!(f, "  {id} {}", what.trim_end())?;
        }
        more(f, differing.saturating_sub(SHOWN as u64), "differ")
    }
}

fn more(f: &mut fmt::Formatter<'_>, left: u64, verb: &str) -> fmt::Result {
    if left > 0 { writeln!(f, "  … {left} more {verb}") } else { Ok(()) }
}

/// How many are kept, so that a report is bounded.
const KEPT: usize = 100;
/// How many are printed.
const SHOWN: usize = 5;
