use annals_journal::{Codec, Manifest};
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
}
