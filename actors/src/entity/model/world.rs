//! One run: owners, clients, a store and all that can go wrong between them, one step after the other.

mod acts;
mod faults;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use annals_journal::{JournalError, Timestamp};
use annals_migrations::StateAdapter;
use annals_snapshot::Snapshot;

use super::chance::Chance;
use acts::Act;

use super::history::{Operation, check_history, describe};
use super::ledger::{Afterwards, Do, Ledger, What, Where};
use super::link::Flight;
use super::owner::Owner;
use super::plan::Plan;
use super::setting::Setting;
use super::store::{Flaw, Snapshots, Store, adapter, seq};
use super::tally::Tally;
use crate::answer::answer;
use crate::delivery::{Parcel, Progress};
use crate::{AskError, PersistentActor};

pub(super) struct World {
    chance: Chance,
    plan: Plan,
    flaw: Flaw,
    now: Timestamp,
    store: Store,
    snapshots: Snapshots,
    states: StateAdapter<Ledger>,
    owners: Vec<(u64, Owner)>,
    /// Owners of which a child has failed.
    bereaved: BTreeSet<u64>,
    epochs: u64,
    operations: Vec<Operation>,
    /// Which are not answered.
    pending: Vec<usize>,
    /// The highest number that an answer has rested on.
    acknowledged: u64,
    /// Commits whose answer was unknown, and that may land yet.
    late: Vec<Flight>,
    late_saves: Vec<Snapshot>,
    setting: Setting,
    calm: bool,
    steps: u64,
    pub(super) tally: Tally,
    trace: Option<Vec<String>>,
}

/// No run takes so many steps, unless an entity goes round in circles.
const TOO_MANY: u64 = 60_000;

impl World {
    pub(super) fn new(seed: u64, flaw: Flaw, traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let setting = Setting::new();
        let mut world = Self {
            now: Timestamp::from_micros(1_000_000_000),
            store: Store::new(setting.id.clone(), adapter(), flaw),
            snapshots: Snapshots::default(),
            states: StateAdapter::new(Ledger::KIND, 1).unwrap(),
            owners: Vec::new(),
            bereaved: BTreeSet::new(),
            epochs: 0,
            operations: Vec::new(),
            pending: Vec::new(),
            acknowledged: 0,
            late: Vec::new(),
            late_saves: Vec::new(),
            setting,
            calm: false,
            steps: 0,
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            chance,
            plan,
            flaw,
        };
        world.start();
        world
    }

