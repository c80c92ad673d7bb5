//! What a snapshot is on disk.
//!
//! ```text
//! field                 no  wire      meaning
//! format                 1  varint    version of this layout: 1
//! persistence_id         2  bytes     kind|entity-id, UTF-8
//! seq_nr                 3  varint    number of the last event that the state has seen, from 1
//! epoch                  4  varint    token of that event's writer: its incarnation ...
//! activation             5  varint    ... and the activation within it
//! last_event             6  bytes     32: digest of that event
//! timestamp              7  varint    microseconds since 1970-01-01 00:00 UTC
//! manifest               8  bytes     what the payload is, ASCII
//! schema_version         9  varint    version of the payload's shape, from 1
//! codec                 10  varint    1 JSON, 2 protobuf, 64.. the user's own
//! key_id                13  varint    data key that sealed the payload; absent: plain
//! payload               14  bytes
//! checksum              15  fixed32   CRC-32 (IEEE) of every byte before this field; always last
//! ```
//!
//! A protobuf message (proto3) whose field numbers are those of an event's envelope, with the digest in the place of the
//! writer. Whoever meets a higher `format` refuses, because a field that it skips may change what the payload means.
//! The checksum is not part of the trust model: it finds rotten bytes, not an attacker.

use annals_journal::{Codec, Epoch, EventDigest, KeyId, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::Snapshot;

impl Snapshot {
    /// Version of the stored layout that this build writes.
    pub const FORMAT: u32 = 1;

    /// The stored form, for authors of backends.
    pub fn encode(&self) -> Bytes {
        let wire = Wire {
            format: Self::FORMAT,
            persistence_id: Bytes::copy_from_slice(self.persistence_id.as_str().as_bytes()),
            seq_nr: self.seq_nr.get(),
            epoch: self.token.epoch.0,
            activation: self.token.activation,
            last_event: Bytes::copy_from_slice(&self.last_event.0),
            timestamp: self.timestamp.as_micros(),
            manifest: Bytes::copy_from_slice(self.manifest.as_str().as_bytes()),
            schema_version: self.schema_version,
            codec: self.codec.number(),
            key_id: self.key_id.map(|key| key.0),
            payload: self.payload.clone(),
        };
        let mut out = BytesMut::with_capacity(wire.encoded_len() + CHECKSUM_BYTES);
        // `encode` checks the room that is left, `encode_raw` does not need to: the buffer grows.
        wire.encode_raw(&mut out);
        let checksum = crc32fast::hash(&out);
        out.put_u8(CHECKSUM_KEY);
        out.put_u32_le(checksum);
        out.freeze()
    }

    /// Reads the stored form; the payload shares `stored`'s memory.
    ///
    /// # Errors
    /// [`InvalidSnapshot`] when the bytes are not what [`Snapshot::encode`] of this or an earlier format made.
    pub fn decode(stored: &Bytes) -> Result<Self, InvalidSnapshot> {
        Wire::verified(stored)?.into_snapshot()
    }

    /// Reads the stored form of the snapshot that should be `id`'s at `seq_nr`.
    ///
    /// # Errors
    /// [`InvalidSnapshot`] as [`Snapshot::decode`], and when it names another place: a row that moved.
    pub fn decode_as(stored: &Bytes, id: &PersistenceId, seq_nr: SeqNr) -> Result<Self, InvalidSnapshot> {
        let snapshot = Self::decode(stored)?;
        if snapshot.persistence_id != *id || snapshot.seq_nr != seq_nr {
            let found = format!("{} {:?}", snapshot.persistence_id, snapshot.seq_nr);
            return Err(InvalidSnapshot::Misplaced { found });
        }
        Ok(snapshot)
    }
}

/// Why stored bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSnapshot {
    /// Written by a newer build.
    #[error(
        "snapshot format {found} is newer than {known}, the newest that this build reads: run a newer build"
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
    #[error("not a snapshot: {reason}")]
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
    /// The snapshot belongs to another place than where it was found.
    #[error("the row holds {found}: it was moved or overwritten")]
    Misplaced {
        /// The place that it names.
        found: String,
    },
}

