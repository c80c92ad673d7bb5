use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_journal::{Envelope, SeqNr, Tag, Timestamp, Token};
use annals_migrations::{Encoded, Permission, Written};
use futures::FutureExt;

use crate::PersistentActor;
use crate::context::Identity;
use crate::effect::Work;
use crate::entity::Rules;
use crate::panic::message;

/// The events of an effect as they are written now, without tags, and by their numbers those whose reading back gives something else than
/// was decided.
pub(super) struct WrittenEvents<E> {
    pub(super) envelopes: Vec<Envelope>,
    pub(super) read_back: Vec<(SeqNr, Vec<E>)>,
}

/// Where events are written.
pub(super) struct Place {
    /// The event before them.
    pub(super) after: SeqNr,
    pub(super) token: Token,
    pub(super) timestamp: Timestamp,
    pub(super) now: Timestamp,
}

/// Why an event has not become an envelope.
pub(super) enum Unwritten {
    Refused(String),
    /// Others must be asked first how it may be written.
    AskFirst(Work),
}

impl From<String> for Unwritten {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl<E> WrittenEvents<E> {
    /// All of them, or none.
    pub(super) fn of<A: PersistentActor<Event = E>>(
        events: &[E],
        place: Place,
        identity: &Identity,
        rules: &Rules<A>,
    ) -> Result<Self, Unwritten> {
        if events.len() > rules.limits.max_events {
            let most = rules.limits.max_events;
            return Err(format!("{} events in one effect, at most {most} are allowed", events.len()).into());
        }
        let mut envelopes = Vec::with_capacity(events.len());
        let mut read_back = Vec::new();
        let mut seq_nr = place.after;
        for event in events {
            let encoded = catch_unwind(AssertUnwindSafe(|| encode(event, rules, place.now)))
                .map_err(|panic| message(&*panic))??;
            let (bytes, most) = (encoded.payload.len(), rules.limits.max_payload_bytes);
            if bytes > most {
                let manifest = encoded.manifest;
                return Err(
                    format!("{manifest} has a payload of {bytes} bytes, at most {most} are allowed").into()
                );
            }
            seq_nr = seq_nr.next();
            let envelope = Envelope {
                persistence_id: identity.persistence_id.clone(),
                seq_nr,
                token: place.token,
                writer: rules.writer,
                timestamp: place.timestamp,
                manifest: encoded.manifest,
                schema_version: encoded.schema_version,
                codec: encoded.codec,
                tags: Vec::new(),
                trace_context: None,
                key_id: None,
                payload: encoded.payload,
            };
            if encoded.read_back {
                let events = catch_unwind(AssertUnwindSafe(|| decode(&envelope, rules)))
                    .map_err(|panic| message(&*panic))??;
                read_back.push((seq_nr, events));
            }
            envelopes.push(envelope);
        }
        Ok(Self { envelopes, read_back })
    }
}

/// What is stored of an event now.
fn encode<A: PersistentActor>(
    event: &A::Event,
    rules: &Rules<A>,
    now: Timestamp,
) -> Result<Encoded, Unwritten> {
    let encoded = rules.adapter.to_journal(event).map_err(|error| error.to_string())?;
    let Permission { written, ask } = rules.written.of(&encoded.manifest, now);
    if ask && let Some(clearance) = &rules.clearance {
        let asking = clearance.ask(encoded.manifest);
        return Err(Unwritten::AskFirst(asking.map(|known| Box::new(known) as Box<dyn Any + Send>).boxed()));
    }
    match written {
        Written::Today => Ok(encoded),
        Written::As(form) => {
            Ok(rules.adapter.to_journal_as(event, &form).map_err(|error| error.to_string())?)
        }
        Written::Refused(sentence) => Err(Unwritten::Refused(sentence)),
    }
}

/// What a replay will make of an event that is about to be stored.
fn decode<A: PersistentActor>(envelope: &Envelope, rules: &Rules<A>) -> Result<Vec<A::Event>, String> {
    let mut events = Vec::new();
    match rules.adapter.from_journal(envelope, &mut |event| events.push(event)) {
        Ok(()) => Ok(events),
        Err(error) => Err(format!("what would be stored cannot be read back: {error}")),
    }
}

/// Applies what a stored event gives when it is read back (I6); it has the tags of all of them.
pub(super) fn apply_read_back<A: PersistentActor>(state: &mut A, events: &[A::Event]) -> Vec<Tag> {
    let mut tags = Vec::new();
    for event in events {
        state.apply(event);
        for tag in state.tags(event) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    tags
}
