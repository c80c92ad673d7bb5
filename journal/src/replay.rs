use crate::{PersistenceId, SeqNr, StoredEvent};

/// Which events to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRange {
    /// Which id.
    pub persistence_id: PersistenceId,
    /// The lowest number.
    pub from: SeqNr,
    /// The highest number.
    pub to: SeqNr,
    /// The most events.
    pub limit: u64,
}

impl ReplayRange {
    /// All events of an id.
    pub fn all(persistence_id: &PersistenceId) -> Self {
        Self { persistence_id: persistence_id.clone(), from: SeqNr::FIRST, to: SeqNr::MAX, limit: u64::MAX }
    }

    /// The same from a number on.
    #[must_use]
    pub fn from(self, from: SeqNr) -> Self {
        Self { from, ..self }
    }

    /// The same up to a number.
    #[must_use]
    pub fn to(self, to: SeqNr) -> Self {
        Self { to, ..self }
    }

    /// The same with at most this many events.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }
}

/// An item of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would cost each an allocation")]
pub enum Replayed {
    /// An event.
    Event(StoredEvent),
    /// These numbers of the range that was asked for were deleted.
    Deleted {
        /// The first.
        from: SeqNr,
        /// The last.
        to: SeqNr,
    },
    /// These numbers of the range that was asked for are there, and can never be read again: the key that sealed them was destroyed on
    /// purpose.
    Erased {
        /// The first.
        from: SeqNr,
        /// The last.
        to: SeqNr,
    },
}
