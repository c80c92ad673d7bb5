use std::collections::BTreeMap;

use bytes::Bytes;

use super::process::{Machine, Process, What};
use super::random::Random;
use super::replica::{Mutation, Replica};
use super::scenario::Scenario;
use super::tally::Tally;
use crate::cassandra::claimed::reader::Look;
use crate::cassandra::claimed::{Action, Batch, Input, Owner, Reader, Row, Rule, Rules};
use crate::{Epoch, SeqNr, Token};

mod invariants;
mod network;

const REPLICAS: usize = 3;
const QUORUM: usize = 2;

/// One run.
#[derive(Debug)]
pub(super) struct World {
    rules: Rules,
    scenario: Scenario,
    random: Random,
    replicas: [Replica; REPLICAS],
    /// Each write, and how many replicas have it.
    sent: Vec<(Mutation, usize)>,
    /// Which write is on its way to which replica: some soon, some whenever.
    soon: Vec<(usize, usize)>,
    late: Vec<(usize, usize)>,
    processes: Vec<Process>,
    owners: u64,
    payloads: u64,
    steps: u64,
    /// What anybody outside has seen: the owner's token, and the payload where it is known.
    exposed: BTreeMap<SeqNr, (Token, Option<Bytes>)>,
    batches: BTreeMap<(SeqNr, Token), Batch>,
    violation: Option<String>,
    tally: Tally,
}

impl World {
    /// Runs to the end, or to what is wrong.
    pub(super) fn run(rules: Rules, scenario: Option<&Scenario>, seed: u64) -> (Result<(), String>, Tally) {
        let mut random = Random::of(seed);
        let drawn = Scenario::drawn(&mut random);
        let scenario = scenario.cloned().unwrap_or(drawn);
        let mut world = Self {
            rules,
            random,
            replicas: Default::default(),
            sent: Vec::new(),
            soon: Vec::new(),
            late: Vec::new(),
            processes: Vec::new(),
            owners: 0,
            payloads: 0,
            steps: 0,
            exposed: BTreeMap::new(),
            batches: BTreeMap::new(),
            violation: None,
            tally: Tally::default(),
            scenario,
        };
        world.start_owner();
        for _ in 0..world.scenario.readers {
            world.start_reader();
        }
        for _ in 0..world.scenario.steps {
            world.step();
            if let Some(violation) = world.violation.take() {
                return (Err(format!("seed {seed}, step {}: {violation}", world.steps)), world.tally);
            }
        }
        (Ok(()), world.tally)
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.random.below(100) {
            0..42 => self.deliver(),
            42..86 => self.advance(),
            86..95 => self.command(),
            95..98 if self.owners < self.scenario.owners => self.start_owner(),
            98 => self.crash(),
            _ => self.deliver(),
        }
    }

    fn start_owner(&mut self) {
        self.owners += 1;
        let planned = if self.owners == 1 { self.scenario.planned.clone() } else { Vec::new() };
        let skew = self.random.below(400) as u64;
        let token = Token::new(Epoch(self.owners), 1);
        let (owner, actions) = Owner::take_over(self.rules, self.scenario.buckets, token, false);
        self.start(Machine::Owner(owner), token.epoch, planned, skew);
        self.perform(self.processes.len() - 1, actions);
    }

    fn start_reader(&mut self) {
        let reader = Reader::new(self.rules, self.scenario.buckets);
        self.start(Machine::Reader(reader), Epoch(0), Vec::new(), 0);
    }

    fn start(&mut self, machine: Machine, epoch: Epoch, planned: Vec<u64>, skew: u64) {
        // Some are far from all replicas, some near.
        let late = [5, self.scenario.late, 70][self.random.below(3)];
        self.processes.push(Process {
            late,
            machine,
            calls: Vec::new(),
            epoch,
            activation: 1,
            is_claimed: false,
            skew,
            sent: BTreeMap::new(),
            has_worked: false,
            planned,
            is_alive: true,
        });
    }

    fn crash(&mut self) {
        let n = self.random.below(self.processes.len());
        if self.processes[n].owner().is_some() && self.owners < self.scenario.owners {
            self.tally.count("crashed");
            self.end(n);
            self.start_owner();
        }
    }

    fn end(&mut self, n: usize) {
        self.processes[n].is_alive = false;
        self.processes[n].calls.clear();
    }

