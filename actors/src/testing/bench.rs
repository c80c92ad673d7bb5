use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use annals_journal::{
    AtomicWrite, Envelope, Epoch, Head, JournalError, Limits, Offset, PersistenceId, Replayed, SeqNr,
    StoredEvent, Timestamp, Token, Write, WriterId,
};
use annals_migrations::{Command, WrittenForms};
use annals_snapshot::{Snapshot, SnapshotPolicy};
use serde_json::Value;

use super::findings::Findings;
use super::inspected::{Inspected, apply_as_live};
use super::moment::{Numbered, Standing};
use super::peek::Peek;
use super::shown::value;
use super::work::drive;
use crate::answer::{Answer, answer};
use crate::context::{Identity, Surroundings, nowhere};
use crate::delivery::{Parcel, Progress, Response};
use crate::effect::SideEffect;
use crate::entity::{Action, Activations, Entity, Input, Report, Rules, StopReason};
use crate::environment::Environment;
use crate::panic::message;
use crate::{Handle, Kind, PersistentActor, RecoveryError};

/// One entity on the state machine that nodes run, and what a journal and a snapshot store would hold of it.
pub(super) struct Bench<A: PersistentActor> {
    identity: Arc<Identity>,
    rules: Arc<Rules<A>>,
    entity: Entity<A>,
    pub(super) now: Timestamp,
    pub(super) findings: Findings,
    pub(super) stored: Vec<Envelope>,
    token: Token,
    pub(super) snapshots: Vec<Snapshot>,
    /// Writes without an answer, oldest first.
    on_their_way: VecDeque<Write>,
    /// Side effects that were released and not run.
    pub(super) side_effects: Vec<SideEffect<A>>,
    pub(super) reports: Vec<Report>,
    pub(super) stopped: Option<StopReason>,
}

impl<A: PersistentActor> Bench<A> {
    /// An entity without events, ready for commands.
    pub(super) fn new(kind: Kind<A>, id: PersistenceId, now: Timestamp, ids: Numbered) -> Self {
        let adapter = kind.adapter().unwrap_or_else(|error| panic!("{error}"));
        let states = Kind::<A>::states().unwrap_or_else(|error| panic!("{error}"));
        let missing = kind.missing_services();
        assert!(missing.is_empty(), "give the test the services {missing:?} with `.service(…)`");
        let rules = Arc::new(Rules {
            epoch: Epoch(2),
            writer: WRITER,
            activations: Arc::new(Activations::default()),
            adapter,
            states,
            written: Arc::new(WrittenForms::new()),
            clearance: None,
            snapshots: if A::REPLACES_STATE { SnapshotPolicy::never() } else { kind.snapshots },
            keep_revisions: kind.keep_revisions,
            limits: LIMITS,
            bounds: kind.bounds,
        });
        let identity = Arc::new(Identity {
            persistence_id: id,
            surroundings: Arc::new(Surroundings {
                services: kind.services,
                needs: Kind::<A>::needs(),
                environment: Environment { clock: Arc::new(Standing(now)), ids: Arc::new(ids) },
                work_limit: kind.work_limit,
                entities: nowhere(),
            }),
        });
        let entity = Entity::start(Arc::clone(&identity), Arc::clone(&rules));
        let mut bench = Self {
            identity,
            rules,
            entity,
            now,
            findings: Findings::default(),
            stored: Vec::new(),
            token: Token::default(),
            snapshots: Vec::new(),
            on_their_way: VecDeque::new(),
            side_effects: Vec::new(),
            reports: Vec::new(),
            stopped: None,
        };
        bench.perform();
        bench
    }

