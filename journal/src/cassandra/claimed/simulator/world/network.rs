use std::ops::ControlFlow;

use super::{QUORUM, REPLICAS, World};
use crate::SeqNr;
use crate::cassandra::claimed::simulator::process::{Call, Paged, Read, What};
use crate::cassandra::claimed::simulator::replica::{Mutation, Partition};
use crate::cassandra::claimed::{Ask, Found, Input, Row, Rule};

/// Writes to replicas, and what is read of them.
impl World {
    pub(super) fn send(&mut self, n: usize, mutation: Mutation) -> usize {
        self.sent.push((mutation, 0));
        let sent = self.sent.len() - 1;
        for replica in 0..REPLICAS {
            if self.random.percent(self.processes[n].late) {
                self.late.push((sent, replica));
            } else if !self.random.percent(self.scenario.lost) {
                self.soon.push((sent, replica));
            }
        }
        sent
    }

    pub(super) fn write(&mut self, n: usize, mutation: Mutation, then: Input) {
        let sent = self.send(n, mutation);
        self.processes[n].calls.push(Call::Write { sent, then });
    }

    pub(super) fn deliver(&mut self) {
        let on_their_way = if self.random.percent(8) { &mut self.late } else { &mut self.soon };
        if on_their_way.is_empty() {
            return self.advance();
        }
        let place = self.random.below(on_their_way.len());
        let (sent, replica) = on_their_way.swap_remove(place);
        let (mutation, has) = &mut self.sent[sent];
        *has += 1;
        self.replicas[replica].apply(mutation);
        self.check_readings_of(replica);
    }

    pub(super) fn ask(&mut self, n: usize, ask: Ask) {
        self.read(
            n,
            match ask {
                Ask::Markers => What::Markers(Vec::new()),
                Ask::DeletedTo => What::DeletedTo(SeqNr::ZERO),
                Ask::Rows(bucket) => What::Rows(Paged { bucket, ..Paged::default() }),
            },
        );
    }

    pub(super) fn read(&mut self, n: usize, what: What) {
        self.processes[n].calls.push(Call::Read(Read { what, asked: Vec::new() }));
    }

    /// Something that somebody waits for goes on.
    pub(super) fn advance(&mut self) {
        let waiting = self.processes.iter().enumerate().filter(|(_, process)| !process.calls.is_empty());
        let waiting: Vec<usize> = waiting.map(|(n, _)| n).collect();
        if waiting.is_empty() {
            return self.command();
        }
        let n = waiting[self.random.below(waiting.len())];
        if self.random.percent(self.scenario.impatience) {
            self.feed(n, Input::TimedOut);
            return;
        }
        let place = self.random.below(self.processes[n].calls.len());
        let done = match self.processes[n].calls.swap_remove(place) {
            Call::Write { sent, then } => {
                let enough = if self.rules.keep(Rule::WriteAtQuorum) { QUORUM } else { 1 };
                match self.sent[sent].1 >= enough {
                    true => ControlFlow::Break(then),
                    false => ControlFlow::Continue(Call::Write { sent, then }),
                }
            }
            Call::Read(read) => self.contact(read),
        };
        match done {
            ControlFlow::Break(input) => self.feed(n, input),
            ControlFlow::Continue(call) => self.processes[n].calls.push(call),
        }
    }

    /// Asks one more replica; what came out when there are enough.
    fn contact(&mut self, mut read: Read) -> ControlFlow<Input, Call> {
        let mut n = self.random.below(REPLICAS);
        while read.asked.contains(&n) {
            n = (n + 1) % REPLICAS;
        }
        read.asked.push(n);
        let replica = &self.replicas[n];
        match &mut read.what {
            What::Markers(markers) => markers.extend(replica.markers.values().cloned()),
            What::DeletedTo(to) => *to = replica.deleted_to.max(*to),
            What::Claim(_, claim) => *claim = replica.claim.max(*claim),
            What::Rows(paged) => {
                if let Some(partition) = replica.partitions.get(&paged.bucket) {
                    let (page, end) = partition.page(paged.after, self.scenario.page);
                    paged.page.merge(&page);
                    // Behind it this replica may have more.
                    paged.end = match (paged.end, end) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                }
            }
        }
        let enough = if self.rules.keep(Rule::ReadAtQuorum) { QUORUM } else { 1 };
        if read.asked.len() < enough {
            return ControlFlow::Continue(Call::Read(read));
        }
        let Read { what, asked } = read;
        match what {
            What::Markers(markers) => ControlFlow::Break(Input::Found(Found::Markers(markers))),
            What::DeletedTo(to) => ControlFlow::Break(Input::Found(Found::DeletedTo(to))),
            What::Claim(call, claim) => {
                ControlFlow::Break(Input::Claim { call, epoch: claim.map(|(_, epoch)| epoch) })
            }
            What::Rows(mut paged) => {
                let page = std::mem::take(&mut paged.page);
                self.repair(paged.bucket, &page, &asked);
                let within = |row: &&Row| paged.end.is_none_or(|end| (row.seq_nr, row.token) <= end);
                paged.found.extend(page.live().filter(within).cloned());
                match paged.end.take() {
                    None => ControlFlow::Break(Input::Found(Found::Rows(paged.found))),
                    Some(end) => {
                        paged.after = Some(end);
                        ControlFlow::Continue(Call::Read(Read { what: What::Rows(paged), asked: Vec::new() }))
                    }
                }
            }
        }
    }

    /// Brings what was read to those who were asked, or to some of them.
    fn repair(&mut self, bucket: u64, page: &Partition, asked: &[usize]) {
        if !self.scenario.repairs || !self.rules.keep(Rule::AdoptedRowsAreWrittenAgain) {
            return;
        }
        for replica in asked {
            if self.random.percent(50) {
                self.replicas[*replica].partitions.entry(bucket).or_default().merge(page);
            }
        }
        asked.iter().for_each(|replica| self.check_readings_of(*replica));
    }
}
