use crate::{Offset, PersistenceId, SeqNr, StoredEvent};

/// A piece of the journal in the order of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub items: Vec<PageItem>,
    /// Nothing at or below is missing, and nothing will appear there: go on from here.
    pub complete_to: Offset,
}

/// An item of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would cost each an allocation")]
pub enum PageItem {
    /// An event.
    Event(StoredEvent),
    /// Events of an id that were deleted; some of them may have been read before.
    Deleted {
        /// The offset of the last one.
        offset: Offset,
        /// Which id.
        persistence_id: PersistenceId,
        /// The first, always 1.
        from: SeqNr,
        /// The last.
        to: SeqNr,
    },
    /// Events of an id that can never be read again: the key that sealed them was destroyed on purpose. Some of them may have been read
    /// before.
    Erased {
        /// The offset of one of them.
        offset: Offset,
        /// Which id.
        persistence_id: PersistenceId,
        /// The first of all that were erased.
        from: SeqNr,
        /// The last of all that were erased.
        to: SeqNr,
    },
}

impl PageItem {
    /// Whose events.
    pub fn persistence_id(&self) -> &PersistenceId {
        match self {
            Self::Event(event) => &event.envelope.persistence_id,
            Self::Deleted { persistence_id, .. } | Self::Erased { persistence_id, .. } => persistence_id,
        }
    }

    /// The place in the journal.
    pub fn offset(&self) -> Offset {
        match self {
            Self::Event(event) => event.offset,
            Self::Deleted { offset, .. } | Self::Erased { offset, .. } => *offset,
        }
    }
}
