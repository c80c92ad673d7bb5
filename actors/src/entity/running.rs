use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use annals_journal::{AtomicWrite, Envelope, EventDigest, SeqNr, Timestamp, Token, Write};
use annals_snapshot::{Cadence, Snapshot};

use super::held::Held;
use super::waiting::{Stashed, Waiting};
use super::{Action, Bounds, Ground, Report, Rules, StopReason, WorkOutput};
use crate::context::Identity;
use crate::delivery::Turn;
use crate::effect::{After, Deed, Events, Outcome, SideEffect, Work};
use crate::panic::message;
use crate::{Failure, PersistentActor};

mod revisions;
mod setback;
mod snapshotting;
mod written_events;

pub(super) use revisions::Revisions;
pub(super) use setback::Setback;
use snapshotting::LastEvent;
use written_events::{Place, Unwritten, WrittenEvents};

/// A recovered entity: decides on its newest state while appends are on their way.
pub(super) struct Running<A: PersistentActor> {
    token: Token,
    state: A,
    /// The last event that the state has seen.
    decided: SeqNr,
    /// The last event that is known to be durable.
    durable: SeqNr,
    last_event: LastEvent,
    last_token: Token,
    /// Writes without an answer, oldest first.
    unanswered: VecDeque<Unanswered>,
    unanswered_events: usize,
    unanswered_bytes: usize,
    /// The newest write, and the newest that was answered.
    issued: u64,
    answered: u64,
    held: VecDeque<Held<A>>,
    work: Option<Box<Working<A>>>,
    cadence: Cadence,
    /// A snapshot that waits until its last event is durable.
    snapshot: Option<(u64, Box<Snapshot>)>,
    /// Of a state that its events replace.
    revisions: Option<Box<Revisions>>,
    stopping: Option<StopReason>,
    /// The last opportunity for a snapshot, or a deletion, was used.
    tried_last_snapshot: bool,
    now: Timestamp,
}

/// A write on its way.
struct Unanswered {
    /// The last event; `None`: a verification.
    last: Option<SeqNr>,
    events: usize,
    bytes: usize,
}

/// A command that does asynchronous work before its decision.
struct Working<A: PersistentActor> {
    waiting: Waiting<A>,
    /// The work waits until this write is answered.
    ticket: u64,
    start: Option<(Work, Duration)>,
    then: AfterWork<A>,
}

/// What becomes of a command whose work has ended.
enum AfterWork<A: PersistentActor> {
    /// Its handler goes on with what the work yielded.
    Resume,
    /// It is decided; the work has asked how its events may be written.
    Answer { events: Events<A::Event>, unstash: bool, after: After },
}

impl<A: PersistentActor> Running<A> {
    pub(super) fn new(
        token: Token,
        state: A,
        head: SeqNr,
        last_event: Option<(EventDigest, Token)>,
        cadence: Cadence,
        now: Timestamp,
    ) -> Self {
        Self {
            token,
            state,
            decided: head,
            durable: head,
            last_event: LastEvent::Recovered(last_event.map(|(digest, _)| digest)),
            last_token: last_event.map_or(token, |(_, token)| token),
            unanswered: VecDeque::new(),
            unanswered_events: 0,
            unanswered_bytes: 0,
            issued: 0,
            answered: 0,
            held: VecDeque::new(),
            work: None,
            cadence,
            snapshot: None,
            revisions: None,
            stopping: None,
            tried_last_snapshot: false,
            now,
        }
    }

    /// The same, of a state that its events replace.
    pub(super) fn with_revisions(self, revisions: Revisions) -> Self {
        Self { revisions: Some(Box::new(revisions)), ..self }
    }

    pub(super) fn decided(&self) -> SeqNr {
        self.decided
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn holds(&self, deed: impl Fn(&Deed<A>) -> bool) -> bool {
        let held = self.held.iter().flat_map(|held| &held.side_effects);
        held.into_iter().any(|effect| matches!(effect, SideEffect::Do(held) if deed(held)))
    }

    /// Whether a snapshot was taken of a state that is not durable.
    #[cfg(test)]
    pub(super) fn has_snapshot_in_hand(&self) -> bool {
        self.snapshot.is_some()
    }

    pub(super) fn accepts_commands(&self, bounds: &Bounds) -> bool {
        self.stopping.is_none()
            && self.work.is_none()
            && self.unanswered_events < bounds.events
            && self.unanswered_bytes < bounds.bytes
            && self.held.len() < bounds.held
    }

    /// Gives back memory that is not needed while nothing happens.
    pub(super) fn shrink(&mut self) {
        self.unanswered.shrink_to_fit();
        self.held.shrink_to_fit();
    }

    /// Nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.unanswered.is_empty() && self.held.is_empty() && self.work.is_none()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn passivate(&mut self, now: Timestamp) {
        self.now = now;
        self.stopping.get_or_insert(StopReason::Passivated);
    }

