use std::sync::Arc;

use bytes::BytesMut;

use super::events::CONTEXT_BYTES;
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
    /// What comes behind all of them builds on, if all are right.
    pub(super) reach: Option<Links>,
    /// From the first on that is not right, or not any more; as they are stored.
    pub(super) rest: Vec<StoredEvent>,
}

impl Run {
    /// Begins with an event that the key sealed. Behind a full run another may be expected.
    pub(super) fn begin(vault: Arc<Vault>, key: Arc<DataKey>, first: StoredEvent, behind_full: bool) -> Self {
        let events = Vec::with_capacity(if behind_full { MOST_EVENTS } else { FEW_EVENTS });
        let mut run = Self { vault, key, events, bytes: 0 };
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

    /// The first event, and the others.
    pub(super) fn split(mut self) -> (Option<StoredEvent>, Option<Self>) {
        if self.events.len() < 2 {
            return (self.events.pop(), None);
        }
        let first = self.events.remove(0);
        (Some(first), Some(self))
    }

    /// Opens and checks them, the first upon what was before it.
    pub(super) fn open(self, before: Links) -> Opened {
        let Self { vault, key, mut events, bytes } = self;
        let (end, mut reach) = (events.len(), None);
        // One piece of memory for all: it lives as long as one of them, as that of the page does that they came in.
        let (mut texts, mut context) = (BytesMut::with_capacity(bytes), Vec::with_capacity(CONTEXT_BYTES));
        let (mut right, mut last) = (0, None);
        for StoredEvent { envelope, .. } in &mut events {
            let Ok(record) = Record::read(&envelope.payload) else { break };
            let follows = match &last {
                None => record.follows(&before),
                Some(last) => record.follows_record(last),
            };
            if !follows {
                break;
            }
            events::context_of(envelope, &record, &mut context);
            texts.extend_from_slice(record.ciphertext);
            if right + 1 == end {
                let link = vault.chain.link(&context, &record.seal, record.ciphertext);
                reach = Some(Links { link, out: record.out });
            }
            let record = record.without_text();
            let mut text = texts.split();
            if key.open(&record.seal, &context, &mut text).is_err() {
                break;
            }
            last = Some(record);
            envelope.key_id = None;
            envelope.payload = text.freeze();
            right += 1;
        }
        let rest = events.split_off(right);
        Opened { reach: reach.filter(|_| rest.is_empty()), events, rest }
    }
}

/// So many are opened in a tenth of a millisecond or two.
const MOST_EVENTS: usize = 128;
const FEW_EVENTS: usize = 16;
const MOST_BYTES: usize = 256 * 1024;
