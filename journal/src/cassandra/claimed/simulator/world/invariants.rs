use bytes::Bytes;

use super::{REPLICAS, World};
use crate::cassandra::claimed::simulator::replica::Replica;
use crate::cassandra::claimed::{Log, Marker, Rows, Rule, resolve};
use crate::{SeqNr, Token};

/// What must hold.
impl World {
    pub(super) fn expose(&mut self, seq_nr: SeqNr, token: Token, payload: Option<Bytes>) {
        let is_rewritten = self.is_rewritten();
        match self.exposed.entry(seq_nr).or_insert_with(|| (token, payload.clone())) {
            (seen, _) if *seen != token && !is_rewritten => {
                let seen = *seen;
                self.wrong(format!("{seq_nr:?} of {seen} was exposed, and then that of {token}"));
            }
            (_, Some(seen)) if payload.as_ref().is_some_and(|payload| payload != seen) => {
                self.wrong(format!("{seq_nr:?} of {token} was exposed with two contents"));
            }
            (_, known) => *known = known.take().or(payload),
        }
    }

    /// Then an event may have another token than it was exposed with.
    fn is_rewritten(&self) -> bool {
        !self.rules.keep(Rule::MarkerInsteadOfRewriting)
    }

    fn wrong(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn acknowledged(&mut self, n: usize, to: SeqNr) {
        self.tally.acknowledge(to.get());
        let token = Token::new(self.processes[n].epoch, self.processes[n].activation);
        let later = self.processes[n].sent.split_off(&to.next());
        let first = self.processes[n].sent.keys().next().copied();
        if first.is_some_and(|first| self.batches.get(&(first, token)).is_some_and(|batch| batch.last < to)) {
            self.tally.count("acknowledged several at once");
        }
        for (seq_nr, payload) in std::mem::replace(&mut self.processes[n].sent, later) {
            self.expose(seq_nr, token, Some(payload));
        }
        self.check_readings();
    }

    pub(super) fn recovered(&mut self, n: usize, log: &Log) {
        self.tally.count("recovered");
        self.processes[n].has_worked = true;
        let process = &self.processes[n];
        if process.activation > 1 {
            self.tally.count("recovered by a further activation");
        }
        if log.history.segments().len() > 2 {
            self.tally.count("recovered a log of three owners");
        }
        if self.rules.keep(Rule::MarkerDecides) && !self.is_rewritten() {
            for (token, last) in log.history.segments().to_vec() {
                let batch = self.batches.get(&(last, token)).copied();
                if last > log.deleted_to && batch.is_some_and(|batch| batch.last != last) {
                    self.wrong(format!("half of {batch:?} of {token} was recovered"));
                }
            }
        }
        for number in log.deleted_to.get() + 1..=log.head().get() {
            let seq_nr = SeqNr::ZERO.plus(number);
            if let Some(token) = log.history.token_of(seq_nr) {
                self.expose(seq_nr, token, None);
            }
        }
        self.check_readings();
    }

    /// Every quorum reads a log that contains all that was exposed.
    fn check_readings(&mut self) {
        self.check_readings_of(0);
        self.check_quorum(1, 2);
    }

    /// Every quorum that a replica is part of.
    pub(super) fn check_readings_of(&mut self, replica: usize) {
        self.check_quorum(replica, (replica + 1) % REPLICAS);
        self.check_quorum(replica, (replica + 2) % REPLICAS);
    }

    fn check_quorum(&mut self, one: usize, other: usize) {
        if let Err(wrong) = self.check_reading(&self.replicas[one], &self.replicas[other]) {
            self.wrong(format!("at replicas {one} and {other} {wrong}"));
        }
    }

    fn check_reading(&self, one: &Replica, other: &Replica) -> Result<(), String> {
        let mut rows = Rows::new();
        for bucket in one.partitions.keys().chain(other.partitions.keys()) {
            let mut partition = one.partitions.get(bucket).cloned().unwrap_or_default();
            if let Some(other) = other.partitions.get(bucket) {
                partition.merge(other);
            }
            rows.extend(partition.live().map(|row| ((row.seq_nr, row.token), row.clone())));
        }
        let markers: Vec<Marker> = one.markers.values().chain(other.markers.values()).cloned().collect();
        let deleted_to = one.deleted_to.max(other.deleted_to);
        let log = resolve(&rows, SeqNr::ZERO, &markers, deleted_to, self.rules)
            .map_err(|missing| format!("{:?} is missing: a hole", missing.0))?;
        for (seq_nr, (token, payload)) in self.exposed.range(deleted_to.next()..) {
            let there = log.history.token_of(*seq_nr).and_then(|token| rows.get(&(*seq_nr, token)));
            let Some(there) = there else {
                return Err(format!("{seq_nr:?} of {token}, which was exposed, is not in {log:?}"));
            };
            if there.token != *token && !self.is_rewritten() {
                return Err(format!("{seq_nr:?} is of {}, and that of {token} was exposed", there.token));
            }
            if payload.as_ref().is_some_and(|payload| *payload != there.payload) {
                return Err(format!("{seq_nr:?} of {token} has another content than was exposed"));
            }
        }
        Ok(())
    }
}
