//! An entity on the bench: a counter whose commands do all that commands can do.

use std::sync::Arc;
use std::time::Duration;

use annals_journal::{
    AtomicWrite, Envelope, Epoch, Head, JournalError, Limits, Offset, PersistenceId, Replayed, SeqNr,
    StoredEvent, Timestamp, Token, Write, WriterId,
};
use annals_migrations::{Command, Event, KindAdapter, StateAdapter, WrittenForms};
use annals_snapshot::{Snapshot, SnapshotPolicy};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, answer};
use crate::context::{Identity, Surroundings, nowhere};
use crate::delivery::{Parcel, Progress, Response};
use crate::entity::{Action, Activations, Bounds, Entity, Input, Rules};
use crate::environment::Environment;
use crate::plain::RestartPolicy;
use crate::services::Services;
use crate::versions::Clearance;
use crate::{Context, Effect, Handle, NeverRejected, PersistentActor, ServiceNeeds};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter {
    pub(super) sum: i64,
    pub(super) open: bool,
}

#[derive(Serialize, Deserialize, Event)]
pub(super) enum Change {
    Added { by: i64 },
    Opened,
    Poison,
    Bulky { text: String },
}

impl PersistentActor for Counter {
    const KIND: &'static str = "counter";
    type Event = Change;
    type Commands = (Add, Get, Open, WhenOpen, Explode, Fetch, Bulk, Leave, Never);

    fn apply(&mut self, event: &Change) {
        match event {
            Change::Added { by } => self.sum += by,
            Change::Opened => self.open = true,
            Change::Poison => panic!("poisoned"),
            Change::Bulky { .. } => {}
        }
    }
}

/// Adds each number as an event of its own, all or none; replies with the sum and an id.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Add(pub(super) Vec<i64>);
/// Replies with the sum.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Get;
/// Opens and unstashes.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Open;
/// Waits in the stash until open, then adds.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct WhenOpen(pub(super) i64);
/// Panics in a place.
#[derive(Serialize, Deserialize, Command)]
pub(super) enum Explode {
    Handle,
    Apply,
    Reply,
}
/// Works, then adds what the work yielded.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Fetch(pub(super) i64);
/// Persists this many bytes.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Bulk(pub(super) usize);
/// Adds one, then passivates or stops.
#[derive(Serialize, Deserialize, Command)]
pub(super) enum Leave {
    Passivate,
    Stop,
}
/// Always rejected.
#[derive(Serialize, Deserialize, Command)]
pub(super) struct Never;

impl Handle<Add> for Counter {
    type Reply = (i64, uuid::Uuid);
    type Rejection = NeverRejected;

    fn handle(&self, command: &Add, ctx: &mut Context<Self, Add>) -> Effect<Self, Add> {
        let id = ctx.new_id();
        ctx.persist_all(command.0.iter().map(|by| Change::Added { by: *by }).collect())
            .reply(move |counter| (counter.sum, id))
    }
}

impl Handle<Get> for Counter {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Get, ctx: &mut Context<Self, Get>) -> Effect<Self, Get> {
        ctx.reply(self.sum)
    }
}

impl Handle<Open> for Counter {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        ctx.persist(Change::Opened).unstash_all().reply_with(())
    }
}

impl Handle<WhenOpen> for Counter {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &WhenOpen, ctx: &mut Context<Self, WhenOpen>) -> Effect<Self, WhenOpen> {
        if self.open {
            ctx.persist(Change::Added { by: command.0 }).reply(|counter| counter.sum)
        } else {
            ctx.stash()
        }
    }
}

impl Handle<Explode> for Counter {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, command: &Explode, ctx: &mut Context<Self, Explode>) -> Effect<Self, Explode> {
        match command {
            Explode::Handle => panic!("handler"),
            Explode::Apply => ctx.persist(Change::Poison).reply_with(()),
            Explode::Reply => ctx.persist(Change::Opened).reply(|_| panic!("reply")),
        }
    }
}

impl Handle<Fetch> for Counter {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Fetch, ctx: &mut Context<Self, Fetch>) -> Effect<Self, Fetch> {
        let price = command.0;
        ctx.run(async move { price })
            .then(|_, _, price, ctx| ctx.persist(Change::Added { by: price }).reply(|counter| counter.sum))
    }
}

impl Handle<Bulk> for Counter {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, command: &Bulk, ctx: &mut Context<Self, Bulk>) -> Effect<Self, Bulk> {
        ctx.persist(Change::Bulky { text: "x".repeat(command.0) }).reply_with(())
    }
}

impl Handle<Leave> for Counter {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Leave, ctx: &mut Context<Self, Leave>) -> Effect<Self, Leave> {
        let decision = ctx.persist(Change::Added { by: 1 });
        match command {
            Leave::Passivate => decision.passivate(),
            Leave::Stop => decision.stop(),
        }
        .reply(|counter| counter.sum)
    }
}

impl Handle<Never> for Counter {
    type Reply = ();
    type Rejection = i64;