    /// Takes over again in the same process: what the activation before had sent is still on its way.
    fn start_activation(&mut self, n: usize) {
        let process = &mut self.processes[n];
        process.calls.clear();
        process.sent.clear();
        if process.activation > 1 {
            self.tally.count("unknown twice");
        }
        if self.rules.keep(Rule::UnknownTakesAnotherToken) {
            process.activation += 1;
        }
        let token = Token::new(process.epoch, process.activation);
        let (owner, actions) = Owner::take_over(self.rules, self.scenario.buckets, token, process.is_claimed);
        process.machine = Machine::Owner(owner);
        self.perform(n, actions);
    }

    /// Somebody asks for something.
    fn command(&mut self) {
        let alive = self.processes.iter().enumerate().filter(|(_, process)| process.is_alive);
        let alive: Vec<usize> = alive.map(|(n, _)| n).collect();
        if alive.is_empty() {
            return;
        }
        let n = alive[self.random.below(alive.len())];
        let process = &mut self.processes[n];
        if let Machine::Reader(reader) = &mut process.machine {
            if process.calls.is_empty() {
                let ask = reader.look();
                self.ask(n, ask);
            }
            return;
        }
        if !process.is_ready() {
            return;
        }
        if self.scenario.deletes && self.random.percent(20) {
            let to = SeqNr::ZERO.plus(1 + self.random.below(8) as u64);
            self.feed(n, Input::Delete(to));
        } else {
            self.append(n);
        }
    }

    fn append(&mut self, n: usize) {
        if self.payloads >= self.scenario.events {
            return;
        }
        let drawn = 1 + self.random.below(self.scenario.buckets.largest_batch as usize) as u64;
        let planned = &mut self.processes[n].planned;
        let length = if planned.is_empty() { drawn } else { planned.remove(0) };
        let first = self.payloads;
        self.payloads += length;
        let payload = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
        self.feed(n, Input::Append((first..self.payloads).map(payload).collect()));
    }

    fn feed(&mut self, n: usize, input: Input) {
        if let Input::ClaimWritten = input {
            self.processes[n].is_claimed = true;
        }
        match &mut self.processes[n].machine {
            Machine::Owner(owner) => {
                let actions = owner.step(input);
                self.perform(n, actions);
            }
            Machine::Reader(reader) => {
                let Input::Found(found) = input else {
                    self.processes[n].calls.clear();
                    return;
                };
                match reader.step(found) {
                    Look::Ask(ask) => self.ask(n, ask),
                    Look::Show(rows) => {
                        for row in rows {
                            self.tally.count("shown");
                            self.expose(row.seq_nr, row.token, Some(row.payload));
                        }
                    }
                }
            }
        }
    }

    fn perform(&mut self, n: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::WriteClaim(epoch) => {
                    let by_clock = !self.rules.keep(Rule::ClaimIsStampedByEpoch);
                    let stamp = if by_clock { self.steps + self.processes[n].skew } else { epoch.0 };
                    self.write(n, Mutation::Claim { stamp, epoch }, Input::ClaimWritten);
                }
                Action::Ask(ask) => self.ask(n, ask),
                Action::WriteRows { call, bucket, rows } => {
                    self.note_rows(n, &rows);
                    self.write(n, Mutation::Rows { bucket, rows }, Input::RowsWritten { call });
                }
                Action::WriteMarker(marker) => self.write(n, Mutation::Marker(marker), Input::MarkerWritten),
                Action::ReadClaim { call } => self.read(n, What::Claim(call, None)),
                Action::WriteDeletedTo(to) => self.write(n, Mutation::DeletedTo(to), Input::DeletedToWritten),
                Action::DeleteRows { buckets, to, token } => {
                    for bucket in buckets {
                        self.send(n, Mutation::Deletion { bucket, to, token });
                    }
                }
                Action::Ready(log) => self.recovered(n, &log),
                Action::Acknowledge(to) => self.acknowledged(n, to),
                Action::Deleted(_) => self.tally.count("deleted"),
                Action::Fenced => {
                    self.tally.count("fenced");
                    if self.processes[n].has_worked {
                        self.tally.count("fenced while it worked");
                    }
                    self.end(n);
                }
                Action::Unknown => {
                    self.tally.count("unknown");
                    self.start_activation(n);
                    return;
                }
            }
        }
    }

    fn note_rows(&mut self, n: usize, rows: &[Row]) {
        let token = Token::new(self.processes[n].epoch, self.processes[n].activation);
        let is_ready = self.processes[n].is_ready();
        let size = self.scenario.buckets.size;
        for row in rows {
            if !is_ready {
                self.tally.count("adopted");
            } else if row.token == token {
                self.batches.insert((row.seq_nr, token), row.batch);
                self.processes[n].sent.insert(row.seq_nr, row.payload.clone());
            }
        }
        if is_ready && rows.len() as u64 > size {
            self.tally.count("longer than a bucket");
        }
    }
}
