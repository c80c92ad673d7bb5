use annals_journal::{Offset, PersistenceId, SeqNr, Timestamp};

/// An event on its way into a view.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Projected<E> {
    /// Whose.
    pub persistence_id: PersistenceId,
    /// Its number.
    pub seq_nr: SeqNr,
    /// Its place in the journal. Events that were one when they were stored share it.
    pub offset: Offset,
    /// When it was decided.
    pub timestamp: Timestamp,
    /// What happened.
    pub event: E,
}

/// Events that a projection does not get any more.
///
/// A projection that keeps up sees events before they are deleted: who deletes waits for it
/// ([`Readers`](annals_journal::Readers)). One that is new, or was reset, meets this in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// Whose.
    pub persistence_id: PersistenceId,
    /// The first number.
    pub from: SeqNr,
    /// The last number. Some of these events may have been projected.
    pub to: SeqNr,
    /// The place in the journal of the last one.
    pub offset: Offset,
    /// The key that sealed them was destroyed on purpose: this id is to be forgotten. Else they were deleted.
    pub erased: bool,
}

/// What a view answers that says nothing of its own about [`Gone`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "events {from} to {to} of {persistence_id} were {}, and this view has not seen all of them: say in `gone` what it does without them",
    if *erased { "erased" } else { "deleted" }
)]
#[non_exhaustive]
pub struct Missed {
    /// Whose.
    pub persistence_id: PersistenceId,
    /// The first.
    pub from: SeqNr,
    /// The last.
    pub to: SeqNr,
    /// Whether they were erased.
    pub erased: bool,
}

/// What a view answers that says nothing of its own about taking another one's place; so does every handler that works at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this view cannot take the place of another: implement `replace`")]
pub struct CannotReplace;

impl From<&Gone> for Missed {
    fn from(gone: &Gone) -> Self {
        let Gone { persistence_id, from, to, erased, .. } = gone;
        Self { persistence_id: persistence_id.clone(), from: *from, to: *to, erased: *erased }
    }
}