    fn handle(&self, _: &Never, ctx: &mut Context<Self, Never>) -> Effect<Self, Never> {
        ctx.reject(self.sum)
    }
}

/// The entity, what it asked for, and a clock.
pub(super) struct Rig {
    pub(super) entity: Entity<Counter>,
    pub(super) now: Timestamp,
    /// What was asked for and not yet looked at, without replies.
    pub(super) asked: Vec<Action<Counter>>,
    /// Side effects that were released.
    pub(super) released_effects: usize,
    /// For how long it wants to be left alone.
    pub(super) left_alone: Vec<Duration>,
}

pub(super) const WRITER: WriterId = WriterId::from_bytes([7; 16]);
pub(super) const EPOCH: Epoch = Epoch(3);

pub(super) fn id() -> PersistenceId {
    PersistenceId::new("counter", "c").unwrap()
}

pub(super) fn seq(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

pub(super) fn bounds() -> Bounds {
    Bounds {
        events: 4,
        bytes: 10_000,
        held: 8,
        stash: 2,
        patience: Duration::from_secs(2),
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_secs(5),
        restart: RestartPolicy::default().limit(3, Duration::from_secs(60)),
    }
}

impl Rig {
    /// A new entity whose claim is on its way.
    pub(super) fn claiming(snapshots: SnapshotPolicy<Counter, Change>) -> Self {
        Self::claiming_writing(snapshots, Arc::default())
    }

    /// The same, which writes in these forms.
    pub(super) fn claiming_writing(
        snapshots: SnapshotPolicy<Counter, Change>,
        written: Arc<WrittenForms>,
    ) -> Self {
        let rules = Rules {
            epoch: EPOCH,
            writer: WRITER,
            activations: Arc::new(Activations::default()),
            adapter: Arc::new(KindAdapter::new(Counter::KIND).unwrap()),
            states: StateAdapter::new(Counter::KIND, 1).unwrap(),
            written,
            clearance: Some(Clearance::new().0),
            snapshots,
            keep_revisions: 0,
            limits: Limits { max_payload_bytes: 5_000, max_events: 3, marks: false },
            bounds: bounds(),
        };
        let identity = Identity {
            persistence_id: id(),
            surroundings: Arc::new(Surroundings {
                services: Services::default(),
                needs: ServiceNeeds::default(),
                environment: Environment::default(),
                work_limit: Duration::from_secs(1),
                entities: nowhere(),
            }),
        };
        let mut rig = Self {
            entity: Entity::start(Arc::new(identity), Arc::new(rules)),
            now: Timestamp::from_micros(1_000_000),
            asked: Vec::new(),
            released_effects: 0,
            left_alone: Vec::new(),
        };
        rig.perform();
        rig
    }

    /// A running entity without events.
    pub(super) fn running() -> Self {
        Self::running_with(SnapshotPolicy::never())
    }

    pub(super) fn running_with(snapshots: SnapshotPolicy<Counter, Change>) -> Self {
        let mut rig = Self::claiming(snapshots);
        rig.claimed(0);
        assert!(matches!(rig.take(), Action::Ready { replayed: 0, .. }));
        rig
    }

    pub(super) fn ask<C: Command>(&mut self, command: C) -> Answer<'static, Response<Counter, C>>
    where
        Counter: Handle<C>,
    {
        self.send(command, false).0
    }

    pub(super) fn send<C: Command>(
        &mut self,
        command: C,
        confirmed: bool,
    ) -> (Answer<'static, Response<Counter, C>>, Progress)
    where
        Counter: Handle<C>,
    {
        let (caller, answer) = answer();
        let progress = Progress::new();
        let parcel = Parcel::new(command, confirmed, progress.clone(), Some(caller));
        self.step(Input::Command(Box::new(parcel)));
        (answer, progress)
    }

    pub(super) fn step(&mut self, input: Input<Counter>) {
        self.entity.step(self.now, input);
        self.perform();
    }

    pub(super) fn perform(&mut self) {
        for action in self.entity.take_actions() {
            match action {
                Action::Release(delivery, effects) => {
                    self.released_effects += effects.len();
                    delivery.release();
                }
                Action::Fail(delivery, failure) => delivery.fail(failure),
                Action::Unknown(delivery) => delivery.unknown(&id()),
                Action::LeaveAlone(pause) => self.left_alone.push(pause),
                Action::Report(_) | Action::CancelWork | Action::ClearToolkit => {}
                other => self.asked.push(other),
            }
        }
    }

    /// The oldest action that was not looked at.
    pub(super) fn take(&mut self) -> Action<Counter> {
        assert!(!self.asked.is_empty(), "the entity asked for nothing");
        self.asked.remove(0)
    }

    pub(super) fn quiet(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn claim(&mut self) -> Token {
        match self.take() {
            Action::Claim(token) => token,
            other => panic!("expected a claim, found {}", name(&other)),
        }
    }

    pub(super) fn append(&mut self) -> AtomicWrite {
        match self.take() {
            Action::Write(Write::Append(append)) => append,
            other => panic!("expected an append, found {}", name(&other)),
        }
    }

    /// After a setback: the writes are forgotten and a new claim is on its way.
    pub(super) fn reclaim(&mut self) -> Token {
        assert!(matches!(self.take(), Action::ForgetWrites));
        self.claim()
    }

    /// Answers the claim on its way.
    pub(super) fn claimed(&mut self, head: u64) -> Token {
        let token = self.claim();
        self.answer_claim(token, head, 0);
        token
    }

    pub(super) fn answer_claim(&mut self, token: Token, head: u64, deleted_to: u64) {
        let (seq_nr, deleted_to) = (SeqNr::new(head).unwrap(), SeqNr::new(deleted_to).unwrap());
        let head = Head { seq_nr, token, deleted_to, ..Head::EMPTY };
        self.step(Input::Claimed(Ok(head)));
    }

    pub(super) fn no_snapshot(&mut self) {
        assert!(matches!(self.take(), Action::Load(_)));
        self.step(Input::Loaded(Ok(None)));
    }

    pub(super) fn replay(&mut self, events: &[Envelope]) {
        match self.take() {
            Action::Replay(..) => {}
            other => panic!("expected a replay, found {}", name(&other)),
        }
        for event in events {
            self.step(Input::Replayed(Ok(Some(stored(event)))));
        }
        self.step(Input::Replayed(Ok(None)));
    }

    /// It pauses for so many milliseconds, and that time passes.
    pub(super) fn rest(&mut self, millis: u64) {
        let pause = Duration::from_millis(millis);
        match self.take() {
            Action::Rest(asked) => assert_eq!(asked, pause),
            other => panic!("expected a pause, found {}", name(&other)),
        }
        self.now = self.now.plus(pause);
        self.step(Input::Rested);
    }

    /// The oldest write is stored.
    pub(super) fn written(&mut self) {
        self.step(Input::Written(Ok(Head::EMPTY)));
    }

    pub(super) fn refused(&mut self, error: JournalError) {
        self.step(Input::Written(Err(error)));
    }
}

pub(super) fn stored(envelope: &Envelope) -> Replayed {
    Replayed::Event(StoredEvent {
        offset: Offset::of_position(envelope.seq_nr.get()),
        envelope: envelope.clone(),
        bytes: envelope.encode(),
    })
}

/// An event that somebody else wrote.
pub(super) fn foreign(number: u64, by: i64) -> Envelope {
    use annals_migrations::EventAdapter;
    let encoded =
        KindAdapter::<Change>::new(Counter::KIND).unwrap().to_journal(&Change::Added { by }).unwrap();
    Envelope {
        persistence_id: id(),
        seq_nr: seq(number),
        token: Token::new(Epoch(1), 1),
        writer: WriterId::from_bytes([9; 16]),
        timestamp: Timestamp::from_micros(number),
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: encoded.payload,
    }
}

/// A snapshot that belongs to this event.
pub(super) fn snapshot_of(last: &Envelope, sum: i64) -> Snapshot {
    let states = StateAdapter::<Counter>::new(Counter::KIND, 1).unwrap();
    let encoded = states.encode(&Counter { sum, open: false }).unwrap();
    Snapshot {
        persistence_id: id(),
        seq_nr: last.seq_nr,
        token: last.token,
        last_event: last.digest(),
        timestamp: last.timestamp,
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        key_id: None,
        payload: encoded.payload,
    }
}

pub(super) fn conflict() -> JournalError {
    JournalError::Conflict { persistence_id: id(), expected: seq(1), head: seq(2) }
}

pub(super) fn unknown() -> JournalError {
    JournalError::Unknown { reason: "the line went dead".into(), source: None }
}

pub(super) fn unavailable() -> JournalError {
    JournalError::Unavailable { reason: "disk full".into(), source: None }
}

pub(super) fn fenced() -> JournalError {
    JournalError::outranked(&id(), Token::new(EPOCH, 1), Token::new(Epoch(4), 1))
}

pub(super) fn superseded(activation: u64) -> JournalError {
    JournalError::outranked(&id(), Token::new(EPOCH, 1), Token::new(EPOCH, activation))
}

pub(super) fn name(action: &Action<Counter>) -> &'static str {
    match action {
        Action::Claim(_) => "claim",
        Action::Load(_) => "load",
        Action::Replay(..) => "replay",
        Action::Write(Write::Append(_)) => "append",
        Action::Write(_) => "verify",
        Action::ForgetWrites => "forget writes",
        Action::Work(..) => "work",
        Action::CancelWork => "cancel work",
        Action::ClearToolkit => "clear toolkit",
        Action::Release(..) => "release",
        Action::Fail(..) => "fail",
        Action::Unknown(_) => "unknown",
        Action::RefuseMailbox(_) => "refuse mailbox",
        Action::Save(_) => "save",
        Action::Delete(_) => "delete",
        Action::Rest(_) => "rest",
        Action::LeaveAlone(_) => "leave alone",
        Action::Ready { .. } => "ready",
        Action::Report(_) => "report",
        Action::Stop(_) => "stop",
    }
}
