use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{Ask, Batch, Buckets, Found, Log, Marker, Next, Reading, Row, Rule, Rules};
use crate::{Epoch, SeqNr, Token};

/// An owner of an id under one token: takes over, then appends and deletes.
///
/// A claim names the epoch. A further activation of the same epoch may take over without a claim when the one before
/// can do nothing any more.
#[derive(Debug)]
pub(super) struct Owner {
    rules: Rules,
    buckets: Buckets,
    token: Token,
    stage: Stage,
    /// Numbers of writes and readings of the claim, to tell their answers apart.
    last_call: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    WriteClaim(Epoch),
    Ask(Ask),
    /// One mutation of one bucket.
    WriteRows {
        call: u64,
        bucket: u64,
        rows: Vec<Row>,
    },
    WriteMarker(Marker),
    ReadClaim {
        call: u64,
    },
    WriteDeletedTo(SeqNr),
    /// Deletes rows up to a number from these buckets, under the time of this token.
    DeleteRows {
        buckets: std::ops::RangeInclusive<u64>,
        to: SeqNr,
        token: Token,
    },
    /// Has taken over this log.
    Ready(Log),
    /// Everything up to here is durable, and part of the log for good.
    Acknowledge(SeqNr),
    Deleted(SeqNr),
    /// There is a newer owner.
    Fenced,
    /// What was on its way may become part of the log, or not; another token finds out.
    Unknown,
}

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum Input {
    ClaimWritten,
    Found(Found),
    RowsWritten {
        call: u64,
    },
    MarkerWritten,
    Claim {
        call: u64,
        epoch: Option<Epoch>,
    },
    DeletedToWritten,
    Append(Vec<Bytes>),
    Delete(SeqNr),
    /// Something that was asked for has no answer, and may have none.
    TimedOut,
}

#[derive(Debug)]
enum Stage {
    Claiming,
    Reading(Reading),
    /// Writes that have no answer yet.
    Adopting {
        writes: BTreeSet<u64>,
        log: Log,
    },
    Marking(Log),
    Verifying(Log),
    Ready(Ready),
    Ended,
}

#[derive(Debug)]
struct Ready {
    acknowledged: SeqNr,
    /// The last number that was sent.
    head: SeqNr,
    sent: VecDeque<Sent>,
    /// The reading of the claim that is on its way, and the writes that were at a quorum before it began.
    verifying: Option<(u64, BTreeSet<u64>)>,
    deleted_to: SeqNr,
    deleting: Option<SeqNr>,
}

#[derive(Debug)]
struct Sent {
    call: u64,
    last: SeqNr,
    is_at_quorum: bool,
    is_verified: bool,
}

impl Owner {
    /// Begins to take over; `is_claimed`: this process has claimed the epoch, at a quorum.
    pub(super) fn take_over(
        rules: Rules,
        buckets: Buckets,
        token: Token,
        is_claimed: bool,
    ) -> (Self, Vec<Action>) {
        let mut owner = Self { rules, buckets, token, stage: Stage::Claiming, last_call: 0 };
        let mut actions = Vec::new();
        if !is_claimed {
            actions.push(Action::WriteClaim(token.epoch));
        }
        if is_claimed || !rules.keep(Rule::ClaimIsWaitedFor) {
            owner.read(&mut actions);
        }
        (owner, actions)
    }

    /// Whether it has taken over.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    /// Answers of what was asked before the end are of no use, and are dropped.
    pub(super) fn step(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match (std::mem::replace(&mut self.stage, Stage::Ended), input) {
            (Stage::Ended, _) => {}
            (_, Input::TimedOut) => actions.push(Action::Unknown),
            (Stage::Claiming, Input::ClaimWritten) => self.read(&mut actions),
            (Stage::Reading(mut reading), Input::Found(found)) => match reading.step(found) {
                Next::Ask(ask) => {
                    actions.push(Action::Ask(ask));
                    self.stage = Stage::Reading(reading);
                }
                Next::Resolved(log) => self.adopt(&reading, log, &mut actions),
            },
            (Stage::Adopting { mut writes, log }, Input::RowsWritten { call }) => {
                writes.remove(&call);
                match writes.is_empty() {
                    true => self.mark(log, &mut actions),
                    false => self.stage = Stage::Adopting { writes, log },
                }
            }
            (Stage::Marking(log), Input::MarkerWritten) => self.verify(log, &mut actions),
            (Stage::Verifying(log), Input::Claim { epoch, .. }) => match self.is_mine(epoch) {
                true => self.begin(log, &mut actions),
                false => actions.push(self.refused(epoch)),
            },
            (Stage::Ready(mut ready), input) => {
                if self.work(&mut ready, input, &mut actions) {
                    self.stage = Stage::Ready(ready);
                }
            }
            (stage, _) => self.stage = stage,
        }
        actions
    }