    /// Moves the clock on.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    pub(super) fn rules(&self) -> &Rules<A> {
        &self.rules
    }

    /// Puts an event in front of everything that the entity will do; it is not applied before [`Self::restart`].
    pub(super) fn given(&mut self, event: &A::Event) -> Result<(), String> {
        let encoded = self.rules.adapter.to_journal(event).map_err(|error| error.to_string())?;
        let seq_nr = SeqNr::ZERO.plus(self.stored.len() as u64 + 1);
        self.stored.push(Envelope {
            persistence_id: self.identity.persistence_id.clone(),
            seq_nr,
            token: Token::new(Epoch(1), 1),
            writer: WriterId::from_bytes([1; 16]),
            timestamp: self.now,
            manifest: encoded.manifest,
            schema_version: encoded.schema_version,
            codec: encoded.codec,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: encoded.payload,
        });
        self.findings.lock().durable = seq_nr;
        Ok(())
    }

    /// Applies an event as a live state is given it.
    pub(super) fn apply_as_live(&self, state: &mut A, event: &A::Event) {
        apply_as_live(&*self.rules.adapter, state, event);
    }

    /// The process dies; of the writes on their way the first ones are stored. A new entity recovers.
    pub(super) fn crash(&mut self, stored: usize) {
        let arrived: Vec<Write> = self.on_their_way.drain(..).take(stored).collect();
        for write in arrived {
            let _ = self.store(write);
        }
        self.restart();
    }

    /// A new entity recovers from what is stored.
    pub(super) fn restart(&mut self) {
        self.on_their_way.clear();
        self.side_effects.clear();
        self.stopped = None;
        self.entity = Entity::start(Arc::clone(&self.identity), Arc::clone(&self.rules));
        self.perform();
    }

    /// Hands a command to the entity.
    pub(super) fn send<C: Command>(&mut self, command: C) -> Answer<'static, Response<A, C>>
    where
        A: Handle<C>,
    {
        let (caller, answer) = answer();
        let parcel = Parcel::new(command, false, Progress::new(), Some(caller));
        let inspected = Inspected::new(parcel, Arc::clone(&self.rules), self.findings.clone());
        self.step(Input::Command(Box::new(inspected)));
        answer
    }

    /// Stores everything that is on its way, and what follows from that.
    pub(super) fn acknowledge_all(&mut self) {
        while let Some(write) = self.on_their_way.pop_front() {
            let result = self.store(write);
            self.step(Input::Written(result));
        }
    }

    /// The answer to the oldest write, if there is one, gets lost: after it was stored, or before.
    pub(super) fn lose_answer(&mut self, stored: bool) {
        let Some(write) = self.on_their_way.pop_front() else { return };
        if stored {
            let _ = self.store(write);
        }
        let error = JournalError::Unknown { reason: "the test lost the answer".into(), source: None };
        self.step(Input::Written(Err(error)));
    }

    /// Whether nothing is on its way to the journal.
    pub(super) fn is_durable(&self) -> bool {
        self.on_their_way.is_empty()
    }

    /// The live state; `None` when the entity has stopped, recovers, or works for a command.
    pub(super) fn live(&mut self) -> Option<Value> {
        let (sender, state) = mpsc::sync_channel(1);
        self.step(Input::Command(Box::new(Peek(sender))));
        state.try_recv().ok()
    }

    /// The state that recovery gives, from the newest snapshot or from the first event.
    pub(super) fn recovered(&self, with_snapshots: bool) -> Result<Value, String> {
        let mut other = Self {
            identity: Arc::clone(&self.identity),
            rules: Arc::clone(&self.rules),
            entity: Entity::start(Arc::clone(&self.identity), Arc::clone(&self.rules)),
            now: self.now,
            findings: Findings::default(),
            stored: self.stored.clone(),
            token: self.token,
            snapshots: if with_snapshots { self.snapshots.clone() } else { Vec::new() },
            on_their_way: VecDeque::new(),
            side_effects: Vec::new(),
            reports: Vec::new(),
            stopped: None,
        };
        other.perform();
        if let Some(error) = other.recovery_failure() {
            return Err(error.to_string());
        }
        if let Some(Report::UnreadableSnapshot { seq_nr, reason }) = other.reports.first() {
            return Err(format!("the snapshot at {seq_nr:?} cannot be read: {reason}"));
        }
        other.live().ok_or_else(|| "the recovered entity does not answer".to_owned())
    }

    pub(super) fn recovery_failure(&self) -> Option<&RecoveryError> {
        self.reports.iter().find_map(|report| match report {
            Report::RecoveryFailed(error) => Some(error),
            _ => None,
        })
    }

    /// The fold of what is stored, as a value.
    pub(super) fn fold(&self) -> Result<A, String> {
        let mut state = A::default();
        for envelope in &self.stored {
            let adapter = &self.rules.adapter;
            catch_unwind(AssertUnwindSafe(|| {
                adapter.from_journal(envelope, &mut |event| state.apply(&event))
            }))
            .map_err(|panic| message(&*panic))?
            .map_err(|error| error.to_string())?;
        }
        Ok(state)
    }

    /// Replay gives the live state (I6), and so does a snapshot with the events behind it (I7).
    pub(super) fn check_recovery(&mut self, live: &Value) {
        let replayed = match self.recovered(false) {
            Ok(replayed) => replayed,
            Err(error) => return self.findings.broken(format!("I6: replay fails: {error}\n")),
        };
        self.findings.same(live, &replayed, || "I6: replay (+) does not give the live state (-)".to_owned());
        if let Some(newest) = self.snapshots.last() {
            let at = newest.seq_nr;
            match self.recovered(true) {
                Ok(from_snapshot) => {
                    self.findings.same(&replayed, &from_snapshot, || {
                        format!(
                            "I7: the snapshot at {at:?} and the events behind it (+) do not give what full replay gives (-)"
                        )
                    });
                }
                Err(error) => self.findings.broken(format!("I7: {error}\n")),
            }
        }
        if let Ok(state) = self.fold() {
            let states = &self.rules.states;
            let read = states.encode(&state).and_then(|encoded| {
                states.decode(&encoded.manifest, encoded.schema_version, encoded.codec, &encoded.payload)
            });
            match read {
                Ok(read) => {
                    self.findings.same(&value(&state), &value(&read), || {
                        "a snapshot of the state gives back another state".to_owned()
                    });
                }
                Err(error) => {
                    self.findings.broken(format!("a snapshot of the state cannot be read: {error}\n"))
                }
            }
        }
    }

    fn store(&mut self, write: Write) -> Result<Head, JournalError> {
        if let Write::Append(AtomicWrite { expected, token, events, .. }) = write {
            let head = SeqNr::ZERO.plus(self.stored.len() as u64);
            let numbers = events.iter().map(|event| event.seq_nr.get());
            if expected != head
                || token < self.token
                || !numbers.eq(head.get() + 1..head.get() + 1 + events.len() as u64)
            {
                let found: Vec<_> = events.iter().map(|event| event.seq_nr).collect();
                self.findings.broken(format!("I2: events {found:?} were to be stored behind {head:?}\n"));
            }
            self.token = self.token.max(token);
            self.stored.extend(events);
        }
        let head = self.head();
        self.findings.lock().durable = head.seq_nr;
        Ok(head)
    }

    fn head(&self) -> Head {
        let seq_nr = SeqNr::ZERO.plus(self.stored.len() as u64);
        Head { seq_nr, token: self.token, ..Head::EMPTY }
    }

    fn step(&mut self, input: Input<A>) {
        self.entity.step(self.now, input);
        self.perform();
    }

    /// Does what the entity asks for, until it asks for nothing but answers to writes.
    fn perform(&mut self) {
        let mut asked: VecDeque<Action<A>> = self.entity.take_actions().into();
        while let Some(action) = asked.pop_front() {
            if let Some(input) = self.act(action, &mut asked) {
                self.entity.step(self.now, input);
            }
            asked.extend(self.entity.take_actions());
        }
    }

    fn act(&mut self, action: Action<A>, asked: &mut VecDeque<Action<A>>) -> Option<Input<A>> {
        match action {
            Action::Claim(token) => {
                self.token = self.token.max(token);
                return Some(Input::Claimed(Ok(self.head())));
            }
            Action::Load(at_most) => {
                let newest = self.snapshots.iter().rev().find(|snapshot| snapshot.seq_nr <= at_most);
                return Some(Input::Loaded(Ok(newest.cloned())));
            }
            Action::Replay(from, to) => self.replay(from, to, asked),
            Action::Write(write) => self.on_their_way.push_back(write),
            Action::ForgetWrites => self.on_their_way.clear(),
            Action::Work(work, limit) => return Some(Input::Worked(drive(work, limit).into())),
            Action::Release(delivery, effects) => {
                delivery.release();
                self.side_effects.extend(effects);
            }
            Action::Fail(delivery, failure) => delivery.fail(failure),
            Action::Unknown(delivery) => delivery.unknown(&self.identity.persistence_id),
            Action::Save(snapshot) => {
                self.snapshots.push(*snapshot);
                return Some(Input::Saved { stored: true });
            }
            // They stay, to be replayed.
            Action::Delete(_) => return Some(Input::Saved { stored: true }),
            Action::Rest(pause) => {
                self.now = self.now.plus(pause);
                return Some(Input::Rested);
            }
            Action::Stop(StopReason::PassivatedWhileNeeded) => return Some(Input::WakeAgain),
            Action::Stop(reason) => self.stopped = Some(reason),
            Action::Report(report) => self.reports.push(report),
            Action::CancelWork
            | Action::ClearToolkit
            | Action::RefuseMailbox(_)
            | Action::LeaveAlone(_)
            | Action::Ready { .. } => {}
        }
        None
    }

    /// Feeds stored events until the entity wants something else.
    fn replay(&mut self, from: SeqNr, to: SeqNr, asked: &mut VecDeque<Action<A>>) {
        let wanted = self.stored.iter().filter(|event| event.seq_nr >= from && event.seq_nr <= to);
        for event in wanted {
            let stored = StoredEvent {
                offset: Offset::of_position(event.seq_nr.get()),
                envelope: event.clone(),
                bytes: event.encode(),
            };
            self.entity.step(self.now, Input::Replayed(Ok(Some(Replayed::Event(stored)))));
            if self.entity.has_actions() {
                asked.extend(self.entity.take_actions());
                return;
            }
        }
        self.entity.step(self.now, Input::Replayed(Ok(None)));
    }
}

