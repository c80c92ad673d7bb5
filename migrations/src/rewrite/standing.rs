use std::hash::{BuildHasher as _, Hasher as _};

use annals_journal::{Envelope, Offset, PersistenceId, SeqNr};
use foldhash::quality::FixedState;

/// What shall stand in a part of a journal: a hash of each event, in the order of offsets.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    hashes: Vec<u64>,
    has_open: bool,
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn add(&mut self, offset: Offset, event: &Envelope) {
        self.hashes.push(hash(offset, event));
    }

    /// Somebody else has changed it, so nobody here knows what stands there.
    pub(super) fn leave_open(&mut self, at: usize, id: &PersistenceId, seq_nr: SeqNr) {
        if let Some(hash) = self.hashes.get_mut(at) {
            (*hash, self.has_open) = (hash_of_place(id, seq_nr), true);
        }
    }
}

/// A look at the same part: each event that is left is in its place what was wanted, and what is gone was deleted.
///
/// ```text
/// wanted   a1 b1 a2 b2 a3
/// found    b1    b2 a3     a was deleted up to 2 meanwhile
/// ```
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    wanted: &'a Wanted,
    /// The next place.
    at: usize,
    compared: Compared,
    is_different: bool,
}

/// What came of a look at a part, or of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Events that are what they were to be.
    pub(super) same: u64,
    /// Events that are not there any more.
    gone: u64,
    /// At most so many were deleted, or erased.
    deleted: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn with(wanted: &'a Wanted) -> Self {
        Self { wanted, at: 0, compared: Compared::default(), is_different: false }
    }

    pub(super) fn event(&mut self, offset: Offset, event: &Envelope) {
        if self.is_different {
            return;
        }
        let hash = hash(offset, event);
        let place = self.wanted.has_open.then(|| hash_of_place(&event.persistence_id, event.seq_nr));
        let mut places = self.wanted.hashes.get(self.at..).unwrap_or_default().iter();
        match places.position(|wanted| *wanted == hash || Some(*wanted) == place) {
            Some(passed) => {
                self.compared.gone += passed as u64;
                self.at += passed;
                self.compared.same += u64::from(self.wanted.hashes.get(self.at) == Some(&hash));
                self.at += 1;
            }
            None => self.is_different = true,
        }
    }

    /// `None`: an event is not what it was to be.
    pub(super) fn end(mut self) -> Option<Compared> {
        self.compared.gone += (self.wanted.len() - self.at) as u64;
        (!self.is_different).then_some(self.compared)
    }

    /// An id's events up to a number are not there, wherever they were.
    pub(super) fn deleted(&mut self, to: SeqNr) {
        self.compared.deleted = self.compared.deleted.saturating_add(to.get());
    }
}

impl Compared {
    pub(super) fn add(&mut self, other: Self) {
        self.same += other.same;
        self.gone += other.gone;
        self.deleted = self.deleted.saturating_add(other.deleted);
    }

    /// More events are gone than anybody has deleted.
    pub(super) fn has_lost(&self) -> bool {
        self.gone > self.deleted
    }
}

/// Of everything in an event but the number of its key, which a replacement may change.
fn hash(offset: Offset, event: &Envelope) -> u64 {
    let Envelope { persistence_id, seq_nr, token, writer, timestamp, tags, .. } = event;
    let mut hash = FixedState::default().build_hasher();
    for number in [
        offset.generation,
        offset.major,
        offset.minor,
        seq_nr.get(),
        token.epoch.0,
        token.activation,
        timestamp.as_micros(),
        u64::from(event.schema_version) << 32 | u64::from(event.codec.number()),
        tags.len() as u64,
        persistence_id.as_str().len() as u64,
        event.manifest.as_str().len() as u64,
    ] {
        hash.write_u64(number);
    }
    hash.write(persistence_id.as_str().as_bytes());
    hash.write(writer.as_bytes());
    hash.write(event.manifest.as_str().as_bytes());
    for tag in tags {
        hash.write_u64(tag.as_str().len() as u64);
        hash.write(tag.as_str().as_bytes());
    }
    if let Some(trace) = &event.trace_context {
        hash.write(trace.as_str().as_bytes());
    }
    hash.write(&event.payload);
    hash.finish()
}

fn hash_of_place(id: &PersistenceId, seq_nr: SeqNr) -> u64 {
    let mut hash = FixedState::with_seed(1).build_hasher();
    hash.write_u64(seq_nr.get());
    hash.write(id.as_str().as_bytes());
    hash.finish()
}

#[cfg(test)]
mod tests {
    use annals_journal::{Codec, Manifest, Timestamp, Token, WriterId};

    use super::*;

    fn event(id: &str, number: u64, payload: &'static [u8]) -> (Offset, Envelope) {
        let event = Envelope {
            persistence_id: PersistenceId::new("a", id).unwrap(),
            seq_nr: SeqNr::new(number).unwrap(),
            token: Token::NONE,
            writer: WriterId::from_bytes([1; 16]),
            timestamp: Timestamp::from_micros(1),
            manifest: Manifest::new("a.b").unwrap(),
            schema_version: 1,
            codec: Codec::Json,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: payload.into(),
        };
        (Offset::of_position(number * 2 + u64::from(id == "b")), event)
    }

    fn history() -> Vec<(Offset, Envelope)> {
        (1..=4).flat_map(|number| [event("a", number, b"1"), event("b", number, b"2")]).collect()
    }

    fn wanted() -> Wanted {
        let mut wanted = Wanted::default();
        history().iter().for_each(|(offset, event)| wanted.add(*offset, event));
        wanted
    }

    /// What a look says that finds these, where up to so many were deleted.
    fn look(wanted: &Wanted, found: &[(Offset, Envelope)], deleted: u64) -> Option<Compared> {
        let mut comparison = Comparison::with(wanted);
        found.iter().for_each(|(offset, event)| comparison.event(*offset, event));
        comparison.deleted(SeqNr::new(deleted).unwrap());
        comparison.end()
    }

    #[test]
    fn what_was_deleted_meanwhile_does_not_hide_what_is_different() {
        let wanted = wanted();
        assert_eq!(look(&wanted, &history(), 0), Some(Compared { same: 8, gone: 0, deleted: 0 }));
        let mut left = history();
        left.retain(|(_, event)| event.persistence_id.entity_id() != "a" || event.seq_nr.get() > 3);
        let compared = look(&wanted, &left, 3).unwrap();
        assert_eq!(compared, Compared { same: 5, gone: 3, deleted: 3 });
        assert!(!compared.has_lost() && look(&wanted, &left, 2).unwrap().has_lost());
        for changed in 0..left.len() {
            let mut other = left.clone();
            other[changed].1.payload = "3".into();
            assert_eq!(look(&wanted, &other, 3), None, "event {changed}");
        }
        left.swap(1, 2);
        assert_eq!(look(&wanted, &left, 3), None, "in another order");
        assert!(look(&wanted, &[], 7).unwrap().has_lost());
    }

    #[test]
    fn what_others_have_changed_is_left_out() {
        let mut wanted = wanted();
        let (_, third) = event("a", 3, b"1");
        wanted.leave_open(4, &third.persistence_id, third.seq_nr);
        let mut found = history();
        found[4].1.payload = "3".into();
        assert_eq!(look(&wanted, &found, 0), Some(Compared { same: 7, gone: 0, deleted: 0 }));
        found[5].1.payload = "3".into();
        assert_eq!(look(&wanted, &found, 0), None);
    }
}
