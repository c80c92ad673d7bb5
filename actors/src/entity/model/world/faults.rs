//! What happens on the way and to owners.

use annals_journal::{JournalError, Token, Write};
use annals_snapshot::{Snapshot, SnapshotError, SnapshotPolicy};

use super::World;
use crate::delivery::Progress;
use crate::entity::model::history::Operation;
use crate::entity::model::ledger::{Afterwards, Ledger, Seen, What};
use crate::entity::model::link::unknown;
use crate::entity::model::owner::{Needs, Owner};
use crate::entity::model::store::{Flaw, seq};

impl World {
    /// The owner learns the truth.
    pub(super) fn answer(&mut self, at: usize, flight: usize, error: Option<(usize, JournalError)>) {
        let owner = &mut self.owners[at].1;
        let (answers, _) = owner.link.answer(flight, self.plan.grouped, error);
        owner.answered(answers);
    }

    /// A commit whose outcome the owner does not learn: nothing of it, all of it or its beginning is there or comes late.
    pub(super) fn lose(&mut self, at: usize, flight: usize) {
        self.tally.unknown += 1;
        let entries = self.owners[at].1.link.flights[flight].entries.len();
        let from = if self.chance.percent(80) { 0 } else { self.chance.index(entries) };
        let mut error = unknown();
        let on_the_way = self.owners[at].1.link.flights[flight].landed.is_none();
        if self.flaw == Flaw::UnknownIsUnavailable {
            error = JournalError::Unavailable { reason: "it cannot be asked".into(), source: None };
        }
        if on_the_way && from > 0 {
            let flight = &mut self.owners[at].1.link.flights[flight];
            let mut landed = flight.store_first(from, &mut self.store);
            landed.resize(entries, Err(unknown()));
            flight.landed = Some(landed);
        }
        let owner = &mut self.owners[at].1;
        let early = self.flaw == Flaw::AnswersEarly;
        if early && on_the_way && from == 0 {
            let flight = &mut owner.link.flights[flight];
            let mut head = annals_journal::Head { token: self.store.token, ..annals_journal::Head::EMPTY };
            head.seq_nr = seq(self.store.head());
            flight.landed = Some(vec![Ok(head); entries]);
        }
        let error = (!early).then_some((from, error));
        let (answers, mut flight) = owner.link.answer(flight, self.plan.grouped, error);
        owner.answered(answers);
        if on_the_way {
            flight.entries.drain(..from);
            self.late.push(flight);
        }
    }

    /// Entries from some on are certainly not stored.
    pub(super) fn refuse(&mut self, at: usize, flight: usize, error: JournalError) {
        self.tally.refused += 1;
        let entries = self.owners[at].1.link.flights[flight].entries.len();
        let from = if self.chance.percent(60) { 0 } else { self.chance.index(entries) };
        let flight_on_the_way = &mut self.owners[at].1.link.flights[flight];
        let mut landed = flight_on_the_way.store_first(from, &mut self.store);
        landed.resize(entries, Err(error.clone()));
        flight_on_the_way.landed = Some(landed);
        self.answer(at, flight, Some((from, error)));
    }

    pub(super) fn land_late(&mut self, at: usize) {
        let flight = self.late.swap_remove(at);
        let head = self.store.head();
        let entries = flight.entries.len();
        let arrive = if self.chance.percent(70) { entries } else { self.chance.index(entries + 1) };
        let answers = flight.store_first(arrive, &mut self.store);
        if self.store.head() > head {
            self.tally.landed_late += 1;
        }
        self.tally.refused_late += answers.iter().filter(|answer| answer.is_err()).count() as u64;
    }

