use std::any::Any;
use std::sync::Arc;

use annals_journal::{Envelope, Epoch, Manifest, PersistenceId, SeqNr, Timestamp, Token, WriterId};
use annals_migrations::{Command, EventAdapter};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::findings::Findings;
use super::shown::{self, value};
use super::toolkit::asked;
use crate::delivery::{Delivery, Parcel, Turn};
use crate::effect::{Outcome, SideEffect};
use crate::entity::Rules;
use crate::{Failure, Handle, PersistentActor};

/// A command on its way through an entity, watched at each step.
pub(super) struct Inspected<A: Handle<C>, C: Command> {
    parcel: Parcel<A, C>,
    rules: Arc<Rules<A>>,
    findings: Findings,
    /// What the first decision came to; not known of one that does asynchronous work, whose output may differ.
    first: Option<Trial>,
    /// The last event that the decision rests on.
    rests_on: SeqNr,
}

/// What a decision comes to.
#[derive(Clone)]
struct Trial {
    events: Value,
    answer: Value,
    /// Of timers, watches and children.
    asked: Value,
}

impl Trial {
    fn without_events(answer: &str) -> Self {
        Self { events: json!([]), answer: json!(answer), asked: json!([]) }
    }
}

impl<A: Handle<C>, C: Command> Inspected<A, C> {
    pub(super) fn new(parcel: Parcel<A, C>, rules: Arc<Rules<A>>, findings: Findings) -> Self {
        Self { parcel, rules, findings, first: None, rests_on: SeqNr::ZERO }
    }

    /// Decides on copies until every promise of a handler has been looked at.
    fn try_out(&mut self, state: &A, turn: Turn<'_>) {
        let before = value(state);
        let outcome = self.parcel.decide(state, turn);
        self.unchanged(&before, state);
        if matches!(outcome, Outcome::Run { .. }) {
            self.command_survives();
            return;
        }
        let Some(copy) = self.copy(state) else { return };
        if let Outcome::Answer { events, .. } = &outcome {
            // In this order, because what comes first explains what comes after it.
            self.apply_is_deterministic(events.as_slice(), state);
            self.events_survive(events.as_slice(), state);
        }
        let first = self.trial(&mut None, outcome, state);

        let outcome = self.parcel.decide(state, turn);
        let again = self.trial(&mut None, outcome, state);
        self.equal(
            &first,
            &again,
            "decided again on the same state, at the same moment, with the same ids, it came to \
             something else: take time, ids and services from the context only",
        );

        if let Some(command) = self.command_survives() {
            let mut twin = self.parcel.twin(command);
            let outcome = twin.decide(state, turn);
            let twin = self.trial(&mut Some(twin), outcome, state);
            self.equal(
                &first,
                &twin,
                "the command does not survive serialization: read back from its JSON, it came to \
                 something else",
            );
        }

        let outcome = self.parcel.decide(&copy, turn);
        let on_copy = self.trial(&mut None, outcome, &copy);
        self.equal(
            &first,
            &on_copy,
            "the state does not survive serialization: on the state that a snapshot would give back, \
             the command came to something else",
        );
        self.first = Some(first);
    }

    /// Evaluates an outcome on a copy of the state.
    fn trial(&mut self, other: &mut Option<Parcel<A, C>>, outcome: Outcome<A>, state: &A) -> Trial {
        let events = match outcome {
            Outcome::Answer { events, .. } => events,
            Outcome::Stash => return Trial::without_events("stashed"),
            Outcome::Run { .. } => return Trial::without_events("asynchronous work"),
        };
        let shown = shown::events(events.as_slice(), &*self.rules.adapter);
        let shown = shown.unwrap_or_else(|error| json!({ "cannot be stored": error }));
        let Some(mut copy) = self.copy(state) else {
            return Trial { events: shown, answer: Value::Null, asked: Value::Null };
        };
        events.as_slice().iter().for_each(|event| apply_as_live(&*self.rules.adapter, &mut copy, event));
        let parcel = other.as_mut().unwrap_or(&mut self.parcel);
        // The side effects of a trial are never run.
        let asked = asked(&mut parcel.evaluate(&copy));
        Trial { events: shown, answer: answer(parcel), asked }
    }

    fn equal(&self, first: &Trial, other: &Trial, promise: &str) {
        let promise = || format!("{}: {promise}", self.parcel.name());
        let shown =
            |trial: &Trial| json!({ "events": trial.events, "answer": trial.answer, "asked": trial.asked });
        self.findings.same(&shown(first), &shown(other), promise);
    }

    fn unchanged(&self, before: &Value, state: &A) {
        self.findings.same(before, &value(state), || {
            format!(
                "{}: handling changed the state; only `apply` may, so that replay gives the same",
                self.parcel.name()
            )
        });
    }

