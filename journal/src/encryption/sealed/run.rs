use std::sync::Arc;

use bytes::BytesMut;

use super::record::{Links, Record};
use super::{Vault, events};
use crate::StoredEvent;
use crate::encryption::DataKey;

/// Sealed events of one id under one key, as they came one after the other: opened together, and by whoever has the time.
pub(super) struct Run {
    vault: Arc<Vault>,
    key: Arc<DataKey>,
    events: Vec<StoredEvent>,
    /// Of their payloads.
    bytes: usize,
}

/// What became of a run.
pub(super) struct Opened {
    /// Those that follow what was before, each upon the one before it; opened.
    pub(super) events: Vec<StoredEvent>,
    /// Their places in the chain.
    pub(super) links: Vec<Links>,
    /// From the first on that is not right, or not any more; as they are stored.
    pub(super) rest: Vec<StoredEvent>,
}

impl Run {
    /// Begins with an event that the key sealed.
    pub(super) fn begin(vault: Arc<Vault>, key: Arc<DataKey>, first: StoredEvent) -> Self {
        let mut run = Self { vault, key, events: Vec::new(), bytes: 0 };
        run.push(first);
        run
    }

    /// Whether an event is under the same key.
    pub(super) fn takes(&self, next: &StoredEvent) -> bool {
        next.envelope.key_id == Some(self.key.id())
    }

    pub(super) fn push(&mut self, next: StoredEvent) {
        self.bytes += next.envelope.payload.len();
        self.events.push(next);
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MOST_EVENTS || self.bytes >= MOST_BYTES
    }

    /// What comes behind it builds on; `None` when its last event is no sealed record.
    pub(super) fn reach(&self) -> Option<Links> {
        let last = self.events.last()?;
        Record::parse(&last.envelope.payload).ok().map(|record| record.links)
    }

    pub(super) fn into_events(self) -> Vec<StoredEvent> {
        self.events
    }

    /// Opens and checks them, the first upon what was before it.
    pub(super) fn open(self, mut before: Links) -> Opened {
        let Self { vault, key, mut events, bytes } = self;
        let mut links = Vec::with_capacity(events.len());
        // One piece of memory for all: it lives as long as one of them, as that of the page does that they came in.
        let (mut texts, mut context) = (BytesMut::with_capacity(bytes), Vec::with_capacity(256));
        for StoredEvent { envelope, .. } in &mut events {
            let Ok(record) = Record::parse(&envelope.payload) else { break };
            if !events::follows(&vault.chain, &before, envelope, &record, &mut context) {
                break;
            }
            texts.extend_from_slice(&record.ciphertext);
            let mut text = texts.split();
            if key.open(&record.seal, &context, &mut text).is_err() {
                break;
            }
            envelope.key_id = None;
            envelope.payload = text.freeze();
            before = record.links;
            links.push(before);
        }
        let rest = events.split_off(links.len());
        Opened { events, links, rest }
    }
}

/// So many are opened in a tenth of a millisecond or two.
const MOST_EVENTS: usize = 128;
const MOST_BYTES: usize = 256 * 1024;
