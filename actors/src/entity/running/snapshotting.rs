use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_journal::{EventDigest, Timestamp};
use annals_migrations::{Encoded, Written};
use annals_snapshot::Snapshot;

use super::Running;
use crate::PersistentActor;
use crate::context::Identity;
use crate::entity::{Action, Report, Rules};
use crate::panic::message;

/// What identifies the last event, for a snapshot.
pub(super) enum LastEvent {
    /// Read at recovery; `None`: it was deleted, or there is none.
    Recovered(Option<EventDigest>),
    /// Written under this token at this time.
    Own(Timestamp),
}

impl<A: PersistentActor> Running<A> {
    pub(in crate::entity) fn saved(&mut self, now: Timestamp, stored: bool) {
        if self.revisions.is_some() {
            self.deleted(now, stored);
        } else if stored {
            self.cadence.saved();
        } else {
            self.cadence.failed(now);
        }
    }

    pub(super) fn take_snapshot(
        &mut self,
        identity: &Identity,
        rules: &Rules<A>,
        out: &mut Vec<Action<A>>,
    ) -> Option<Snapshot> {
        let last_event = match self.last_event {
            LastEvent::Recovered(digest) => digest?,
            LastEvent::Own(timestamp) => {
                EventDigest::of(&identity.persistence_id, self.decided, self.token, rules.writer, timestamp)
            }
        };
        self.cadence.taken(self.now);
        let state = &self.state;
        let encoded = match catch_unwind(AssertUnwindSafe(|| encode(state, rules, self.now))) {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(reason)) => return self.no_snapshot(reason, out),
            Err(panic) => return self.no_snapshot(message(&*panic), out),
        };
        Some(Snapshot {
            persistence_id: identity.persistence_id.clone(),
            seq_nr: self.decided,
            token: self.last_token,
            last_event,
            timestamp: self.now,
            manifest: encoded.manifest,
            schema_version: encoded.schema_version,
            codec: encoded.codec,
            key_id: None,
            payload: encoded.payload,
        })
    }

    fn no_snapshot(&mut self, reason: String, out: &mut Vec<Action<A>>) -> Option<Snapshot> {
        self.cadence.failed(self.now);
        out.push(Action::Report(Report::SnapshotNotTaken(reason)));
        None
    }
}

/// What is stored of a state now. An older form is taken only when reading it back gives this state: a snapshot and the events behind it
/// must come to what all events come to (I7).
/// Whether others must be asked first is found out when it is saved.
fn encode<A: PersistentActor>(state: &A, rules: &Rules<A>, now: Timestamp) -> Result<Encoded, String> {
    let states = &rules.states;
    let form = match rules.written.of(states.manifest(), now).written {
        Written::Today => return states.encode(state).map_err(|error| error.to_string()),
        Written::Refused(sentence) => return Err(sentence),
        Written::As(form) => form,
    };
    let lowered = states.encode_as(state, &form).map_err(|error| error.to_string())?;
    let read = states
        .decode(&lowered.manifest, lowered.schema_version, lowered.codec, &lowered.payload)
        .map_err(|error| error.to_string())?;
    let same = match (serde_json::to_value(state), serde_json::to_value(&read)) {
        (Ok(state), Ok(read)) => state == read,
        _ => false,
    };
    if same {
        Ok(lowered)
    } else {
        Err(format!("the state is another one when it is stored as {form} and read back"))
    }
}
