use super::{CHECKSUM_BYTES, CHECKSUM_KEY, Envelope, InvalidEnvelope};

/// The fields of the protobuf message as they lie in the stored bytes, without its checksum.
///
/// Read by hand rather than by `prost`, which makes a counted reference of each field: a replay reads millions of these.
/// Says the same of every message that has no groups; a test compares the two.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wire<'a> {
    pub(super) format: u32,
    pub(super) persistence_id: &'a [u8],
    pub(super) seq_nr: u64,
    pub(super) epoch: u64,
    pub(super) activation: u64,
    pub(super) writer: &'a [u8],
    pub(super) timestamp: u64,
    pub(super) manifest: &'a [u8],
    pub(super) schema_version: u32,
    pub(super) codec: u32,
    pub(super) tags: Vec<&'a [u8]>,
    pub(super) trace_context: &'a [u8],
    pub(super) key_id: Option<u32>,
    pub(super) payload: &'a [u8],
}

impl<'a> Wire<'a> {
    /// Checks the checksum and the format, then reads the fields.
    pub(super) fn verified(stored: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let body_len =
            stored.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| malformed("shorter than its checksum"))?;
        let (body, tail) = stored.split_at(body_len);
        let (key, checksum) = tail.split_first().ok_or_else(|| malformed("no checksum"))?;
        if *key != CHECKSUM_KEY {
            return Err(malformed("does not end in a checksum"));
        }
        if checksum != crc32fast::hash(body).to_le_bytes() {
            return Err(InvalidEnvelope::Checksum);
        }
        let wire = Self::read(body)?;
        match wire.format {
            Envelope::FORMAT => Ok(wire),
            0 => Err(InvalidEnvelope::field("format", 0)),
            found => Err(InvalidEnvelope::NewerFormat { found, known: Envelope::FORMAT }),
        }
    }

    fn read(body: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let mut wire = Self::default();
        let mut rest = Rest(body);
        while !rest.0.is_empty() {
            let key = rest.varint()?;
            let number = u32::try_from(key >> 3).ok().filter(|number| (1..=MAX_FIELD).contains(number));
            let number = number.ok_or_else(|| malformed("a field has an impossible number"))?;
            match (number, key & 7) {
                (1, VARINT) => wire.format = rest.number()?,
                (2, BYTES) => wire.persistence_id = rest.bytes()?,
                (3, VARINT) => wire.seq_nr = rest.varint()?,
                (4, VARINT) => wire.epoch = rest.varint()?,
                (5, VARINT) => wire.activation = rest.varint()?,
                (6, BYTES) => wire.writer = rest.bytes()?,
                (7, VARINT) => wire.timestamp = rest.varint()?,
                (8, BYTES) => wire.manifest = rest.bytes()?,
                (9, VARINT) => wire.schema_version = rest.number()?,
                (10, VARINT) => wire.codec = rest.number()?,
                (11, BYTES) => wire.tags.push(rest.bytes()?),
                (12, BYTES) => wire.trace_context = rest.bytes()?,
                (13, VARINT) => wire.key_id = Some(rest.number()?),
                (14, BYTES) => wire.payload = rest.bytes()?,
                (1..=14, _) => return Err(malformed("a field has another type than it should")),
                // Fields of a later build.
                (_, VARINT) => drop(rest.varint()?),
                (_, BYTES) => drop(rest.bytes()?),
                (_, FIXED32) => drop(rest.take(4)?),
                (_, FIXED64) => drop(rest.take(8)?),
                _ => return Err(malformed("a field has an unknown type")),
            }
        }
        Ok(wire)
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    fn varint(&mut self) -> Result<u64, InvalidEnvelope> {
        if let [byte @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        let mut number = 0;
        for (index, byte) in self.0.iter().take(MAX_VARINT_BYTES).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                // The tenth byte has room for one bit.
                if index + 1 == MAX_VARINT_BYTES && *byte > 1 {
                    break;
                }
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(malformed("a number has no end"))
    }

    /// A number of 32 bits; as everywhere in protobuf, what is longer is cut off.
    fn number(&mut self) -> Result<u32, InvalidEnvelope> {
        #[allow(clippy::cast_possible_truncation, reason = "said above")]
        self.varint().map(|number| number as u32)
    }

    fn bytes(&mut self) -> Result<&'a [u8], InvalidEnvelope> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], InvalidEnvelope> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("a field is longer than the rest"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn malformed(reason: &str) -> InvalidEnvelope {
    InvalidEnvelope::Malformed { reason: reason.to_owned() }
}

// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;
const MAX_FIELD: u32 = (1 << 29) - 1;
const MAX_VARINT_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct ByProst {
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
        writer: Bytes,
        #[prost(uint64, tag = "7")]
        timestamp: u64,
        #[prost(bytes = "bytes", tag = "8")]
        manifest: Bytes,
        #[prost(uint32, tag = "9")]
        schema_version: u32,
        #[prost(uint32, tag = "10")]
        codec: u32,
        #[prost(bytes = "bytes", repeated, tag = "11")]
        tags: Vec<Bytes>,
        #[prost(bytes = "bytes", tag = "12")]
        trace_context: Bytes,
        #[prost(uint32, optional, tag = "13")]
        key_id: Option<u32>,
        #[prost(bytes = "bytes", tag = "14")]
        payload: Bytes,
    }

    impl ByProst {
        fn wire(&self) -> Wire<'_> {
            Wire {
                format: self.format,
                persistence_id: &self.persistence_id,
                seq_nr: self.seq_nr,
                epoch: self.epoch,
                activation: self.activation,
                writer: &self.writer,
                timestamp: self.timestamp,
                manifest: &self.manifest,
                schema_version: self.schema_version,
                codec: self.codec,
                tags: self.tags.iter().map(AsRef::as_ref).collect(),
                trace_context: &self.trace_context,
                key_id: self.key_id,
                payload: &self.payload,
            }
        }
    }

    fn short() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    prop_compose! {
        fn messages()(
            (format, schema_version, codec) in any::<(u32, u32, u32)>(),
            (seq_nr, epoch, activation, timestamp) in any::<(u64, u64, u64, u64)>(),
            [persistence_id, writer, manifest, trace_context, payload] in [short(), short(), short(), short(), short()],
            tags in prop::collection::vec(short(), 0..4),
            key_id in any::<Option<u32>>(),
        ) -> ByProst {
            ByProst {
                format, persistence_id, seq_nr, epoch, activation, writer, timestamp, manifest, schema_version, codec,
                tags, trace_context, key_id, payload,
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_prost_wrote_it(message in messages()) {
            let bytes = message.encode_to_vec();
            prop_assert_eq!(Wire::read(&bytes).unwrap(), message.wire());
        }

        #[test]
        fn what_is_read_of_changed_bytes_is_what_prost_reads(
            message in messages(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = message.encode_to_vec();
            bytes.extend(more);
            prop_assume!(!bytes.is_empty());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            match (Wire::read(&bytes), ByProst::decode(Bytes::from(bytes.clone()))) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs.wire()),
                (Ok(ours), Err(error)) => prop_assert!(false, "{:?} is refused by prost: {}", ours, error),
                // Groups, and nothing else.
                (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("unknown type"), "{error}"),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
