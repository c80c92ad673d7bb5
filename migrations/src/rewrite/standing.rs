use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use annals_journal::{Envelope, Offset, SeqNr};

/// What stands in a journal, or shall, up to an offset: a sum over all events, in whatever order they are met.
///
/// Two looks at the same events have the same sum. Each event adds a hash of everything in it but the number of its key, which a
/// replacement may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) events: u64,
    /// Sum of the numbers up to which ids are deleted.
    deleted: u64,
    sum: u64,
}

impl Standing {
    pub(super) fn event(&mut self, offset: Offset, event: &Envelope) {
        let Envelope { persistence_id, seq_nr, token, writer, timestamp, tags, .. } = event;
        let mut hash = DefaultHasher::new();
        (persistence_id.as_str(), seq_nr.get(), token.epoch.0, token.activation).hash(&mut hash);
        (offset.generation, offset.major, offset.minor).hash(&mut hash);
        (writer.as_bytes(), timestamp.as_micros(), event.manifest.as_str(), event.schema_version)
            .hash(&mut hash);
        for tag in tags {
            tag.as_str().hash(&mut hash);
        }
        event.codec.number().hash(&mut hash);
        hash.write(&event.payload);
        self.events += 1;
        self.sum = self.sum.wrapping_add(hash.finish());
    }

    pub(super) fn deleted(&mut self, to: SeqNr) {
        self.deleted = self.deleted.wrapping_add(to.get());
    }

    /// Whether another look at the same place sees the same; `None`: owners may have deleted events between the two, or during one.
    pub(super) fn is_same(&self, later: &Self) -> Option<bool> {
        match self == later {
            true => Some(true),
            false if self.deleted == 0 && later.deleted == 0 => Some(false),
            false => None,
        }
    }
}
