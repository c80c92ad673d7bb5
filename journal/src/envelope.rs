//! What an event is on disk.
//!
//! ```text
//! field                 no  wire      meaning
//! format                 1  varint    version of this layout: 1
//! persistence_id         2  bytes     kind|entity-id, UTF-8
//! seq_nr                 3  varint    1, 2, 3, ... within the persistence id
//! epoch                  4  varint    token of the writer: its incarnation ...
//! activation             5  varint    ... and the activation within it
//! writer                 6  bytes     16: the process that wrote
//! timestamp              7  varint    microseconds since 1970-01-01 00:00 UTC
//! manifest               8  bytes     what the payload is, ASCII
//! schema_version         9  varint    version of the payload's shape, from 1
//! codec                 10  varint    1 JSON, 2 protobuf, 64.. the user's own
//! tags                  11  bytes*    UTF-8, in the order given
//! trace_context         12  bytes     W3C traceparent of the command; absent when empty
//! key_id                13  varint    data key that sealed the payload; absent: plain
//! payload               14  bytes
//! checksum              15  fixed32   CRC-32 (IEEE) of every byte before this field; always last
//! ```
//!
//! It is a protobuf message (proto3), so an older reader could skip fields that it does not know; but one that
//! meets a higher `format` refuses, because a field that it skips may change what the payload means.
//! The checksum is not part of the trust model: it finds rotten bytes, not an attacker.

mod sequence;
#[cfg(feature = "sqlite")]
pub(crate) use sequence::Manifests;
pub(crate) use sequence::Sequence;
mod wire;

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint};
use sha2::{Digest, Sha256};

use self::wire::Wire;

use crate::{Codec, Epoch, KeyId, Manifest, PersistenceId, SeqNr, Tag, Timestamp, Token, WriterId};

/// An event as the journal keeps it: the payload's bytes and all that is known about them.
///
/// The module's table in the source draws the stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Which entity.
    pub persistence_id: PersistenceId,
    /// Which of its events.
    pub seq_nr: SeqNr,
    /// The right under which it was written.
    pub token: Token,
    /// The process that wrote it.
    pub writer: WriterId,
    /// When it was decided.
    pub timestamp: Timestamp,
    /// What the payload is.
    pub manifest: Manifest,
    /// Version of the payload's shape, from 1.
    pub schema_version: u32,
    /// How the payload was encoded.
    pub codec: Codec,
    /// Labels for readers by tag.
    pub tags: Vec<Tag>,
    /// W3C `traceparent` of the command that caused it.
    pub trace_context: Option<TraceContext>,
    /// The data key that sealed the payload; `None`: it is plain.
    pub key_id: Option<KeyId>,
    /// The event, or what its seal made of it.
    pub payload: Bytes,
}

