use super::World;
use crate::entity::model::owner::{Needs, Owner};

/// What can happen next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Send,
    TimeOut(usize),
    Depart(usize),
    Land(usize, usize),
    Answer(usize, usize),
    Unknown(usize, usize),
    Unavailable(usize, usize),
    Conflict(usize, usize),
    Rejected(usize, usize),
    Hear(usize),
    Recover(usize),
    FailRead(usize),
    Work(usize),
    WorkTooLong(usize),
    FailChild(usize),
    Save(usize),
    FailSave(usize),
    Take(usize),
    Passivate(usize),
    Effect(usize),
    Leave(usize),
    Tell(usize),
    Finish(usize),
    CutShort(usize),
    LandLate(usize),
    DropLate(usize),
    LandLateSave(usize),
    Crash(usize),
    Start,
    StopNode(usize),
    Maintain,
    Spoil,
    Wait,
}

impl World {
    /// What can happen now, each with its weight.
    pub(super) fn acts(&self) -> Vec<(u64, Act)> {
        let mut acts = Vec::with_capacity(64);
        let plan = &self.plan;
        let fault = |weight: u64| if self.calm { 0 } else { weight };
        for at in 0..self.owners.len() {
            self.acts_of_owner(at, &mut acts);
        }
        if !self.calm {
            if self.operations.len() < plan.commands as usize && self.pending.len() < plan.at_once {
                acts.push((500, Act::Send));
            }
            for command in &self.pending {
                acts.push((plan.time_out, Act::TimeOut(*command)));
            }
            let living = self.owners.iter().filter(|(_, owner)| !owner.stopping).count();
            if living == 0 && (self.owners.is_empty() || plan.split) {
                acts.push((200, Act::Start));
            } else if plan.split && living < 3 && self.epochs < 6 {
                acts.push((10, Act::Start));
            }
            if self.tally.maintained < 6 {
                acts.push((plan.claim, Act::Maintain));
            }
            if !self.snapshots.is_empty() && self.tally.spoiled < 8 {
                acts.push((plan.spoil, Act::Spoil));
            }
            for at in 0..self.late.len() {
                acts.push((60, Act::LandLate(at)));
                acts.push((20, Act::DropLate(at)));
            }
        }
        for at in 0..self.late_saves.len() {
            acts.push((50, Act::LandLateSave(at)));
        }
        let waits = |owner: &Owner| {
            owner.rests_until().is_some() || (!self.calm && owner.left_alone_until().is_some())
        };
        if self.owners.iter().any(|(_, owner)| waits(owner)) {
            let idle = acts.iter().all(|(weight, _)| *weight == 0);
            acts.push((if idle { 1 } else { fault(20) }, Act::Wait));
        }
        acts
    }

    pub(super) fn acts_of_owner(&self, at: usize, acts: &mut Vec<(u64, Act)>) {
        let plan = &self.plan;
        let fault = |weight: u64| if self.calm { 0 } else { weight };
        let owner = &self.owners[at].1;
        if owner.link.can_send(plan.grouped) {
            acts.push((1_000, Act::Depart(at)));
        }
        // Without group commit the order of arrival is free, but that of one owner's connection.
        let first = owner.link.flights.iter().position(|flight| flight.landed.is_none());
        for (number, flight) in owner.link.flights.iter().enumerate() {
            if flight.landed.is_some() {
                acts.push((500, Act::Answer(at, number)));
            } else if first == Some(number) {
                acts.push((if self.calm { 1_000 } else { plan.landing }, Act::Land(at, number)));
                acts.push((fault(plan.unavailable * plan.landing / 1_000), Act::Unavailable(at, number)));
                if !flight.has_claim() {
                    acts.push((fault(plan.conflict * plan.landing / 1_000), Act::Conflict(at, number)));
                    acts.push((fault(plan.rejected * plan.landing / 1_000), Act::Rejected(at, number)));
                }
            }
            acts.push((fault(plan.unknown * plan.landing / 1_000), Act::Unknown(at, number)));
        }
        if owner.can_hear() {
            acts.push((1_000, Act::Hear(at)));
        }
        if owner.can_recover(self.now) {
            acts.push((500, Act::Recover(at)));
            if owner.is_replaying() || !matches!(owner.needs(), Needs::Nothing) {
                acts.push((fault(plan.read_fault), Act::FailRead(at)));
            }
        }
        if owner.can_work() {
            acts.push((300, Act::Work(at)));
            acts.push((fault(20), Act::WorkTooLong(at)));
        }
        if owner.has_entity() {
            acts.push((fault(plan.child_fails), Act::FailChild(at)));
        }
        if owner.can_save() {
            acts.push((200, Act::Save(at)));
            acts.push((fault(plan.save_fault / 5), Act::FailSave(at)));
        }
        if owner.can_take() {
            acts.push((700, Act::Take(at)));
        }
        if owner.can_passivate() {
            acts.push((fault(plan.passivate), Act::Passivate(at)));
        }
        if owner.can_run_effect() {
            acts.push((300, Act::Effect(at)));
        }
        if owner.can_leave() {
            acts.push((500, Act::Leave(at)));
        }
        if owner.must_tell() {
            acts.push((300, Act::Tell(at)));
        }
        if owner.can_finish() {
            acts.push((300, Act::Finish(at)));
        }
        if owner.can_be_cut_short() {
            acts.push((fault(30), Act::CutShort(at)));
        }
        if self.tally.crashes < 5 {
            acts.push((fault(plan.crash), Act::Crash(at)));
        }
        if !owner.stopping && self.tally.node_stops < 3 {
            acts.push((fault(plan.stop), Act::StopNode(at)));
        }
    }
}