    /// The state as a snapshot would give it back.
    fn copy(&self, state: &A) -> Option<A> {
        let states = &self.rules.states;
        let copied = states.encode(state).and_then(|encoded| {
            states.decode(&encoded.manifest, encoded.schema_version, encoded.codec, &encoded.payload)
        });
        match copied {
            Ok(copy) => {
                let same = self.findings.same(&value(state), &value(&copy), || {
                    format!(
                        "the state of {} does not survive serialization: a snapshot gives back another",
                        A::KIND
                    )
                });
                same.then_some(copy)
            }
            Err(error) => {
                self.findings.broken(format!("the state does not survive serialization: {error}\n"));
                None
            }
        }
    }

    fn command_survives(&self) -> Option<C> {
        read_back(self.parcel.command(), &self.findings, || format!("{}: the command", self.parcel.name()))
    }

    /// Applied as decided and as read back, events must give the same.
    fn events_survive(&self, events: &[A::Event], state: &A) {
        let (Some(mut decided), Some(mut read)) = (self.copy(state), self.copy(state)) else { return };
        for event in events {
            // What cannot be stored is the command's failure, which the test sees.
            let Ok(encoded) = self.rules.adapter.to_journal(event) else { return };
            if !self.older_forms_survive(event, &encoded.manifest, &read) {
                return;
            }
            let (manifest, changed) = (encoded.manifest.clone(), encoded.read_back);
            let envelope = unstored(encoded);
            let adapted = self.rules.adapter.from_journal(&envelope, &mut |event| read.apply(&event));
            if changed {
                // The live state is given what is read back: both come to that.
                let again = self.rules.adapter.from_journal(&envelope, &mut |event| decided.apply(&event));
                drop(again);
            } else {
                decided.apply(event);
            }
            if let Err(error) = adapted {
                self.findings.broken(format!("{manifest} does not survive serialization: {error}\n"));
                return;
            }
            let same = self.findings.same(&value(&decided), &value(&read), || {
                format!(
                    "{manifest} does not survive serialization: applied as it was decided (-) and as it is read back \
                     (+), it gives different states"
                )
            });
            if !same {
                return;
            }
        }
    }

    /// In each older form in which it can be written, an event must be read back, twice as the same.
    fn older_forms_survive(&self, event: &A::Event, manifest: &Manifest, state: &A) -> bool {
        let adapter = &self.rules.adapter;
        let versions = adapter.versions().into_iter().find(|of| of.manifest == *manifest);
        let older = versions.into_iter().flat_map(|of| of.writes.into_iter().skip(1));
        for form in older {
            // A step that refuses an event has the command refused while that form is written.
            let Ok(encoded) = adapter.to_journal_as(event, &form) else { continue };
            let envelope = unstored(encoded);
            let (Some(mut one), Some(mut other)) = (self.copy(state), self.copy(state)) else { return false };
            let read = adapter
                .from_journal(&envelope, &mut |event| one.apply(&event))
                .and_then(|()| adapter.from_journal(&envelope, &mut |event| other.apply(&event)));
            if let Err(error) = read {
                self.findings
                    .broken(format!("{manifest}, written as {form}, cannot be read back: {error}\n"));
                return false;
            }
            let same = self.findings.same(&value(&one), &value(&other), || {
                format!(
                    "{manifest}, written as {form} and read back twice, gives two states: its steps are not deterministic; no \
                     clock, randomness, counter or service in a step"
                )
            });
            if !same {
                return false;
            }
        }
        true
    }

    fn apply_is_deterministic(&self, events: &[A::Event], state: &A) {
        let (Some(mut one), Some(mut other)) = (self.copy(state), self.copy(state)) else { return };
        for event in events {
            one.apply(event);
            other.apply(event);
            let same = self.findings.same(&value(&one), &value(&other), || {
                let shown = shown::events(std::slice::from_ref(event), &*self.rules.adapter);
                let shown = shown.unwrap_or_else(Value::String);
                format!(
                    "`apply` is not deterministic: the same event on the same state gave two states (event: {shown}); no \
                     clock, randomness, counter or service in `apply`"
                )
            });
            if !same {
                return;
            }
        }
    }
}

/// The answer of an evaluated command.
fn answer<A: Handle<C>, C: Command>(parcel: &Parcel<A, C>) -> Value {
    match parcel.evaluated() {
        Some(Ok(reply)) => json!({ "reply": value(reply) }),
        Some(Err(rejection)) => json!({ "rejected": value(rejection) }),
        None => Value::Null,
    }
}

