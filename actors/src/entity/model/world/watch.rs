//! What must hold after each step, and at the end.

use super::World;
use crate::entity::model::history::{Operation, check_answer, describe, has_effect};
use crate::entity::model::ledger::{Ledger, Seen, What};
use crate::entity::model::owner::{Happened, Owner};
use crate::entity::{Report, RestartReason, StopReason};
use crate::{AskError, Failure};

impl World {
    /// Looks at what the last step did.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let mut answered = false;
        for at in 0..self.owners.len() {
            let owner = &self.owners[at].1;
            if let Some(broken) = owner.over_bounds().or_else(|| owner.breaks_its_policy(self.now)) {
                return Err(broken);
            }
            for happened in std::mem::take(&mut self.owners[at].1.seen) {
                self.note(|| format!("  owner {at}: {happened:?}"));
                answered |= matches!(happened, Happened::Released | Happened::Answered);
                self.happened(at, happened)?;
            }
        }
        if answered {
            for command in std::mem::take(&mut self.pending) {
                if self.operations[command].collect().is_some() {
                    self.answered(command)?;
                } else {
                    self.pending.push(command);
                }
            }
        }
        if let Some(complaint) = self.store.complaint.take() {
            return Err(complaint);
        }
        self.look_at_witness()
    }

    pub(super) fn answered(&mut self, command: usize) -> Result<(), String> {
        self.pending.retain(|pending| *pending != command);
        let name = self.operations[command].owner;
        let owner = self.owners.iter().find(|(other, _)| *other == name).map(|(_, owner)| owner);
        self.operations[command].owner_stops = owner.is_some_and(|owner| owner.stopping);
        self.operations[command].cut_short = owner.is_some_and(Owner::is_cut_short);
        let operation = &self.operations[command];
        let split = self.plan.split;
        self.tally.answer(operation);
        check_answer(operation, &self.store, split)
            .and_then(|()| self.check_failure(operation))
            .map_err(|reason| format!("{reason}: {}", describe(command, operation, None)))?;
        if let Some(seen) = operation.seen()
            && operation.is_linearizable(split)
        {
            self.acknowledged = self.acknowledged.max(seen.count);
        }
        let line = format!("  answered: {}", describe(command, operation, None));
        self.note(|| line);
        Ok(())
    }

    /// What an owner in its state cannot have answered.
    pub(super) fn check_failure(&self, operation: &Operation) -> Result<(), String> {
        let Some(Err(AskError::Failed(failure))) = &operation.response else { return Ok(()) };
        let fits = match failure {
            Failure::Fenced { .. } => operation.owner < self.epochs,
            Failure::NotStorable { .. } => {
                matches!(operation.what, What::Unstorable { .. } | What::UnstorableStop)
                    || self.plan.rejected > 0
            }
            Failure::JournalUnavailable { .. } => !self.calm || self.tally.faults() > 0,
            Failure::PanickedTooOften { .. } => {
                let exploded = |other: &Operation| {
                    other.owner == operation.owner && matches!(other.what, What::Explode(_))
                };
                self.bereaved.contains(&operation.owner) || self.operations.iter().any(exploded)
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err("this owner cannot have failed so".into()) }
    }

    pub(super) fn happened(&mut self, at: usize, happened: Happened) -> Result<(), String> {
        let epoch = self.owners[at].1.epoch;
        let newest = epoch.0 == self.epochs;
        match happened {
            Happened::Stopped(StopReason::Fenced) if newest => {
                return Err(format!("I4: the newest owner, epoch {epoch}, is fenced"));
            }
            Happened::Stopped(StopReason::RecoveryFailed) => {
                return Err(format!("I7: the owner of epoch {epoch} cannot recover"));
            }
            Happened::Stopped(reason) => self.tally.stopped(reason),
            Happened::Save { number } => self.check_save(at, number)?,
            Happened::Ready { snapshot, .. } => {
                self.tally.recoveries += 1;
                self.tally.from_snapshot += u64::from(snapshot.get() > 0);
            }
            Happened::Report(Report::RecoveryFailed(error)) => return Err(format!("I7: {error}")),
            Happened::Report(Report::Restart { reason, .. }) => {
                self.tally.restarted(reason);
                if reason == RestartReason::Fenced && newest {
                    return Err(format!("I4: a write of the newest owner, epoch {epoch}, is fenced"));
                }
            }
            Happened::Report(Report::Panicked { reason, .. }) => self.tally.restarted(reason),
            Happened::LeftAlone => self.tally.left_alone += 1,
            Happened::Report(Report::UnreadableSnapshot { .. }) => self.tally.unreadable += 1,
            Happened::Settling => self.tally.settling += 1,
            Happened::Verify => self.tally.verified += 1,
            Happened::SnapshotThrownAway => self.tally.snapshots_thrown_away += 1,
            Happened::Unknown => {
                self.tally.never_known += 1;
                // Without deletions the journal always says; only who must stop cannot wait until it can be asked.
                if !self.plan.deletes && !self.owners[at].1.stopping {
                    return Err(format!(
                        "the owner of epoch {epoch} answers 'unknown', and could have known"
                    ));
                }
            }
            Happened::Report(_) | Happened::Released | Happened::Answered => {}
        }
        Ok(())
    }

    /// A snapshot leaves only when its last event is durable, and is the fold up to it.
    pub(super) fn check_save(&mut self, at: usize, number: u64) -> Result<(), String> {
        self.tally.saves += 1;
        let Some(snapshot) = self.owners[at].1.saving() else { return Ok(()) };
        let Some(state) = self.store.states.get(number as usize) else {
            return Err(format!(
                "I7: a snapshot of number {number} is saved, the store ends at {}",
                self.store.head()
            ));
        };
        let decoded = self
            .states
            .decode(&snapshot.manifest, snapshot.schema_version, snapshot.codec, &snapshot.payload)
            .map_err(|error| format!("I7: a snapshot that cannot be read is saved: {error}"))?;
        if decoded != *state {
            return Err(format!("I7: a snapshot holds {decoded:?}, number {number} is {state:?}"));
        }
        match self.store.log.get(number as usize - 1) {
            Some((event, _)) if snapshot.belongs_to(event) => Ok(()),
            _ => Err(format!("I7: a snapshot of number {number} does not belong to its event")),
        }
    }

    /// I5 for side effects, and that each runs once.
    pub(super) fn look_at_witness(&mut self) -> Result<(), String> {
        let Ok(mut witness) = self.setting.witness.lock() else {
            return Err("a handler panicked in the witness".into());
        };
        if let Some(complaint) = witness.complaint.take() {
            return Err(complaint);
        }
        for (command, seen) in std::mem::take(&mut witness.effects) {
            if !witness.had_effect.insert(command) {
                return Err(format!("the side effect of command {command} ran twice"));
            }
            match self.store.states.get(seen.count as usize) {
                Some(state) if Seen::of(state) == seen => {}
                state => {
                    return Err(format!(
                        "I5: the side effect of command {command} rests on {seen:?}, stored: {state:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Side effects of what was carried out have run, and of nothing else.
    pub(super) fn check_effects(&self) -> Result<(), String> {
        let Ok(witness) = self.setting.witness.lock() else {
            return Err("a handler panicked in the witness".into());
        };
        for (command, operation) in self.operations.iter().enumerate() {
            let ran = witness.had_effect.contains(&(command as u32));
            let done = matches!(operation.response, Some(Ok(_)));
            let not_done =
                matches!(operation.response, Some(Err(AskError::Failed(_) | AskError::Rejected(_))));
            if has_effect(operation.what) && done && !ran && !operation.orphaned {
                return Err(format!("no side effect: {}", describe(command, operation, None)));
            }
            if ran && (not_done || !has_effect(operation.what)) {
                return Err(format!("a side effect: {}", describe(command, operation, None)));
            }
        }
        Ok(())
    }

    /// I6, I7: who comes later sees what was there, from snapshot and tail, and from the events alone.
    pub(super) fn check_recovery(&mut self) -> Result<(), String> {
        let mut expected = Vec::new();
        let newest = self.owners.iter().position(|(name, owner)| *name == self.epochs && !owner.stopping);
        if let Some(at) = newest {
            self.send(at, What::Read, true);
            expected.push(self.operations.len() - 1);
            self.settle()?;
        }
        self.start();
        self.send(self.owners.len() - 1, What::Read, false);
        expected.push(self.operations.len() - 1);
        self.settle()?;
        if self.store.deleted_to == 0 {
            self.snapshots.wipe();
            self.start();
            self.send(self.owners.len() - 1, What::Read, false);
            expected.push(self.operations.len() - 1);
            self.settle()?;
        }
        let last = Seen::of(self.store.states.last().unwrap_or(&Ledger::default()));
        for command in expected {
            let operation = &self.operations[command];
            if operation.seen() != Some(last) {
                return Err(format!("I6: the end is {last:?}: {}", describe(command, operation, None)));
            }
        }
        Ok(())
    }
}