impl InvalidSnapshot {
    fn field(field: &'static str, reason: impl ToString) -> Self {
        Self::Field { field, reason: reason.to_string() }
    }

    fn malformed(reason: impl ToString) -> Self {
        Self::Malformed { reason: reason.to_string() }
    }
}

/// The protobuf message without its checksum. Texts are `bytes`, which are the same on the wire, so that what is wrong
/// with one is said by its own rule.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "bytes", tag = "2")]
    persistence_id: Bytes,
    #[prost(uint64, tag = "3")]
    seq_nr: u64,
    #[prost(uint64, tag = "4")]
    epoch: u64,
    #[prost(uint64, tag = "5")]
    activation: u64,
    #[prost(bytes = "bytes", tag = "6")]
    last_event: Bytes,
    #[prost(uint64, tag = "7")]
    timestamp: u64,
    #[prost(bytes = "bytes", tag = "8")]
    manifest: Bytes,
    #[prost(uint32, tag = "9")]
    schema_version: u32,
    #[prost(uint32, tag = "10")]
    codec: u32,
    // Optional, so that it is written even when it is 0: that a payload is sealed must not be lost.
    #[prost(uint32, optional, tag = "13")]
    key_id: Option<u32>,
    #[prost(bytes = "bytes", tag = "14")]
    payload: Bytes,
}

impl Wire {
    /// Checks the checksum and the format, then decodes.
    fn verified(stored: &Bytes) -> Result<Self, InvalidSnapshot> {
        let body_len = stored
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .ok_or_else(|| InvalidSnapshot::malformed("shorter than its checksum"))?;
        let (body, tail) = stored.split_at(body_len);
        let (key, checksum) = tail.split_first().ok_or_else(|| InvalidSnapshot::malformed("no checksum"))?;
        if *key != CHECKSUM_KEY {
            return Err(InvalidSnapshot::malformed("does not end in a checksum"));
        }
        if checksum != crc32fast::hash(body).to_le_bytes() {
            return Err(InvalidSnapshot::Checksum);
        }
        let wire = Self::decode(stored.slice(..body_len)).map_err(InvalidSnapshot::malformed)?;
        match wire.format {
            Snapshot::FORMAT => Ok(wire),
            0 => Err(InvalidSnapshot::field("format", 0)),
            found => Err(InvalidSnapshot::NewerFormat { found, known: Snapshot::FORMAT }),
        }
    }

    fn into_snapshot(self) -> Result<Snapshot, InvalidSnapshot> {
        Ok(Snapshot {
            persistence_id: PersistenceId::parse(text("persistence id", &self.persistence_id)?)
                .map_err(|error| InvalidSnapshot::field("persistence id", error))?,
            seq_nr: SeqNr::new(self.seq_nr)
                .filter(|seq_nr| *seq_nr >= SeqNr::FIRST)
                .ok_or_else(|| InvalidSnapshot::field("sequence number", self.seq_nr))?,
            token: Token::new(Epoch(self.epoch), self.activation),
            last_event: <[u8; 32]>::try_from(&self.last_event[..])
                .map(EventDigest)
                .map_err(|_| InvalidSnapshot::field("digest of the last event", "must have 32 bytes"))?,
            timestamp: Timestamp::from_micros(self.timestamp),
            manifest: Manifest::new(text("manifest", &self.manifest)?)
                .map_err(|error| InvalidSnapshot::field("manifest", error))?,
            schema_version: self.schema_version,
            codec: Codec::from_number(self.codec)
                .ok_or_else(|| InvalidSnapshot::field("codec", self.codec))?,
            key_id: self.key_id.map(KeyId),
            payload: self.payload,
        })
    }
}

fn text<'a>(field: &'static str, bytes: &'a Bytes) -> Result<&'a str, InvalidSnapshot> {
    std::str::from_utf8(bytes).map_err(|error| InvalidSnapshot::field(field, error))
}

/// Field 15, wire type 5 (32 bits).
const CHECKSUM_KEY: u8 = (15 << 3) | 5;
const CHECKSUM_BYTES: usize = 5;
