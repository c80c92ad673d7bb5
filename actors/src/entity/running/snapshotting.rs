use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_journal::{EventDigest, Timestamp};
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
        if stored {
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
        let encoded = match catch_unwind(AssertUnwindSafe(|| rules.states.encode(state))) {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error)) => return self.no_snapshot(error.to_string(), out),
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
