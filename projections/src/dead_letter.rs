use annals_journal::{Offset, PersistenceId, SeqNr, Timestamp};

/// An event that a projection has skipped, because its handler could not take it.
///
/// It names the event and has the handler's error, up to 1,000 characters; never the payload, which may be sealed where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Whose.
    pub persistence_id: PersistenceId,
    /// Its number.
    pub seq_nr: SeqNr,
    /// Its place in the journal.
    pub offset: Offset,
    /// What the handler said at the last try.
    pub error: String,
    /// When it was skipped.
    pub at: Timestamp,
}

impl DeadLetter {
    pub(crate) fn new(
        persistence_id: PersistenceId,
        seq_nr: SeqNr,
        offset: Offset,
        error: &str,
        at: Timestamp,
    ) -> Self {
        let error = error.chars().take(LONGEST_ERROR).collect();
        Self { persistence_id, seq_nr, offset, error, at }
    }
}

const LONGEST_ERROR: usize = 1_000;
