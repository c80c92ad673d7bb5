use bytes::Bytes;

use crate::{
    AtomicWrite, Envelope, GatedCall, JournalError, Limits, MarkChange, PersistenceId, SeqNr, Tag, Token,
    Write,
};

/// A [`Write`] whose events are bytes: made in the task of whoever writes, so that it spreads over cores, while what commits
/// has only to store it.
#[derive(Debug)]
pub(crate) struct EncodedWrite {
    pub(crate) persistence_id: PersistenceId,
    pub(crate) token: Token,
    pub(crate) kind: EncodedKind,
    /// [`Write::size`].
    pub(crate) size: usize,
    pub(crate) event_count: usize,
    /// Of all events.
    pub(crate) payload_bytes: usize,
}

/// What an [`EncodedWrite`] asks for.
#[derive(Debug)]
pub(crate) enum EncodedKind {
    Append {
        expected: SeqNr,
        /// Why the entry is refused as it is, or the events.
        events: Result<Vec<EncodedEvent>, JournalError>,
        /// Apart, because most appends have none and every entry is moved several times.
        mark: Option<Box<MarkChange>>,
    },
    Claim,
    Verify,
    Mark(MarkChange),
}

/// An event's stored form and its labels.
#[derive(Debug)]
pub(crate) struct EncodedEvent {
    pub(crate) bytes: Bytes,
    pub(crate) tags: Vec<Tag>,
}

impl EncodedKind {
    /// What a closed journal judges.
    pub(crate) fn gated(&self) -> GatedCall {
        match self {
            Self::Append { .. } | Self::Mark(_) => GatedCall::Store,
            Self::Claim | Self::Verify => GatedCall::Own,
        }
    }
}

impl EncodedWrite {
    /// Checks an entry and encodes its events.
    pub(crate) fn new(write: Write, limits: Limits) -> Self {
        let size = write.size();
        match write {
            Write::Append(append) => {
                let event_count = append.events.len();
                let payload_bytes = append.events.iter().map(|event| event.payload.len()).sum();
                let checked = append.check(limits);
                let AtomicWrite { persistence_id, expected, token, events, mark } = append;
                let events = checked.map(|()| encoded(events));
                let kind = EncodedKind::Append { expected, events, mark: mark.map(Box::new) };
                Self { persistence_id, token, kind, size, event_count, payload_bytes }
            }
            Write::Claim { persistence_id, token } => {
                Self::without_events(persistence_id, token, EncodedKind::Claim, size)
            }
            Write::Verify { persistence_id, token } => {
                Self::without_events(persistence_id, token, EncodedKind::Verify, size)
            }
            Write::Mark { persistence_id, token, change } => {
                Self::without_events(persistence_id, token, EncodedKind::Mark(change), size)
            }
        }
    }

    fn without_events(persistence_id: PersistenceId, token: Token, kind: EncodedKind, size: usize) -> Self {
        Self { persistence_id, token, kind, size, event_count: 0, payload_bytes: 0 }
    }
}

fn encoded(events: Vec<Envelope>) -> Vec<EncodedEvent> {
    // Not collected: that would take the memory of the larger envelopes and give most of it back, for each append.
    let mut encoded = Vec::with_capacity(events.len());
    encoded.extend(events.into_iter().map(|event| EncodedEvent { bytes: event.encode(), tags: event.tags }));
    encoded
}
