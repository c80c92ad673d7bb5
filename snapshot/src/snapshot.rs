use annals_journal::{Codec, EventDigest, KeyId, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use bytes::Bytes;

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