    pub(super) fn stop(
        &mut self,
        now: Timestamp,
        retry: &mut VecDeque<Waiting<A>>,
        out: &mut Vec<Action<A>>,
    ) {
        self.now = now;
        self.stopping = Some(StopReason::Stopped);
        if let Some(work) = self.work.take() {
            retry.push_back(work.waiting);
            out.push(Action::CancelWork);
        }
    }

    /// Decides a command.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        mut waiting: Waiting<A>,
        ground: &mut Ground<'_, A>,
    ) -> Result<(), Setback<A>> {
        self.now = now;
        let turn = Turn { entity: ground.identity, seq_nr: self.decided, now };
        let (state, delivery) = (&self.state, &mut waiting.delivery);
        match catch_unwind(AssertUnwindSafe(|| delivery.decide(state, turn))) {
            Ok(outcome) => self.carry_out(waiting, outcome, ground),
            Err(panic) => Err(Setback::Panicked { waiting, message: message(&*panic) }),
        }
    }

    /// Goes on with the command whose work has ended.
    pub(super) fn resume(
        &mut self,
        now: Timestamp,
        output: WorkOutput,
        ground: &mut Ground<'_, A>,
    ) -> Result<(), Setback<A>> {
        self.now = now;
        let Some(work) = self.work.take() else { return Ok(()) };
        let Working { mut waiting, then, .. } = *work;
        if let AfterWork::Answer { events, unstash, after } = then {
            return self.asked(waiting, output, Outcome::Answer { events, unstash, after }, ground);
        }
        let output = match output {
            WorkOutput::Done(output) => output,
            WorkOutput::TimedOut => {
                let persistence_id = ground.identity.persistence_id.clone();
                let failure = Failure::WorkTimedOut { persistence_id };
                ground.out.push(Action::Fail(waiting.delivery, failure));
                return Ok(());
            }
            WorkOutput::Panicked(message) => return Err(Setback::Panicked { waiting, message }),
        };
        if !waiting.delivery.begin() {
            ground.out.push(Action::Report(Report::CallerGone));
            return Ok(());
        }
        let turn = Turn { entity: ground.identity, seq_nr: self.decided, now };
        let (state, delivery) = (&self.state, &mut waiting.delivery);
        match catch_unwind(AssertUnwindSafe(|| delivery.resume(state, output, turn))) {
            Ok(outcome) => self.carry_out(waiting, outcome, ground),
            Err(panic) => Err(Setback::Panicked { waiting, message: message(&*panic) }),
        }
    }

    fn carry_out(
        &mut self,
        waiting: Waiting<A>,
        outcome: Outcome<A>,
        ground: &mut Ground<'_, A>,
    ) -> Result<(), Setback<A>> {
        match outcome {
            Outcome::Answer { events, unstash, after } => {
                match self.answer(waiting, &events, after, ground)? {
                    Answered::Done => {}
                    Answered::Failed => return Ok(()),
                    Answered::AsksFirst(waiting, asking) => {
                        let then = AfterWork::Answer { events, unstash, after };
                        self.ask_first(waiting, asking, then, ground);
                        return Ok(());
                    }
                }
                if unstash {
                    // The oldest comes out first and goes in front of what came later.
                    while let Some(stashed) = ground.stash.pop_back() {
                        ground.retry.push_front(stashed.waiting);
                    }
                }
                self.leave(after);
            }
            Outcome::Stash => self.put_aside(waiting, ground),
            Outcome::Run { work, limit } => {
                // Nothing is decided yet: a caller whose time is up meanwhile may still call it off.
                waiting.delivery.undo();
                let (ticket, start) = (self.issued, Some((work, limit)));
                self.work(Working { waiting, ticket, start, then: AfterWork::Resume }, ground);
            }
        }
        Ok(())
    }

    fn work(&mut self, mut working: Working<A>, ground: &mut Ground<'_, A>) {
        working.start_when(self.answered, ground.out);
        self.work = Some(Box::new(working));
    }

    /// Has it asked how the events of a decided command may be written; until that is known no other one is decided.
    fn ask_first(
        &mut self,
        waiting: Waiting<A>,
        asking: Work,
        then: AfterWork<A>,
        ground: &mut Ground<'_, A>,
    ) {
        // Nothing is applied yet: a caller whose time is up meanwhile may still call it off.
        waiting.delivery.undo();
        let (ticket, start) = (self.answered, Some((asking, ASKING_LIMIT)));
        self.work(Working { waiting, ticket, start, then }, ground);
    }

    /// It is known how the command's events may be written, or why not.
    fn asked(
        &mut self,
        waiting: Waiting<A>,
        output: WorkOutput,
        outcome: Outcome<A>,
        ground: &mut Ground<'_, A>,
    ) -> Result<(), Setback<A>> {
        let known = match output {
            WorkOutput::Done(known) => known.downcast::<Result<(), String>>().map_or(Ok(()), |known| *known),
            WorkOutput::TimedOut => {
                Err(format!("no answer within {ASKING_LIMIT:?} to which versions others read"))
            }
            WorkOutput::Panicked(message) => Err(message),
        };
        if let Err(reason) = known {
            ground.out.push(Action::Fail(waiting.delivery, Failure::JournalUnavailable { reason }));
            return Ok(());
        }
        if !waiting.delivery.begin() {
            ground.out.push(Action::Report(Report::CallerGone));
            return Ok(());
        }
        self.carry_out(waiting, outcome, ground)
    }

    /// Leaves as a command wants, once all is durable.
    pub(super) fn leave(&mut self, after: After) {
        match after {
            After::GoOn => {}
            After::Passivate => self.stopping = Some(StopReason::Passivated),
            After::Stop => self.stopping = Some(StopReason::Stopped),
        }
    }

    fn put_aside(&mut self, waiting: Waiting<A>, ground: &mut Ground<'_, A>) {
        waiting.delivery.undo();
        let capacity = ground.rules.bounds.stash;
        if ground.stash.len() >= capacity {
            let persistence_id = ground.identity.persistence_id.clone();
            ground.out.push(Action::Fail(waiting.delivery, Failure::StashFull { persistence_id, capacity }));
        } else {
            ground.stash.push_back(Stashed { waiting, rests_on: self.decided });
        }
    }

    /// Adapt and encode, apply, compute reply and side effects, then append. A failure before `apply` leaves the state
    /// untouched, and nothing of the effect is carried out; a panic from there on prevents the write.
    fn answer(
        &mut self,
        mut waiting: Waiting<A>,
        events: &Events<A::Event>,
        after: After,
        ground: &mut Ground<'_, A>,
    ) -> Result<Answered<A>, Setback<A>> {
        let timestamp = waiting.delivery.timestamp();
        let place = Place { after: self.decided, token: self.token, timestamp, now: self.now };
        let written = WrittenEvents::of(events.as_slice(), place, ground.identity, ground.rules);
        let WrittenEvents { mut envelopes, read_back } = match written {
            Ok(written) => written,
            Err(Unwritten::Refused(reason)) => {
                ground.out.push(Action::Fail(waiting.delivery, Failure::NotStorable { reason }));
                return Ok(Answered::Failed);
            }
            Err(Unwritten::AskFirst(asking)) => return Ok(Answered::AsksFirst(waiting, asking)),
        };
        let (state, delivery) = (&mut self.state, &mut waiting.delivery);
        let folded = catch_unwind(AssertUnwindSafe(|| {
            let mut read_back = read_back.into_iter().peekable();
            for (event, envelope) in events.as_slice().iter().zip(&mut envelopes) {
                match read_back.next_if(|(seq_nr, _)| *seq_nr == envelope.seq_nr) {
                    None => {
                        state.apply(event);
                        envelope.tags = state.tags(event);
                    }
                    Some((_, events)) => envelope.tags = written_events::apply_read_back(state, &events),
                }
            }
            delivery.evaluate(state)
        }));
        let side_effects = match folded {
            Ok(side_effects) => side_effects,
            Err(panic) => return Err(Setback::Panicked { waiting, message: message(&*panic) }),
        };
        let persisted = !envelopes.is_empty();
        if persisted {
            if let Some(refused) = envelopes.iter().find_map(|event| ground.rules.limits.check(event).err()) {
                // The state has seen events that cannot be stored: as with a panic, it is thrown away.
                return Err(Setback::Unstorable { waiting, reason: refused.to_string() });
            }
            self.append(envelopes, events, ground);
        }
        let verify = waiting.delivery.wants_confirmation() && !persisted;
        if verify {
            self.verify(ground);
        }
        let (rests_on, ticket) = (self.decided, self.issued);
        let held = Held { waiting, rests_on, persisted, ticket, side_effects, after };
        if held.ticket <= self.answered && self.held.is_empty() {
            ground.out.push(held.release());
        } else {
            self.held.push_back(held);
        }
        Ok(Answered::Done)
    }

    fn append(&mut self, envelopes: Vec<Envelope>, events: &Events<A::Event>, ground: &mut Ground<'_, A>) {
        let expected = self.decided;
        let mut bytes = 0;
        for (envelope, event) in envelopes.iter().zip(events.as_slice()) {
            let size = envelope.payload.len();
            bytes += size;
            let (policy, cadence, state) = (&ground.rules.snapshots, &mut self.cadence, &self.state);
            // A predicate of the user's that panics costs a snapshot, never the command.
            let observed = catch_unwind(AssertUnwindSafe(|| {
                cadence.observe(policy, state, event, envelope.seq_nr, size, self.now);
            }));
            if let Err(panic) = observed {
                ground.out.push(Action::Report(Report::SnapshotNotTaken(message(&*panic))));
            }
        }
        if let Some(last) = envelopes.last() {
            self.decided = last.seq_nr;
            self.last_event = LastEvent::Own(last.timestamp);
            self.last_token = last.token;
        }
        let events = envelopes.len();
        self.unanswered.push_back(Unanswered { last: Some(self.decided), events, bytes });
        self.unanswered_events += events;
        self.unanswered_bytes += bytes;
        self.issued += 1;
        ground.out.push(Action::Write(Write::Append(AtomicWrite {
            persistence_id: ground.identity.persistence_id.clone(),
            expected,
            token: self.token,
            events: envelopes,
            mark: None,
        })));
        if self.cadence.is_due(self.now) && !*ground.saving && self.snapshot.is_none() {
            self.snapshot = self
                .take_snapshot(ground.identity, ground.rules, ground.out)
                .map(|snapshot| (self.issued, Box::new(snapshot)));
        }
    }

    fn verify(&mut self, ground: &mut Ground<'_, A>) {
        self.unanswered.push_back(Unanswered { last: None, events: 0, bytes: 0 });
        self.issued += 1;
        ground.out.push(Action::Write(Write::Verify {
            persistence_id: ground.identity.persistence_id.clone(),
            token: self.token,
        }));
    }

    /// The oldest write is stored: releases what rested on it.
    pub(super) fn acknowledge(&mut self, saving: &mut bool, out: &mut Vec<Action<A>>) {
        let Some(write) = self.unanswered.pop_front() else { return };
        self.unanswered_events -= write.events;
        self.unanswered_bytes -= write.bytes;
        self.durable = write.last.unwrap_or(self.durable);
        self.answered += 1;
        while let Some(held) = self.held.pop_front_if(|held| held.ticket <= self.answered) {
            out.push(held.release());
        }
        if let Some((_, snapshot)) = self.snapshot.take_if(|(ticket, _)| *ticket <= self.answered) {
            *saving = true;
            out.push(Action::Save(snapshot));
        }
        if let Some(work) = &mut self.work {
            work.start_when(self.answered, out);
        }
    }

    /// Whether the entity asked to stop and nothing is on its way; takes a last snapshot when the policy wants one.
    pub(super) fn ready_to_stop(
        &mut self,
        identity: &Identity,
        rules: &Rules<A>,
        saving: &mut bool,
        out: &mut Vec<Action<A>>,
    ) -> Option<StopReason> {
        let reason = self.stopping.filter(|_| self.is_quiet())?;
        if *saving {
            // The save on its way ends first, so that the last one is the newest.
            return None;
        }
        let is_last = !std::mem::replace(&mut self.tried_last_snapshot, true);
        if is_last && self.delete_all_older(saving, out) {
            return None;
        }
        if is_last
            && self.cadence.is_due_on_stop(&rules.snapshots, self.now)
            && let Some(snapshot) = self.take_snapshot(identity, rules, out)
        {
            *saving = true;
            out.push(Action::Save(Box::new(snapshot)));
            return None;
        }
        Some(reason)
    }
}

/// What has become of a decided command.
enum Answered<A: PersistentActor> {
    /// Its events are on their way.
    Done,
    /// They cannot be stored, and its caller knows.
    Failed,
    /// Others must be asked first how its events may be written.
    AsksFirst(Waiting<A>, Work),
}

impl<A: PersistentActor> Working<A> {
    /// Hands the work out once all that it rests on is durable.
    fn start_when(&mut self, answered: u64, out: &mut Vec<Action<A>>) {
        if self.ticket <= answered
            && let Some((work, limit)) = self.start.take()
        {
            out.push(Action::Work(work, limit));
        }
    }
}

/// How long it may take to find out who reads what: a few small commits, and waiting for one who is finding it out too.
const ASKING_LIMIT: Duration = Duration::from_secs(30);