const WRITER: WriterId = WriterId::from_bytes([2; 16]);
/// Those of a SQLite journal.
const LIMITS: Limits = Limits { max_payload_bytes: 8 * 1024 * 1024, max_events: 4096, marks: false };

#[cfg(test)]
mod tests {
    use annals_migrations::Event;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::testing::moment::NEW_YEAR;
    use crate::{Context, Effect, NeverRejected};

    #[derive(Default, Serialize, Deserialize)]
    struct Light(bool);

    #[derive(Serialize, Deserialize, Event)]
    enum Change {
        Switched,
    }

    #[derive(Serialize, Deserialize, annals_migrations::Command)]
    struct Switch;

    impl PersistentActor for Light {
        const KIND: &'static str = "light";
        type Event = Change;
        type Commands = (Switch,);

        fn apply(&mut self, _: &Change) {
            self.0 = !self.0;
        }
    }

    impl Handle<Switch> for Light {
        type Reply = bool;
        type Rejection = NeverRejected;

        fn handle(&self, _: &Switch, ctx: &mut Context<Self, Switch>) -> Effect<Self, Switch> {
            ctx.persist(Change::Switched).reply(|light| light.0)
        }
    }

    fn bench() -> Bench<Light> {
        let id = PersistenceId::new("light", "hall").unwrap();
        Bench::new(Kind::new(), id, NEW_YEAR, Numbered::default())
    }

