//! The stored form of snapshots: old files stay readable for ever, and rotten bytes are errors.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use annals_journal::{Codec, Epoch, EventDigest, KeyId, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use annals_snapshot::{InvalidSnapshot, Snapshot};
use bytes::Bytes;
use proptest::prelude::*;

fn plain() -> Snapshot {
    Snapshot {
        persistence_id: PersistenceId::parse("account|älice").unwrap(),
        seq_nr: SeqNr::new(500).unwrap(),
        token: Token::new(Epoch(7), 3),
        last_event: EventDigest(std::array::from_fn(|n| n as u8)),
        timestamp: Timestamp::from_micros(1_795_421_730_000_001),
        manifest: Manifest::new("account.state").unwrap(),
        schema_version: 2,
        codec: Codec::Json,
        key_id: None,
        payload: Bytes::from_static(br#"{"cents":4200}"#),
    }
}

fn sealed() -> Snapshot {
    Snapshot {
        seq_nr: SeqNr::MAX,
        codec: Codec::Custom(99),
        key_id: Some(KeyId(0)),
        payload: Bytes::from_static(&[0, 255, 1, 254]),
        ..plain()
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn golden_files_are_read_and_written_alike() {
    for (name, snapshot) in [("plain-1.snapshot", plain()), ("sealed-1.snapshot", sealed())] {
        let path = golden(name);
        if std::env::var_os("ANNALS_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, snapshot.encode()).unwrap();
        }
        let stored = Bytes::from(std::fs::read(&path).unwrap());
        assert_eq!(Snapshot::decode(&stored), Ok(snapshot.clone()), "{name}");
        assert_eq!(snapshot.encode(), stored, "{name}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let stored = plain().encode();
    for bit in 0..stored.len() * 8 {
        let mut bytes = stored.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Snapshot::decode(&bytes.into()).expect_err("a flipped bit goes unnoticed");
        assert!(
            matches!(error, InvalidSnapshot::Checksum | InvalidSnapshot::Malformed { .. }),
            "bit {bit}: {error}"
        );
    }
}

#[test]
fn every_cut_is_an_error() {
    let stored = plain().encode();
    for len in 0..stored.len() {
        assert!(Snapshot::decode(&stored.slice(..len)).is_err(), "{len} bytes");
    }
}

#[test]
fn a_snapshot_in_anothers_place_is_misplaced() {
    let stored = plain().encode();
    let other = PersistenceId::parse("account|bob").unwrap();
    for (id, seq_nr) in [(&other, plain().seq_nr), (&plain().persistence_id, SeqNr::FIRST)] {
        let error = Snapshot::decode_as(&stored, id, seq_nr).unwrap_err();
        assert_eq!(error.to_string(), "the row holds account|älice #500: it was moved or overwritten");
    }
    assert_eq!(Snapshot::decode_as(&stored, &plain().persistence_id, plain().seq_nr), Ok(plain()));
}

#[test]
fn fields_that_cannot_be_are_named() {
    // Number 0, a digest of 31 bytes, and format 2, each under a right checksum.
    for (find, replace, expected) in [
        (&[0x18, 0xf4, 0x03][..], &[0x18, 0x80, 0x00][..], "invalid sequence number: 0"),
        (&[0x08, 0x01][..], &[0x08, 0x02][..], "snapshot format 2 is newer than 1"),
        (&[0x08, 0x01][..], &[0x08, 0x00][..], "invalid format: 0"),
        (&[0x50, 0x01][..], &[0x50, 0x09][..], "invalid codec: 9"),
        (&[0x32, 0x20, 0x00][..], &[0x32, 0x1f][..], "invalid digest of the last event"),
    ] {
        let stored = plain().encode();
        let body = &stored[..stored.len() - 5];
        let at = body.windows(find.len()).position(|window| window == find).expect("the field is there");
        let mut forged = [&body[..at], replace, &body[at + find.len()..]].concat();
        let checksum = crc32fast::hash(&forged);
        forged.push((15 << 3) | 5);
        forged.extend(checksum.to_le_bytes());
        let error = Snapshot::decode(&forged.into()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error:?} instead of {expected:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        seq_nr in 1..=SeqNr::MAX.get(), epoch: u64, activation: u64, digest: [u8; 32], micros: u64,
        schema_version: u32, key: Option<u32>, payload: Vec<u8>,
    ) {
        let snapshot = Snapshot {
            seq_nr: SeqNr::new(seq_nr).unwrap(),
            token: Token::new(Epoch(epoch), activation),
            last_event: EventDigest(digest),
            timestamp: Timestamp::from_micros(micros),
            schema_version,
            key_id: key.map(KeyId),
            payload: payload.into(),
            ..plain()
        };
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn rubbish_never_panics(mut bytes: Vec<u8>, checksum: bool) {
        if checksum {
            let sum = crc32fast::hash(&bytes);
            bytes.push((15 << 3) | 5);
            bytes.extend(sum.to_le_bytes());
        }
        let _ = Snapshot::decode(&bytes.into());
    }
}
