use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};

use super::record::Link;
use crate::encryption::data_keys::HeldKey;
use crate::{Head, Mark, PersistenceId, SeqNr, Token, Write};

/// What is known of the ids that were used last.
pub(super) struct Ids {
    known: Cache<PersistenceId, Arc<Id>, UnitWeighter, DefaultHashBuilder, InUse>,
}

/// An id: who writes, and on what.
#[derive(Debug, Default)]
pub(super) struct Id {
    /// Held from looking at what is known until the write is on its way. First come, first served: who must wait for a key is not passed
    /// by the append that builds on it.
    pub(super) order: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// Everything here is a hint: what a write builds on is compared by the store.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What the next append builds on, once all that is under way is stored.
    pub(super) tail: Option<Tail>,
    /// A head that was there.
    pub(super) head: Option<Stored>,
    /// The plain events up to here were there before the first sealed one.
    pub(super) plain_to: SeqNr,
    /// What its last event was sealed with.
    pub(super) key: Option<HeldKey>,
}

/// The end of an id's history, as the newest writer here sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) seq_nr: SeqNr,
    pub(super) token: Token,
    pub(super) link: Link,
    pub(super) mark: Option<Mark>,
}

/// A head that the store answered, and the link that its mark authenticates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) head: Head,
    pub(super) newest: Option<Link>,
}

impl Ids {
    pub(super) fn new(kept: usize) -> Self {
        let known = Cache::with(kept, kept as u64, UnitWeighter, DefaultHashBuilder::default(), InUse);
        Self { known }
    }

    /// An id, known or new.
    pub(super) fn id(&self, id: &PersistenceId) -> Arc<Id> {
        if let Some(known) = self.known.get(id) {
            return known;
        }
        let made = self.known.get_or_insert_with(id, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(made) = made;
        made
    }

    /// What is known of an id; nothing of one that was not used here of late.
    pub(super) fn get(&self, id: &PersistenceId) -> Option<Arc<Id>> {
        self.known.get(id)
    }

    /// The ids of a list, each once, in the order in which everybody locks them.
    pub(super) fn of(&self, writes: &[Write]) -> Vec<(PersistenceId, Arc<Id>)> {
        if let [write] = writes {
            let id = write.persistence_id();
            return vec![(id.clone(), self.id(id))];
        }
        let ids: BTreeMap<_, _> = writes.iter().map(|write| (write.persistence_id(), ())).collect();
        ids.into_keys().map(|id| (id.clone(), self.id(id))).collect()
    }
}

impl Id {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Notes where an append will leave the id; that of an older writer, which is going to be refused, changes nothing.
    pub(super) fn advance(&mut self, tail: Tail) {
        if self.tail.is_none_or(|known| known.token <= tail.token) {
            self.tail = Some(tail);
        }
    }

    /// Notes what a new owner found; what it has sent already stays.
    pub(super) fn take_over(&mut self, tail: Tail) {
        if self.tail.is_none_or(|known| known.token < tail.token) {
            self.tail = Some(tail);
        }
    }

    /// Notes that what this writer has under way is not stored.
    pub(super) fn doubt(&mut self, token: Token) {
        if self.tail.is_some_and(|known| known.token == token) {
            self.tail = None;
        }
    }

    /// Notes a head that was answered.
    pub(super) fn stored(&mut self, stored: Stored) {
        if self.head.is_none_or(|known| known.head.seq_nr <= stored.head.seq_nr) {
            self.head = Some(stored);
        }
        if stored.newest.is_none() {
            self.plain_to = self.plain_to.max(stored.head.seq_nr);
        }
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").field("kept", &self.known.len()).finish()
    }
}

/// An id with a write under way is not forgotten.
#[derive(Debug, Clone, Copy, Default)]
struct InUse;

impl Lifecycle<PersistenceId, Arc<Id>> for InUse {
    type RequestState = ();

    fn is_pinned(&self, _: &PersistenceId, id: &Arc<Id>) -> bool {
        Arc::strong_count(id) > 1
    }
}