    fn first_broken(bench: &Bench<Light>) -> String {
        bench.findings.lock().broken.first().cloned().unwrap_or_default()
    }

    #[test]
    fn a_reply_is_held_until_its_event_is_stored() {
        let mut bench = bench();
        let mut answer = bench.send(Switch);
        assert!(answer.try_recv().is_err());
        bench.acknowledge_all();
        assert_eq!(answer.try_recv().unwrap(), Ok(true));
        assert_eq!(first_broken(&bench), "");
    }

    #[test]
    fn an_answer_before_its_event_is_durable_is_found() {
        let mut bench = bench();
        drop(bench.send(Switch));
        // The entity is told that the write is stored, and it is not.
        let head = bench.head();
        bench.step(Input::Written(Ok(head)));
        assert!(first_broken(&bench).starts_with("I5: Switch was answered"), "{}", first_broken(&bench));
    }

    #[test]
    fn a_gap_between_numbers_is_found() {
        let mut bench = bench();
        drop((bench.send(Switch), bench.send(Switch)));
        bench.on_their_way.pop_front();
        bench.acknowledge_all();
        assert!(
            first_broken(&bench).starts_with("I2: events [#2] were to be stored"),
            "{}",
            first_broken(&bench)
        );
    }

    #[test]
    fn a_live_state_that_replay_does_not_give_is_found() {
        let mut bench = bench();
        drop(bench.send(Switch));
        bench.acknowledge_all();
        bench.check_recovery(&Value::Bool(false));
        assert!(first_broken(&bench).starts_with("I6: replay (+) does not give"), "{}", first_broken(&bench));
    }

    #[test]
    fn a_snapshot_of_another_state_is_found() {
        let mut bench = bench();
        bench.rules = Arc::new(Rules {
            snapshots: SnapshotPolicy::every_events(1),
            adapter: Arc::clone(&bench.rules.adapter),
            states: annals_migrations::StateAdapter::new("light", 1).unwrap(),
            written: Arc::default(),
            clearance: None,
            activations: Arc::clone(&bench.rules.activations),
            bounds: bench.rules.bounds.clone(),
            ..*bench.rules
        });
        bench.restart();
        drop(bench.send(Switch));
        bench.acknowledge_all();
        let live = bench.live().unwrap();
        bench.check_recovery(&live);
        assert_eq!(first_broken(&bench), "");
        bench.snapshots[0].payload = "false".into();
        bench.check_recovery(&live);
        assert!(first_broken(&bench).starts_with("I7: the snapshot at #1"), "{}", first_broken(&bench));
    }

    #[test]
    fn of_the_writes_on_their_way_a_crash_stores_the_first_ones() {
        let mut bench = bench();
        drop((bench.send(Switch), bench.send(Switch), bench.send(Switch)));
        bench.crash(1);
        assert_eq!((bench.stored.len(), bench.live()), (1, Some(Value::Bool(true))));
        drop(bench.send(Switch));
        bench.lose_answer(true);
        bench.acknowledge_all();
        assert_eq!((bench.stored.len(), bench.live()), (2, Some(Value::Bool(false))));
        assert_eq!(first_broken(&bench), "");
    }
}
