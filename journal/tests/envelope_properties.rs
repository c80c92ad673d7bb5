//! What holds for every envelope, and for bytes that are none.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use annals_journal::{
    Codec, Envelope, InvalidEnvelope, KeyId, Manifest, PersistenceId, SeqNr, Tag, Timestamp, TraceContext,
    WriterId,
};
use bytes::Bytes;
use proptest::prelude::*;
use support::{event, id, nr, token};

proptest! {
    #[test]
    fn an_envelope_comes_back_from_its_bytes(envelope in envelopes()) {
        let stored = envelope.encode();
        let (id, seq_nr) = (&envelope.persistence_id, envelope.seq_nr);
        prop_assert_eq!(&Envelope::decode(&stored).unwrap(), &envelope);
        prop_assert_eq!(&Envelope::decode_as(&stored, id, seq_nr).unwrap(), &envelope);
        prop_assert_eq!(envelope.encode(), stored);
    }

    #[test]
    fn an_envelope_in_another_place_is_misplaced(envelope in envelopes(), other in envelopes()) {
        prop_assume!(envelope.persistence_id != other.persistence_id);
        let stored = envelope.encode();
        let misplaced = |found| matches!(found, Err(InvalidEnvelope::Misplaced { .. }));
        prop_assert!(misplaced(Envelope::decode_as(&stored, &other.persistence_id, envelope.seq_nr)));
        let next = if envelope.seq_nr == SeqNr::MAX { envelope.seq_nr.previous() } else { envelope.seq_nr.next() };
        prop_assert!(misplaced(Envelope::decode_as(&stored, &envelope.persistence_id, next)));
    }

    #[test]
    fn every_flipped_bit_is_found(envelope in envelopes(), bit in any::<prop::sample::Index>()) {
        let mut stored = envelope.encode().to_vec();
        let bit = bit.index(stored.len() * 8);
        stored[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Envelope::decode(&stored.into()).is_err());
    }

    #[test]
    fn every_truncation_is_found(envelope in envelopes(), len in any::<prop::sample::Index>()) {
        let stored = envelope.encode();
        prop_assert!(Envelope::decode(&stored.slice(..len.index(stored.len()))).is_err());
    }

    #[test]
    fn random_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Envelope::decode(&bytes.into()).is_err());
    }

    /// The checksum is right, so that the decoder behind it sees the bytes.
    #[test]
    fn random_fields_are_an_error_and_never_a_panic(mut body in prop::collection::vec(any::<u8>(), 0..200)) {
        let checksum = crc32fast::hash(&body);
        body.push((15 << 3) | 5);
        body.extend(checksum.to_le_bytes());
        prop_assert!(Envelope::decode(&body.into()).is_err());
    }

    /// A valid envelope in which some bytes were replaced, with the right checksum: decoded or an error, never a panic.
    #[test]
    fn a_forged_envelope_is_never_a_panic(
        envelope in envelopes(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let stored = envelope.encode();
        let mut body = stored[..stored.len() - 5].to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let checksum = crc32fast::hash(&body);
        body.push((15 << 3) | 5);
        body.extend(checksum.to_le_bytes());
        if let Ok(decoded) = Envelope::decode(&body.into()) {
            let _ = (decoded.encode(), decoded.digest(), decoded.trace_context.as_ref().map(TraceContext::as_str));
        }
    }
}

#[test]
fn every_single_flipped_bit_of_an_envelope_is_found() {
    let envelope = Envelope {
        tags: vec![Tag::new("a").unwrap()],
        key_id: Some(KeyId(1)),
        trace_context: TraceContext::new("00-1-2-01"),
        ..event(&id("bits"), 7, token(1, 2))
    };
    let stored = envelope.encode();
    for bit in 0..stored.len() * 8 {
        let mut changed = stored.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let found = Envelope::decode(&changed.into());
        assert!(found.is_err(), "bit {bit} of {} does not matter", stored.len() * 8);
    }
}

#[test]
fn a_newer_format_is_named_and_refused() {
    let stored = event(&id("new"), 1, token(1, 1)).encode();
    let mut body = stored[..stored.len() - 5].to_vec();
    assert_eq!(body[..2], [1 << 3, 1]);
    body[1] = 2;
    let checksum = crc32fast::hash(&body);
    body.push((15 << 3) | 5);
    body.extend(checksum.to_le_bytes());
    let error = Envelope::decode(&body.into()).unwrap_err();
    assert_eq!(error, InvalidEnvelope::NewerFormat { found: 2, known: 1 });
    assert!(error.to_string().contains("run a newer build"), "{error}");
}

#[test]
fn the_digest_tells_events_of_one_number_apart_and_survives_rewriting() {
    let one = event(&id("a"), 7, token(1, 2));
    let rewritten = Envelope {
        payload: Bytes::from_static(b"new"),
        schema_version: 2,
        manifest: Manifest::new("other").unwrap(),
        tags: vec![Tag::new("t").unwrap()],
        key_id: Some(KeyId(3)),
        codec: Codec::Protobuf,
        ..one.clone()
    };
    assert_eq!(one.digest(), rewritten.digest());
    for other in [
        Envelope { persistence_id: id("b"), ..one.clone() },
        Envelope { seq_nr: nr(8), ..one.clone() },
        Envelope { token: token(2, 2), ..one.clone() },
        Envelope { token: token(1, 3), ..one.clone() },
        Envelope { writer: WriterId::from_bytes([8; 16]), ..one.clone() },
        Envelope { timestamp: Timestamp::from_micros(1), ..one.clone() },
    ] {
        assert_ne!(one.digest(), other.digest(), "{other:?}");
    }
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let name = ("[a-zA-Z0-9._-]{1,64}", "[^\\p{Cc}]{1,40}");
    let id = name.prop_map(|(kind, entity)| PersistenceId::new(&kind, &entity).unwrap());
    let numbers = (1..=SeqNr::MAX.get(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    let writer = any::<[u8; 16]>().prop_map(WriterId::from_bytes);
    let manifest = "[a-zA-Z0-9._-]{1,192}".prop_map(|name| Manifest::new(&name).unwrap());
    let codec =
        prop_oneof![Just(Codec::Json), Just(Codec::Protobuf), (64..=u32::MAX).prop_map(Codec::Custom)];
    let tag = "[^\\p{Cc}]{1,30}".prop_map(|label| Tag::new(&label).unwrap());
    let tags = prop::collection::vec(tag, 0..=Tag::MAX_PER_EVENT);
    let trace = prop::option::of("[0-9a-f-]{1,60}".prop_map(|text| TraceContext::new(&text).unwrap()));
    let key = prop::option::of(any::<u32>().prop_map(KeyId));
    let payload = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (id, numbers, writer, manifest, codec, tags, trace, key, payload).prop_map(
        |(persistence_id, numbers, writer, manifest, codec, tags, trace_context, key_id, payload)| {
            let (seq_nr, epoch, activation, timestamp, schema_version) = numbers;
            Envelope {
                persistence_id,
                seq_nr: nr(seq_nr),
                token: token(epoch, activation),
                writer,
                timestamp: Timestamp::from_micros(timestamp),
                manifest,
                schema_version,
                codec,
                tags,
                trace_context,
                key_id,
                payload,
            }
        },
    )
}
