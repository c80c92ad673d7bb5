use annals_journal::{Codec, Envelope, EventDigest, KeyId, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use bytes::Bytes;

use crate::SnapshotError;

/// A state as the store keeps it: the bytes, and what they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Which entity.
    pub persistence_id: PersistenceId,
    /// The number of the last event that the state has seen.
    pub seq_nr: SeqNr,
    /// The token of that last event.
    pub token: Token,
    /// Identity of that last event ([`annals_journal::Envelope::digest`]); a snapshot whose digest is not the
    /// journal's belongs to another history.
    pub last_event: EventDigest,
    /// When it was taken.
    pub timestamp: Timestamp,
    /// What the payload is.
    pub manifest: Manifest,
    /// Version of the payload's shape, from 1.
    pub schema_version: u32,
    /// How the payload was encoded.
    pub codec: Codec,
    /// The data key that sealed the payload; `None`: it is plain.
    pub key_id: Option<KeyId>,
    /// The state, or what its seal made of it.
    pub payload: Bytes,
}

impl Snapshot {
    /// Checks what every backend must refuse before it looks at its store.
    ///
    /// # Errors
    /// [`SnapshotError::Rejected`] with the reason.
    pub fn check(&self, max_payload_bytes: usize) -> Result<(), SnapshotError> {
        let rejected = |reason: String| {
            let (persistence_id, seq_nr) = (self.persistence_id.clone(), self.seq_nr);
            Err(SnapshotError::Rejected { persistence_id, seq_nr, reason })
        };
        if self.seq_nr < SeqNr::FIRST {
            return rejected("a snapshot needs at least one event".to_owned());
        }
        if self.payload.len() > max_payload_bytes {
            return rejected(format!(
                "the state ({}) has {} bytes, at most {max_payload_bytes} are allowed",
                self.manifest,
                self.payload.len(),
            ));
        }
        Ok(())
    }

    /// Whether the state was folded from the history that has this event: the event is the last one that the state has seen.
    ///
    /// Recovery treats a snapshot that does not belong to the journal's event of its number as unreadable.
    pub fn belongs_to(&self, event: &Envelope) -> bool {
        event.persistence_id == self.persistence_id
            && event.seq_nr == self.seq_nr
            && event.digest() == self.last_event
    }
}