    /// Runs to the end; `Err`: what does not hold.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let plan = format!("{:?}", self.plan);
        self.note(|| plan);
        while self.operations.len() < self.plan.commands as usize || !self.chance.percent(3) {
            if !self.step()? || self.steps > 20_000 {
                break;
            }
        }
        self.calm_down()?;
        // Whoever waits in a stash is let out; who has lost the entity says so.
        for at in 0..self.owners.len() {
            self.send(at, What::Gate { closed: false }, false);
        }
        self.settle()?;
        if let Some(command) = self.pending.first() {
            let (operation, owners) = (&self.operations[*command], self.owners_now());
            return Err(format!("nobody answers {}; {owners}", describe(*command, operation, None)));
        }
        if let Some((name, _)) = self.owners.iter().find(|(_, owner)| owner.stopping && owner.has_entity()) {
            return Err(format!("owner {name} was told to stop and does not: {}", self.owners_now()));
        }
        check_history(&self.operations, &self.store, self.plan.split)?;
        self.check_effects()?;
        self.check_recovery()
    }

    pub(super) fn trace(&self) -> String {
        let lines = self.trace.as_deref().unwrap_or_default();
        let (first, last) = lines.split_at(lines.len().saturating_sub(120).min(1));
        let last = &last[last.len().saturating_sub(150)..];
        format!("{}\n…\n{}", first.join("\n"), last.join("\n"))
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>5} {}", self.steps, line()));
        }
    }

    fn owners_now(&self) -> String {
        let all: Vec<_> =
            self.owners.iter().map(|(name, owner)| format!("owner {name}: {}", owner.describe())).collect();
        all.join("; ")
    }

    /// Faults end; what is on its way arrives.
    fn calm_down(&mut self) -> Result<(), String> {
        self.calm = true;
        self.note(|| "calm".into());
        while !self.late.is_empty() {
            let at = self.chance.index(self.late.len());
            let act = if self.chance.percent(50) { Act::LandLate(at) } else { Act::DropLate(at) };
            self.perform(act)?;
        }
        if !self.owners.iter().any(|(_, owner)| !owner.stopping) {
            self.start();
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<(), String> {
        let start = self.steps;
        while self.step()? {
            if self.steps - start > TOO_MANY {
                return Err(format!("it does not come to rest: {}", self.owners_now()));
            }
        }
        Ok(())
    }

    /// One thing happens; `false`: nothing can.
    fn step(&mut self) -> Result<bool, String> {
        self.steps += 1;
        let micros = self.chance.below(2_000);
        self.now = self.now.plus(Duration::from_micros(micros));
        let Some(act) = self.choose() else { return Ok(false) };
        self.perform(act)?;
        Ok(true)
    }

    fn choose(&mut self) -> Option<Act> {
        let acts = self.acts();
        let total: u64 = acts.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = self.chance.below(total);
        for (weight, act) in acts {
            if left < weight {
                return Some(act);
            }
            left -= weight;
        }
        None
    }

    fn perform(&mut self, act: Act) -> Result<(), String> {
        self.note(|| format!("{act:?}"));
        let now = self.now;
        match act {
            Act::Send => {
                let at = self.some_owner();
                let what = self.some_command();
                let confirmed = self.chance.percent(self.plan.confirmed);
                if let Some(at) = at {
                    self.send(at, what, confirmed);
                }
            }
            Act::TimeOut(command) => {
                let id = self.store.id.clone();
                self.operations[command].time_out(&id);
                self.answered(command)?;
            }
            Act::Depart(at) => {
                let (grouped, batch) = (self.plan.grouped, self.plan.batch);
                self.owners[at].1.link.send(grouped, batch);
            }
            Act::Land(at, flight) => {
                self.owners[at].1.link.land(flight, &mut self.store);
            }
            Act::Answer(at, flight) => self.answer(at, flight, None),
            Act::Unknown(at, flight) => self.lose(at, flight),
            Act::Unavailable(at, flight) => {
                let error = JournalError::Unavailable { reason: "the disk is full".into(), source: None };
                self.refuse(at, flight, error);
            }
            Act::Conflict(at, flight) => {
                let head = seq(self.store.head());
                let persistence_id = self.store.id.clone();
                self.refuse(at, flight, JournalError::Conflict { persistence_id, expected: head, head });
            }
            Act::Rejected(at, flight) => {
                self.refuse(at, flight, JournalError::rejected(&self.store.id, "no reason"));
            }
            Act::Hear(at) => self.owners[at].1.hear(now),
            Act::Recover(at) => self.recover(at),
            Act::FailRead(at) => self.fail_read(at),
            Act::Work(at) => self.owners[at].1.work(now, true),
            Act::WorkTooLong(at) => self.owners[at].1.work(now, false),
            Act::FailChild(at) => {
                self.bereaved.insert(self.owners[at].0);
                self.owners[at].1.fail_child(now);
            }
            Act::Save(at) => {
                if let Some(snapshot) = self.owners[at].1.saving().cloned() {
                    self.save(snapshot);
                }
                self.owners[at].1.saved(now, true);
            }
            Act::FailSave(at) => {
                self.tally.failed_saves += 1;
                if let Some(snapshot) = self.owners[at].1.saved(now, false)
                    && self.chance.percent(40)
                {
                    // Whether an unavailable store has it is not known.
                    self.late_saves.push(snapshot);
                }
            }
            Act::Take(at) => self.owners[at].1.take(now),
            Act::Passivate(at) => self.owners[at].1.passivate(now),
            Act::Effect(at) => self.owners[at].1.run_effect(),
            Act::Leave(at) => {
                self.owners[at].1.leave(now);
                let gone = self.owners[at].1.stopping && !self.owners[at].1.has_entity();
                if gone {
                    self.look()?;
                    self.retire(at);
                }
            }
            Act::Tell(at) => self.owners[at].1.tell_to_stop(),
            Act::Finish(at) => {
                self.tally.finished += 1;
                self.owners[at].1.finish(now);
            }
            Act::CutShort(at) => {
                self.tally.cut_short += 1;
                self.owners[at].1.cut_short(now);
            }
            Act::LandLate(at) => self.land_late(at),
            Act::DropLate(at) => {
                self.late.swap_remove(at);
            }
            Act::LandLateSave(at) => {
                let snapshot = self.late_saves.swap_remove(at);
                self.save(snapshot);
            }
            Act::Crash(at) => self.crash(at),
            Act::Start => self.start(),
            Act::StopNode(at) => {
                self.tally.node_stops += 1;
                self.owners[at].1.stop_node();
                if !self.owners[at].1.has_entity() {
                    self.retire(at);
                }
            }
            Act::Maintain => self.maintain(),
            Act::Spoil => {
                let (which, how) = (self.chance.index(8), self.chance.below(6));
                self.snapshots.spoil(which, how);
                self.tally.spoiled += 1;
            }
            Act::Wait => {
                let owners = self.owners.iter().map(|(_, owner)| owner);
                let rests = owners.filter_map(|owner| owner.rests_until().or(owner.left_alone_until())).min();
                if let Some(until) = rests {
                    self.now = self.now.max(Timestamp::from_micros(until));
                }
            }
        }
        self.look()
    }

    fn some_owner(&mut self) -> Option<usize> {
        if self.owners.is_empty() {
            return None;
        }
        // Mostly the newest.
        let last = self.owners.len() - 1;
        Some(if self.chance.percent(60) { last } else { self.chance.index(last + 1) })
    }

    fn some_command(&mut self) -> What {
        let chance = &mut self.chance;
        let kind = if chance.percent(self.plan.panics) { 93 } else { chance.below(100) };
        match kind {
            0..35 => What::Add {
                events: chance.within(1, 3) as u8,
                effect: chance.percent(40),
                after: match chance.below(20) {
                    0 => Afterwards::Passivate,
                    1 => Afterwards::Stop,
                    _ => Afterwards::Stay,
                },
            },
            35..37 => What::Add { events: 0, effect: chance.percent(50), after: Afterwards::Passivate },
            37..47 => What::AddIfEven,
            47..57 => What::AddWhenOpen,
            57..65 => What::Gate { closed: chance.percent(50) },
            65..88 => What::Read,
            88..93 => What::Work,
            93..96 => What::Explode(match chance.below(4) {
                0 => Where::Handle,
                1 => Where::Apply,
                2 => Where::Reply,
                _ => Where::Work,
            }),
            96 => What::UnstorableStop,
            _ => What::Unstorable { labels: chance.percent(50) },
        }
    }

    fn send(&mut self, at: usize, what: What, confirmed: bool) {
        let command = self.operations.len();
        let (caller, answer) = answer();
        let progress = Progress::new();
        let told = !self.calm && self.chance.percent(5);
        let caller = (!told).then_some(caller);
        let parcel = Parcel::<Ledger, Do>::new(
            Do { command: command as u32, what },
            confirmed,
            progress.clone(),
            caller,
        );
        let (name, owner) = &mut self.owners[at];
        if self.calm
            && let Some(until) = owner.left_alone_until()
        {
            self.now = self.now.max(Timestamp::from_micros(until));
        }
        let mut operation = Operation {
            what,
            confirmed,
            owner: *name,
            not_before: self.acknowledged,
            answer: (!told).then_some(answer),
            progress,
            response: None,
            orphaned: false,
            accepted: true,
            owner_stops: false,
            cut_short: false,
        };
        let name = *name;
        self.tally.commands += 1;
        match owner.deliver(self.now, Box::new(parcel)) {
            Ok(()) if told => {}
            Ok(()) => self.pending.push(command),
            Err(failure) => {
                operation.answer = None;
                operation.accepted = false;
                operation.owner_stops = owner.stopping;
                operation.response = Some(Err(AskError::Failed(failure)));
            }
        }
        self.operations.push(operation);
        self.note(|| format!("command {command} {what:?} confirmed {confirmed} to owner {name}"));
    }
}