/// A value read back from its own JSON; notes when it cannot be, or is another.
fn read_back<T: serde::Serialize + DeserializeOwned>(
    of: &T,
    findings: &Findings,
    what: impl Fn() -> String,
) -> Option<T> {
    let read = serde_json::to_vec(of).and_then(|json| serde_json::from_slice::<T>(&json));
    match read {
        Ok(read) => {
            let promise = || format!("{} does not survive serialization", what());
            findings.same(&value(of), &value(&read), promise).then_some(read)
        }
        Err(error) => {
            findings.broken(format!("{} does not survive serialization: {error}\n", what()));
            None
        }
    }
}

/// An envelope around bytes that nobody stores.
/// Applies an event as a live state is given it: what an adapter changes as it is read back.
///
/// One that cannot be stored, or not be read back, is applied as it is: that is found elsewhere, and said there.
pub(super) fn apply_as_live<A: PersistentActor>(
    adapter: &dyn EventAdapter<A::Event>,
    state: &mut A,
    event: &A::Event,
) {
    match adapter.to_journal(event) {
        Ok(encoded) if encoded.read_back => {
            let mut read = Vec::new();
            match adapter.from_journal(&unstored(encoded), &mut |event| read.push(event)) {
                Ok(()) => read.iter().for_each(|event| state.apply(event)),
                Err(_) => state.apply(event),
            }
        }
        _ => state.apply(event),
    }
}

fn unstored(encoded: annals_migrations::Encoded) -> Envelope {
    // The name of a manifest's kind is a name for a persistence id too.
    let persistence_id =
        PersistenceId::new("kit", "kit").unwrap_or_else(|error| panic!("a valid id: {error}"));
    Envelope {
        persistence_id,
        seq_nr: SeqNr::FIRST,
        token: Token::new(Epoch(1), 1),
        writer: WriterId::from_bytes([0; 16]),
        timestamp: Timestamp::default(),
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: encoded.payload,
    }
}

impl<A: Handle<C>, C: Command> Delivery<A> for Inspected<A, C> {
    fn name(&self) -> &'static str {
        self.parcel.name()
    }

    fn begin(&self) -> bool {
        self.parcel.begin()
    }

    fn undo(&self) {
        self.parcel.undo();
    }

    fn wants_confirmation(&self) -> bool {
        self.parcel.wants_confirmation()
    }

    fn decide(&mut self, state: &A, turn: Turn<'_>) -> Outcome<A> {
        self.first = None;
        self.try_out(state, turn);
        let outcome = self.parcel.decide(state, turn);
        if let Outcome::Answer { events, .. } = &outcome {
            self.rests_on = turn.seq_nr.plus(events.len() as u64);
        }
        self.findings.lock().stashed = matches!(outcome, Outcome::Stash);
        outcome
    }

    fn resume(&mut self, state: &A, output: Box<dyn Any + Send>, turn: Turn<'_>) -> Outcome<A> {
        let before = value(state);
        let outcome = self.parcel.resume(state, output, turn);
        self.unchanged(&before, state);
        if let Outcome::Answer { events, .. } = &outcome {
            self.rests_on = turn.seq_nr.plus(events.len() as u64);
            self.apply_is_deterministic(events.as_slice(), state);
            self.events_survive(events.as_slice(), state);
        }
        self.findings.lock().stashed = matches!(outcome, Outcome::Stash);
        outcome
    }

    fn evaluate(&mut self, state: &A) -> Vec<SideEffect<A>> {
        let effects = self.parcel.evaluate(state);
        self.copy(state);
        self.findings.lock().live = Some(value(state));
        let name = self.parcel.name();
        match self.parcel.evaluated() {
            Some(Ok(reply)) => drop(read_back(reply, &self.findings, || format!("{name}: the reply"))),
            Some(Err(no)) => drop(read_back(no, &self.findings, || format!("{name}: the rejection"))),
            None => {}
        }
        if let Some(first) = self.first.take() {
            let promise =
                || format!("{name}: the answer is not the same when it is made again from the same state");
            self.findings.same(&first.answer, &answer(&self.parcel), promise);
        }
        effects
    }

    fn timestamp(&self) -> Timestamp {
        self.parcel.timestamp()
    }

    fn release(self: Box<Self>) -> bool {
        let durable = self.findings.lock().durable;
        if durable < self.rests_on {
            let (name, rests_on) = (self.parcel.name(), self.rests_on);
            self.findings.broken(format!(
                "I5: {name} was answered when {durable:?} was durable, and its answer rests on {rests_on:?}\n"
            ));
        }
        Box::new(self.parcel).release()
    }

    fn fail(self: Box<Self>, failure: Failure) {
        if matches!(failure, Failure::Panicked { .. } | Failure::NotStorable { .. }) {
            self.findings.lock().faults.push(format!("{}: {failure}", self.parcel.name()));
        }
        Box::new(self.parcel).fail(failure);
    }

    fn unknown(self: Box<Self>, id: &PersistenceId) {
        Box::new(self.parcel).unknown(id);
    }
}