    pub(super) fn recover(&mut self, at: usize) {
        let now = self.now;
        match self.owners[at].1.needs() {
            Needs::Load(at_most) => {
                if self.flaw == Flaw::SpoilsSnapshots {
                    self.snapshots.rot();
                }
                let found = self.snapshots.load(at_most);
                self.owners[at].1.loaded(now, found);
            }
            Needs::Replay(from, to) => {
                let items = self.store.replay(from, to);
                self.owners[at].1.begin_replay(items);
            }
            Needs::Nothing => {
                // A page of a replay at once, so that runs are short.
                for _ in 0..8 {
                    self.owners[at].1.recover(now);
                    if !self.owners[at].1.is_replaying() {
                        break;
                    }
                }
            }
        }
    }

    pub(super) fn fail_read(&mut self, at: usize) {
        self.tally.failed_reads += 1;
        let now = self.now;
        let owner = &mut self.owners[at].1;
        match owner.needs() {
            Needs::Load(_) => {
                let reason = "the disk is away".into();
                owner.loaded(now, Err(SnapshotError::Unavailable { reason, source: None }));
            }
            Needs::Replay(..) | Needs::Nothing => {
                let reason = "the disk is away".into();
                owner.fail_replay(now, JournalError::Unavailable { reason, source: None });
            }
        }
    }

    pub(super) fn save(&mut self, snapshot: Snapshot) {
        let number = snapshot.seq_nr.get();
        self.snapshots.save(snapshot);
        if self.plan.deletes && self.chance.percent(60) {
            self.snapshots.prune(number);
            if self.chance.percent(70) {
                self.store.deleted_to = self.store.deleted_to.max(number);
                self.tally.deletions += 1;
            }
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.tally.crashes += 1;
        self.retire(at);
    }

    /// The process ends, told to or not.
    pub(super) fn retire(&mut self, at: usize) {
        let (name, owner) = self.owners.remove(at);
        let (link, save) = owner.crash();
        self.late_saves.extend(save);
        self.late.extend(link.flights.into_iter().filter(|flight| flight.landed.is_none()));
        for command in std::mem::take(&mut self.pending) {
            let operation = &mut self.operations[command];
            if operation.owner == name {
                operation.answer = None;
                operation.orphaned = true;
            } else {
                self.pending.push(command);
            }
        }
        for operation in &mut self.operations {
            operation.orphaned |= operation.owner == name;
        }
    }

    pub(super) fn start(&mut self) {
        self.epochs += 1;
        let policy = match self.plan.snapshots {
            0 => SnapshotPolicy::never(),
            events => SnapshotPolicy::every_events(events),
        };
        let policy = if self.plan.snapshot_on_stop { policy.or(SnapshotPolicy::on_stop()) } else { policy };
        let rules = self.setting.rules(self.epochs, self.plan.bounds.clone(), policy);
        let skew = self.chance.below(500_000);
        let owner = Owner::new(self.setting.identity(), rules, self.plan.mailbox, skew, self.flaw);
        self.owners.push((self.epochs, owner));
    }

    /// A tool takes the id under the stored epoch, and perhaps writes.
    pub(super) fn maintain(&mut self) {
        let stored = self.store.token;
        if stored == Token::NONE {
            return;
        }
        self.tally.maintained += 1;
        let token = Token::new(stored.epoch, stored.activation + self.chance.within(1, 3));
        let persistence_id = self.store.id.clone();
        self.store.write(&[Write::Claim { persistence_id, token }]);
        if self.plan.split && self.chance.percent(50) {
            let command = self.operations.len() as u32;
            let (what, progress) =
                (What::Add { events: 1, effect: false, after: Afterwards::Stay }, Progress::new());
            if let Some(write) = self.store.foreign(token, command)
                && let [Ok(_)] = self.store.write(&[write])[..]
            {
                let seen = Seen::of(self.store.states.last().unwrap_or(&Ledger::default()));
                let not_before = self.acknowledged;
                self.acknowledged = seen.count;
                self.operations.push(Operation {
                    what,
                    confirmed: false,
                    owner: 0,
                    not_before,
                    answer: None,
                    progress,
                    response: Some(Ok(seen)),
                    orphaned: true,
                    accepted: true,
                    owner_stops: false,
                    cut_short: false,
                });
            }
        }
    }
}
