use annals_journal::{Codec, Envelope, Manifest};
use bytes::Bytes;

/// A value as it goes into an envelope: the bytes, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What the payload is.
    pub manifest: Manifest,
    /// Version of the payload's shape, from 1.
    pub schema_version: u32,
    /// How the payload was encoded.
    pub codec: Codec,
    /// The bytes.
    pub payload: Bytes,
    /// Whether reading it back may give something else than was encoded, or several events, or none: it was changed, divided, or brought
    /// down to an older version. Then the live state is given what reading it back gives, so that replay gives the same (I6).
    pub read_back: bool,
}

impl Encoded {
    /// The envelope with this in the place of what it holds.
    #[must_use]
    pub fn in_envelope(self, envelope: &Envelope) -> Envelope {
        Envelope {
            manifest: self.manifest,
            schema_version: self.schema_version,
            codec: self.codec,
            payload: self.payload,
            persistence_id: envelope.persistence_id.clone(),
            seq_nr: envelope.seq_nr,
            token: envelope.token,
            writer: envelope.writer,
            timestamp: envelope.timestamp,
            tags: envelope.tags.clone(),
            trace_context: envelope.trace_context.clone(),
            key_id: envelope.key_id,
        }
    }
}