    fn call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }

    fn is_mine(&self, epoch: Option<Epoch>) -> bool {
        epoch == Some(self.token.epoch)
    }

    fn refused(&self, epoch: Option<Epoch>) -> Action {
        match epoch.is_some_and(|epoch| epoch > self.token.epoch) {
            true => Action::Fenced,
            false => Action::Unknown,
        }
    }

    fn read(&mut self, actions: &mut Vec<Action>) {
        let markers_decide =
            self.rules.keep(Rule::MarkerDecides) && self.rules.keep(Rule::MarkerInsteadOfRewriting);
        let wanted = (!markers_decide).then_some(SeqNr::ZERO);
        let (reading, ask) = Reading::begin(self.rules, self.buckets, wanted);
        actions.push(Action::Ask(ask));
        self.stage = Stage::Reading(reading);
    }

    fn adopt(&mut self, reading: &Reading, log: Log, actions: &mut Vec<Action>) {
        if log.owner.is_some_and(|owner| owner > self.token) {
            actions.push(Action::Fenced);
            return;
        }
        let rewrites = !self.rules.keep(Rule::MarkerInsteadOfRewriting);
        let mut batches: BTreeMap<(u64, SeqNr), Vec<Row>> = BTreeMap::new();
        for row in log.rows(reading.rows(), log.settled) {
            let mut row = row.clone();
            if rewrites {
                row.token = self.token;
                row.batch = Batch { first: row.seq_nr, last: row.seq_nr };
            }
            batches.entry((self.buckets.of(row.batch.first), row.batch.first)).or_default().push(row);
        }
        if !self.rules.keep(Rule::AdoptedRowsAreWrittenAgain) {
            batches.clear();
        }
        let mut writes = BTreeSet::new();
        for ((bucket, _), rows) in batches {
            let call = self.call();
            writes.insert(call);
            actions.push(Action::WriteRows { call, bucket, rows });
        }
        if writes.is_empty() || !self.rules.keep(Rule::AdoptedRowsAreWaitedFor) {
            self.mark(log, actions);
        } else {
            self.stage = Stage::Adopting { writes, log };
        }
    }

    fn mark(&mut self, log: Log, actions: &mut Vec<Action>) {
        if !self.rules.keep(Rule::MarkerDecides) || !self.rules.keep(Rule::MarkerInsteadOfRewriting) {
            return self.verify(log, actions);
        }
        let history = match log.owner {
            Some(owner) => log.history.clone().extended(owner, log.head()),
            None => log.history.clone(),
        };
        let log = Log { history, ..log };
        actions.push(Action::WriteMarker(Marker { token: self.token, history: log.history.clone() }));
        match self.rules.keep(Rule::MarkerIsWaitedFor) {
            true => self.stage = Stage::Marking(log),
            false => self.verify(log, actions),
        }
    }

    fn verify(&mut self, log: Log, actions: &mut Vec<Action>) {
        if !self.rules.keep(Rule::RecoveryIsVerified) {
            return self.begin(log, actions);
        }
        actions.push(Action::ReadClaim { call: self.call() });
        self.stage = Stage::Verifying(log);
    }

    fn begin(&mut self, log: Log, actions: &mut Vec<Action>) {
        let head = log.head();
        self.stage = Stage::Ready(Ready {
            acknowledged: head,
            head,
            sent: VecDeque::new(),
            verifying: None,
            deleted_to: log.deleted_to,
            deleting: None,
        });
        actions.push(Action::Ready(log));
    }

    /// Whether it goes on.
    fn work(&mut self, ready: &mut Ready, input: Input, actions: &mut Vec<Action>) -> bool {
        match input {
            Input::Append(payloads) => self.append(ready, payloads, actions),
            Input::RowsWritten { call } => {
                let verifies = self.rules.keep(Rule::AppendIsVerified);
                for sent in ready.sent.iter_mut().filter(|sent| sent.call == call) {
                    sent.is_at_quorum = true;
                    sent.is_verified |= !verifies;
                }
                self.verify_appends(ready, actions);
                self.acknowledge(ready, actions);
            }
            Input::Claim { call, epoch } => {
                if let Some((_, covered)) = ready.verifying.take_if(|(verifying, _)| *verifying == call) {
                    if !self.is_mine(epoch) {
                        actions.push(self.refused(epoch));
                        return false;
                    }
                    for sent in ready.sent.iter_mut().filter(|sent| covered.contains(&sent.call)) {
                        sent.is_verified = true;
                    }
                    self.acknowledge(ready, actions);
                    self.verify_appends(ready, actions);
                }
            }
            Input::Delete(to) if ready.deleting.is_none() => {
                let to = to.min(ready.acknowledged);
                if to > ready.deleted_to {
                    ready.deleting = Some(to);
                    actions.push(Action::WriteDeletedTo(to));
                    if !self.rules.keep(Rule::DeletedIsWaitedFor) {
                        actions.push(self.deletion(ready.deleted_to, to));
                    }
                }
            }
            Input::DeletedToWritten => {
                if let Some(to) = ready.deleting.take() {
                    actions.push(self.deletion(ready.deleted_to, to));
                    actions.push(Action::Deleted(to));
                    ready.deleted_to = to;
                }
            }
            _ => {}
        }
        true
    }

    fn append(&mut self, ready: &mut Ready, payloads: Vec<Bytes>, actions: &mut Vec<Action>) {
        let first = ready.head.next();
        let batch = Batch { first, last: ready.head.plus(payloads.len() as u64) };
        let row = |(place, payload)| Row {
            seq_nr: first.plus(place),
            token: self.token,
            batch,
            settled: ready.acknowledged,
            payload,
        };
        let rows = (0..).zip(payloads).map(row).collect();
        let call = self.call();
        ready.head = batch.last;
        ready.sent.push_back(Sent { call, last: batch.last, is_at_quorum: false, is_verified: false });
        actions.push(Action::WriteRows { call, bucket: self.buckets.of(first), rows });
        if !self.rules.keep(Rule::AppendIsVerifiedAfterwards) {
            self.verify_appends(ready, actions);
        }
    }

    /// A2: one reading of the claim for all that are at a quorum by now.
    fn verify_appends(&mut self, ready: &mut Ready, actions: &mut Vec<Action>) {
        if ready.verifying.is_some() {
            return;
        }
        let afterwards = self.rules.keep(Rule::AppendIsVerifiedAfterwards);
        let due = ready.sent.iter().filter(|sent| !sent.is_verified && (sent.is_at_quorum || !afterwards));
        let covered: BTreeSet<_> = due.map(|sent| sent.call).collect();
        if !covered.is_empty() {
            let call = self.call();
            actions.push(Action::ReadClaim { call });
            ready.verifying = Some((call, covered));
        }
    }

    /// A3: in order, up to the first that is not at a quorum and verified.
    fn acknowledge(&self, ready: &mut Ready, actions: &mut Vec<Action>) {
        let is_done = |sent: &Sent| sent.is_at_quorum && sent.is_verified;
        if !self.rules.keep(Rule::AcknowledgedInOrder) {
            let done = ready.sent.iter().filter(|sent| is_done(sent)).map(|sent| sent.last).max();
            ready.sent.retain(|sent| !is_done(sent));
            if let Some(last) = done {
                ready.acknowledged = ready.acknowledged.max(last);
                actions.push(Action::Acknowledge(last));
            }
            return;
        }
        let before = ready.acknowledged;
        while let Some(sent) = ready.sent.pop_front_if(|sent| is_done(sent)) {
            ready.acknowledged = sent.last;
        }
        if ready.acknowledged > before {
            actions.push(Action::Acknowledge(ready.acknowledged));
        }
    }

    /// The buckets that may have rows behind what was deleted before.
    fn deletion(&self, deleted: SeqNr, to: SeqNr) -> Action {
        let buckets = *self.buckets.around(deleted.next()).start()..=self.buckets.of(to);
        Action::DeleteRows { buckets, to, token: self.token }
    }
}
