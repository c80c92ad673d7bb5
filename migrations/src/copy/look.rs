//! One look at all events of both sides, page by page.
//!
//! ```text
//! source   a1 b1 a2 c1 ...     each in the order of its offsets, which are the same order
//! target   a1 b1 c1 a2 ...     unless the copy was interrupted
//!          ↓  ↓  ↓  ↓
//!          events of one id and number meet, here or a little later; what meets none, or another: its id is looked at by itself
//! ```

use std::collections::{BTreeSet, HashMap};

use annals_journal::{Envelope, JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange};

use super::copier::{Copy, Progress};
use super::side::Side;

/// What a look found.
pub(super) enum Look {
    /// These ids have to be looked at by themselves; all others have the same events in both.
    Only(BTreeSet<PersistenceId>),
    /// All have to be: there are more than can be remembered, or pages do not say enough.
    All,
}

impl Look {
    /// No look was taken: nothing is known to be different.
    pub(super) fn unseen() -> Self {
        Self::Only(BTreeSet::new())
    }

    pub(super) fn is_same(&self, id: &PersistenceId) -> bool {
        match self {
            Self::Only(ids) => !ids.contains(id),
            Self::All => false,
        }
    }
}

impl Copy {
    /// Compares all events; answers how many there were, but for those that are yet to be looked at by [`Look::All`].
    pub(super) async fn look(&self, progress: Progress<'_>) -> Result<(Look, u64), JournalError> {
        let (mut ours, mut theirs) = (Cursor::new(&self.from), Cursor::new(&self.to));
        let mut different = BTreeSet::new();
        let mut seen = 0;
        while !(ours.ended && theirs.ended) {
            let (ahead, behind) = (ours.is_ahead_of(&theirs), theirs.is_ahead_of(&ours));
            let (mut wanted, mut found) = futures::try_join!(ours.next(ahead), theirs.next(behind))?;
            seen += wanted.len() as u64;
            progress(wanted.len() as u64);
            let common = wanted.iter().zip(&found).take_while(|(one, other)| is_one(one, other)).count();
            for (wanted, found) in wanted.drain(..common).zip(found.drain(..common)) {
                if !self.is_same(&wanted, &found) {
                    different.insert(wanted.persistence_id);
                }
            }
            self.meet(wanted, &mut ours, &mut theirs, &mut different);
            self.meet(found, &mut theirs, &mut ours, &mut different);
            for side in [&mut ours, &mut theirs] {
                if side.alone.len() > MOST_ALONE {
                    different.extend(side.alone.drain().map(|((id, _), _)| id));
                }
            }
            if different.len() > MOST_DIFFERENT {
                return Ok((Look::All, 0));
            }
        }
        different
            .extend([ours, theirs].into_iter().flat_map(|side| side.alone.into_keys()).map(|(id, _)| id));
        Ok((Look::Only(different), seen))
    }

    fn meet(
        &self,
        events: Vec<Envelope>,
        here: &mut Cursor<'_>,
        there: &mut Cursor<'_>,
        different: &mut BTreeSet<PersistenceId>,
    ) {
        for event in events {
            let key = key(&event);
            match there.alone.remove(&key) {
                Some(other) if self.is_same(&event, &other) => {}
                Some(_) => drop(different.insert(key.0)),
                None => drop(here.alone.insert(key, event)),
            }
        }
    }
}

/// How far one side was read.
struct Cursor<'a> {
    side: &'a Side,
    after: Offset,
    ended: bool,
    /// Events that the other side has not shown yet.
    alone: HashMap<(PersistenceId, SeqNr), Envelope>,
}

fn is_one(event: &Envelope, other: &Envelope) -> bool {
    event.seq_nr == other.seq_nr && event.persistence_id == other.persistence_id
}

fn key(event: &Envelope) -> (PersistenceId, SeqNr) {
    (event.persistence_id.clone(), event.seq_nr)
}

impl<'a> Cursor<'a> {
    fn new(side: &'a Side) -> Self {
        Self { side, after: Offset::BEGINNING, ended: false, alone: HashMap::new() }
    }

    /// Far enough that the other one goes on alone.
    fn is_ahead_of(&self, other: &Self) -> bool {
        !other.ended && self.alone.len() > other.alone.len() + PAGE
    }

    /// The next events; none at the end, and where it waits.
    async fn next(&mut self, waits: bool) -> Result<Vec<Envelope>, JournalError> {
        if self.ended || waits {
            return Ok(Vec::new());
        }
        let Page { items, complete_to, .. } =
            self.side.journal.events_by_slice(SliceRange::ALL, self.after, PAGE).await?;
        (self.ended, self.after) = (items.len() < PAGE, complete_to);
        let events = items.into_iter().filter_map(|item| match item {
            PageItem::Event(event) => Some(event.envelope),
            // What was deleted shows in the heads.
            _ => None,
        });
        Ok(events.collect())
    }
}

const PAGE: usize = 1_024;
/// Of one side, in events: what an interrupted copy brought out of order. They are in memory.
const MOST_ALONE: usize = 4 * PAGE;
/// In ids.
const MOST_DIFFERENT: usize = 100_000;