impl Envelope {
    /// Version of the stored layout that this build writes.
    pub const FORMAT: u32 = 1;

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.payload.len() + self.header_guess());
        put_number(&mut out, 1, u64::from(Self::FORMAT));
        put_bytes(&mut out, 2, self.persistence_id.as_str().as_bytes());
        put_number(&mut out, 3, self.seq_nr.get());
        put_number(&mut out, 4, self.token.epoch.0);
        put_number(&mut out, 5, self.token.activation);
        put_bytes(&mut out, 6, self.writer.as_bytes());
        put_number(&mut out, 7, self.timestamp.as_micros());
        put_bytes(&mut out, 8, self.manifest.as_str().as_bytes());
        put_number(&mut out, 9, u64::from(self.schema_version));
        put_number(&mut out, 10, u64::from(self.codec.number()));
        for tag in &self.tags {
            put_bytes(&mut out, 11, tag.as_str().as_bytes());
        }
        if let Some(trace) = &self.trace_context {
            put_bytes(&mut out, 12, &trace.0);
        }
        if let Some(key) = self.key_id {
            // Written even when it is 0: that a payload is sealed must not be lost.
            encode_key(13, WireType::Varint, &mut out);
            encode_varint(u64::from(key.0), &mut out);
        }
        put_bytes(&mut out, 14, &self.payload);
        let checksum = crc32fast::hash(&out);
        out.put_u8(CHECKSUM_KEY);
        out.put_u32_le(checksum);
        out.into()
    }

    /// Reads the stored form; the payload shares `stored`'s memory.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] when the bytes are not what [`Envelope::encode`] of this or an earlier format made.
    pub fn decode(stored: &Bytes) -> Result<Self, InvalidEnvelope> {
        let wire = Wire::verified(stored)?;
        let id = PersistenceId::parse(text("persistence id", wire.persistence_id)?)
            .map_err(|error| InvalidEnvelope::field("persistence id", error))?;
        let manifest = sequence::manifest(wire.manifest)?;
        Self::from_wire(wire, stored, id, manifest)
    }

    /// Reads the stored form of the event that should be `id`'s number `seq_nr`, sharing `id`.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] as [`Envelope::decode`], and when the envelope names another event: a row that moved.
    pub fn decode_as(stored: &Bytes, id: &PersistenceId, seq_nr: SeqNr) -> Result<Self, InvalidEnvelope> {
        Sequence::sharing(id.clone()).decode(stored, seq_nr)
    }

    /// Identifies the event among all that could ever have this number: SHA-256 of the fields that no rewriting
    /// changes (persistence id, number, token, writer, time stamp).
    ///
    /// A snapshot keeps the digest of its last event, so that recovery can tell whether both belong to one history.
    pub fn digest(&self) -> EventDigest {
        EventDigest::of(&self.persistence_id, self.seq_nr, self.token, self.writer, self.timestamp)
    }

    /// How many bytes the fields beside the payload take, or a few more.
    fn header_guess(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.as_str().len() + 2).sum();
        let trace = self.trace_context.as_ref().map_or(0, |trace| trace.0.len() + 3);
        self.persistence_id.as_str().len() + self.manifest.as_str().len() + tags + trace + NUMBERS_GUESS
    }

    /// `wire` is of `stored`, whose memory the payload shares.
    fn from_wire(
        wire: Wire<'_>,
        stored: &Bytes,
        persistence_id: PersistenceId,
        manifest: Manifest,
    ) -> Result<Self, InvalidEnvelope> {
        Ok(Self {
            persistence_id,
            seq_nr: SeqNr::new(wire.seq_nr)
                .filter(|seq_nr| *seq_nr >= SeqNr::FIRST)
                .ok_or_else(|| InvalidEnvelope::field("sequence number", wire.seq_nr))?,
            token: Token::new(Epoch(wire.epoch), wire.activation),
            writer: <[u8; 16]>::try_from(wire.writer)
                .map(WriterId::from_bytes)
                .map_err(|_| InvalidEnvelope::field("writer", "must have 16 bytes"))?,
            timestamp: Timestamp::from_micros(wire.timestamp),
            manifest,
            schema_version: wire.schema_version,
            codec: Codec::from_number(wire.codec)
                .ok_or_else(|| InvalidEnvelope::field("codec", wire.codec))?,
            tags: wire
                .tags
                .iter()
                .map(|tag| Tag::new(text("tag", tag)?).map_err(|error| InvalidEnvelope::field("tag", error)))
                .collect::<Result<_, _>>()?,
            trace_context: (!wire.trace_context.is_empty())
                .then(|| TraceContext(stored.slice_ref(wire.trace_context))),
            key_id: wire.key_id.map(KeyId),
            payload: stored.slice_ref(wire.payload),
        })
    }
}

/// Identity of an event, see [`Envelope::digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventDigest(pub [u8; 32]);

impl EventDigest {
    /// The digest of the event with these fields.
    pub fn of(
        id: &PersistenceId,
        seq_nr: SeqNr,
        token: Token,
        writer: WriterId,
        timestamp: Timestamp,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(id.as_str().as_bytes());
        hash.update([0]);
        for number in [seq_nr.get(), token.epoch.0, token.activation, timestamp.as_micros()] {
            hash.update(number.to_be_bytes());
        }
        hash.update(writer.as_bytes());
        Self(hash.finalize().into())
    }
}

/// A W3C `traceparent`, as the bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext(Bytes);

impl TraceContext {
    /// The longest context that is kept, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Takes the text of a `traceparent`; `None` when it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= Self::MAX_BYTES)
            .then(|| Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[cfg(feature = "encryption")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; empty when it is not UTF-8.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why stored bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnvelope {
    /// Written by a newer build.
    #[error(
        "envelope format {found} is newer than {known}, the newest that this build reads: run a newer build"
    )]
    NewerFormat {
        /// The format that was found.
        found: u32,
        /// The newest format that this build reads.
        known: u32,
    },
    /// The bytes changed after they were written.
    #[error("the checksum does not match: the stored bytes changed")]
    Checksum,
    /// The bytes end early, or are no protobuf message.
    #[error("not an envelope: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// A field has a value that it cannot have.
    #[error("invalid {field}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The envelope belongs to another place than where it was found.
    #[error("the row holds {found}: it was moved or overwritten")]
    Misplaced {
        /// The event that it names.
        found: String,
    },
}

impl InvalidEnvelope {
    fn field(field: &'static str, reason: impl ToString) -> Self {
        Self::Field { field, reason: reason.to_string() }
    }
}

fn text<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, InvalidEnvelope> {
    std::str::from_utf8(bytes).map_err(|error| InvalidEnvelope::field(field, error))
}

/// Proto3: a number that is 0 is not written.
fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(number, out);
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

/// Numbers, keys, lengths and the checksum of a usual event.
const NUMBERS_GUESS: usize = 80;
/// Field 15, wire type 5 (32 bits).
const CHECKSUM_KEY: u8 = (15 << 3) | 5;
const CHECKSUM_BYTES: usize = 5;
