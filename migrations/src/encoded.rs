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
    /// Whether reading it back may give something else than was encoded, or several events, or none: it was changed, divided, or brought
    /// down to an older version. Then the live state is given what reading it back gives, so that replay gives the same (I6).
    pub read_back: bool,
}
