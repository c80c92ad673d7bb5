//! Shared by the tests of this crate.
#![allow(dead_code, clippy::unwrap_used, reason = "a part of each test binary")]

use annals_journal::{
    AtomicWrite, Codec, Envelope, Epoch, Manifest, PersistenceId, SeqNr, Timestamp, Token, Write, WriterId,
};
use bytes::Bytes;

pub(crate) fn id(name: &str) -> PersistenceId {
    PersistenceId::new("test", name).unwrap()
}

pub(crate) fn token(epoch: u64, activation: u64) -> Token {
    Token::new(Epoch(epoch), activation)
}

pub(crate) fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

pub(crate) fn event(id: &PersistenceId, number: u64, token: Token) -> Envelope {
    Envelope {
        persistence_id: id.clone(),
        seq_nr: nr(number),
        token,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1_700_000_000_000_000 + number),
        manifest: Manifest::new("test.happened").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: Bytes::from(format!("{{\"number\":{number}}}")),
    }
}

/// An append of `count` events behind `expected`.
pub(crate) fn append(id: &PersistenceId, token: Token, expected: u64, count: u64) -> AtomicWrite {
    AtomicWrite {
        persistence_id: id.clone(),
        expected: nr(expected),
        token,
        events: (1..=count).map(|n| event(id, expected + n, token)).collect(),
        mark: None,
    }
}

pub(crate) fn write(id: &PersistenceId, token: Token, expected: u64, count: u64) -> Write {
    Write::Append(append(id, token, expected, count))
}
