use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals_journal::{Envelope, PersistenceId, SeqNr};
use annals_migrations::{EventAdapter, StateAdapter};
use serde_json::Value;

use crate::PersistentActor;
use crate::panic::message;
use crate::testing::difference::difference;
use crate::testing::shown::value;

/// How events of a kind become states.
pub(super) struct Reader<A: PersistentActor> {
    pub(super) adapter: Arc<dyn EventAdapter<A::Event>>,
    pub(super) states: StateAdapter<A>,
}

/// One entity while its events are read: twice, side by side, to see whether both come to the same.
pub(super) struct Fold<A: PersistentActor> {
    id: PersistenceId,
    one: A,
    other: A,
    last: SeqNr,
    events: u64,
    trouble: Option<Trouble>,
    /// Events since both were compared, and how large they were then.
    since_compared: usize,
    size: usize,
}

/// What one entity came to.
pub(super) struct Folded {
    pub(super) id: PersistenceId,
    pub(super) seq_nr: SeqNr,
    pub(super) events: u64,
    pub(super) state: Result<Value, Trouble>,
}

/// Why an entity has no state.
pub(super) struct Trouble {
    pub(super) seq_nr: SeqNr,
    pub(super) reason: String,
    pub(super) nondeterministic: bool,
}

impl<A: PersistentActor> Fold<A> {
    pub(super) fn new(id: PersistenceId) -> Self {
        Self {
            id,
            one: A::default(),
            other: A::default(),
            last: SeqNr::ZERO,
            events: 0,
            trouble: None,
            since_compared: 0,
            size: 0,
        }
    }

    pub(super) fn id(&self) -> &PersistenceId {
        &self.id
    }

    /// The next event.
    pub(super) fn event(&mut self, envelope: &Envelope, reader: &Reader<A>) {
        self.events += 1;
        if self.trouble.is_some() {
            return;
        }
        let seq_nr = envelope.seq_nr;
        if seq_nr != self.last.next() {
            self.fail(seq_nr, format!("it stands where {:?} belongs", self.last.next()));
            return;
        }
        self.last = seq_nr;
        if envelope.key_id.is_some() {
            self.fail(seq_nr, "its payload is sealed: export the journal with its keys");
            return;
        }
        let applied =
            apply(&mut self.one, envelope, reader).and_then(|()| apply(&mut self.other, envelope, reader));
        if let Err(reason) = applied {
            self.fail(seq_nr, reason);
            return;
        }
        self.since_compared += 1;
        // Comparing costs as much as the state is large, so a large one is compared after more events.
        if self.since_compared * BYTES_AN_EVENT >= self.size {
            self.compare();
        }
    }

    /// Events up to a number are gone.
    pub(super) fn deleted(&mut self, to: SeqNr) {
        self.fail(to, "the events up to here were deleted: replaying needs all of them");
    }

    /// The key of the events up to a number was destroyed: what follows is a new life.
    pub(super) fn erased(&mut self, to: SeqNr) {
        if to > self.last {
            (self.one, self.other, self.last) = (A::default(), A::default(), to);
        }
    }

    /// The journal or the file has something that cannot be read.
    pub(super) fn fail(&mut self, seq_nr: SeqNr, reason: impl Into<String>) {
        let trouble = Trouble { seq_nr, reason: reason.into(), nondeterministic: false };
        self.trouble.get_or_insert(trouble);
    }

    /// After the last read event.
    pub(super) fn fail_next(&mut self, reason: impl Into<String>) {
        self.fail(self.last.next(), reason);
    }

    fn compare(&mut self) {
        let (one, other) = (serde_json::to_vec(&self.one), serde_json::to_vec(&self.other));
        self.since_compared = 0;
        match (one, other) {
            (Ok(one), Ok(other)) => {
                self.size = one.len();
                if one == other {
                    return;
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                self.fail(self.last, format!("the state has no JSON form: {error}"));
                return;
            }
        }
        // The members of a map may come in another order each time, which is no difference.
        if let Some(lines) = difference(&value(&self.one), &value(&self.other)) {
            let reason = format!("`apply` is not deterministic: the same events gave two states\n{lines}");
            let trouble = Trouble { seq_nr: self.last, reason, nondeterministic: true };
            self.trouble.get_or_insert(trouble);
        }
    }

    /// After its last event.
    pub(super) fn end(mut self, reader: &Reader<A>) -> Folded {
        if self.trouble.is_none() {
            self.compare();
        }
        if self.trouble.is_none() {
            self.state_survives(reader);
        }
        let state = match self.trouble {
            None => Ok(value(&self.one)),
            Some(trouble) => Err(trouble),
        };
        Folded { id: self.id, seq_nr: self.last, events: self.events, state }
    }

    fn state_survives(&mut self, reader: &Reader<A>) {
        let states = &reader.states;
        let read = states.encode(&self.one).and_then(|encoded| {
            states.decode(&encoded.manifest, encoded.schema_version, encoded.codec, &encoded.payload)
        });
        match read {
            Ok(read) => {
                if let Some(lines) = difference(&value(&self.one), &value(&read)) {
                    self.fail(self.last, format!("a snapshot of the state gives back another\n{lines}"));
                }
            }
            Err(error) => self.fail(self.last, format!("a snapshot of the state cannot be read: {error}")),
        }
    }
}

fn apply<A: PersistentActor>(state: &mut A, envelope: &Envelope, reader: &Reader<A>) -> Result<(), String> {
    let adapted = catch_unwind(AssertUnwindSafe(|| {
        reader.adapter.from_journal(envelope, &mut |event| state.apply(&event))
    }));
    match adapted {
        Ok(adapted) => adapted.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("applying it ({}) panicked: {}", envelope.manifest, message(&*panic))),
    }
}

/// States are compared after so many events that an event pays for about this many bytes.
const BYTES_AN_EVENT: usize = 512;
