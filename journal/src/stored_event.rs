use bytes::Bytes;

#[cfg(doc)]
use crate::Journal;
use crate::{Envelope, JournalError, Limits, Offset};

/// An event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the journal.
    pub offset: Offset,
    /// What it says.
    pub envelope: Envelope,
    /// The bytes that are stored, for [`Journal::replace`].
    pub bytes: Bytes,
}

impl StoredEvent {
    /// Checks what every backend must refuse in [`Journal::replace`] before it looks at its store.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] when `new` is another event than this one, or too large.
    pub fn check_replacement(&self, new: &Envelope, limits: Limits) -> Result<(), JournalError> {
        let old = &self.envelope;
        let same = |envelope: &Envelope| (envelope.seq_nr, envelope.timestamp);
        if old.persistence_id != new.persistence_id || same(old) != same(new) {
            return Err(JournalError::rejected(
                &old.persistence_id,
                format!(
                    "event {:?} of {} cannot be replaced by event {:?} of {}: id, number and time stamp must stay",
                    old.seq_nr, old.timestamp, new.seq_nr, new.timestamp
                ),
            ));
        }
        limits.check(new)
    }
}
