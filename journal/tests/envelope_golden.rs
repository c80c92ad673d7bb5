//! Envelopes that earlier builds wrote: they are read for ever, and format 1 is written as it always was.
//!
//! `golden/envelope_v1_<name>.bin` has the stored bytes, the `.txt` beside it says what they mean. Never change these files; a new
//! format gets files of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;

use annals_journal::{
    Codec, Envelope, KeyId, Manifest, PersistenceId, Tag, Timestamp, TraceContext, WriterId,
};
use bytes::Bytes;
use support::{event, id, nr, token};

#[test]
fn every_golden_envelope_is_read_as_it_was_meant() {
    for (name, envelope) in samples() {
        let stored = Bytes::from(std::fs::read(golden(name, "bin")).unwrap());
        assert_eq!(Envelope::decode(&stored).unwrap(), envelope, "{name}");
        let (persistence_id, seq_nr) = (&envelope.persistence_id, envelope.seq_nr);
        assert_eq!(Envelope::decode_as(&stored, persistence_id, seq_nr).unwrap(), envelope, "{name}");
    }
}

#[test]
fn an_envelope_is_written_as_it_always_was() {
    for (name, envelope) in samples() {
        assert_eq!(envelope.encode(), std::fs::read(golden(name, "bin")).unwrap(), "{name}");
    }
}

#[test]
fn the_readable_twins_say_what_the_bytes_are() {
    for (name, envelope) in samples() {
        let twin = std::fs::read_to_string(golden(name, "txt")).unwrap();
        assert_eq!(readable(&envelope), twin, "{name}");
    }
}

#[test]
fn every_golden_file_has_a_sample() {
    let mut files: Vec<_> = std::fs::read_dir(golden("", "bin").parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("envelope_v1_"))
        .collect();
    let mut expected: Vec<_> =
        samples().iter().flat_map(|(name, _)| [golden(name, "bin"), golden(name, "txt")]).collect();
    files.sort();
    expected.sort();
    assert_eq!(files, expected);
}

#[test]
fn the_digest_of_an_event_never_changes() {
    let digests: Vec<_> = samples().iter().map(|(_, envelope)| hex(&envelope.digest().0[..8])).collect();
    assert_eq!(digests, DIGESTS);
}

/// The beginnings of the samples' digests.
const DIGESTS: [&str; 4] = ["27ba2dd2ef22b390", "c04ac71a4d86a8b3", "6df76d39b602ed68", "0206e1a0f748a1ce"];

fn samples() -> [(&'static str, Envelope); 4] {
    let plain = event(&id("plain"), 1, token(1, 1));
    let full = Envelope {
        persistence_id: PersistenceId::new("account", "Zoë|eu").unwrap(),
        seq_nr: nr(300),
        token: token(70_000, 129),
        writer: WriterId::from_bytes(std::array::from_fn(|n| u8::try_from(n * 17).unwrap())),
        timestamp: Timestamp::from_micros(1_795_421_730_000_001),
        manifest: Manifest::new("account.deposited").unwrap(),
        schema_version: 3,
        codec: Codec::Protobuf,
        tags: ["vip", "größe", "vip"].map(|label| Tag::new(label).unwrap()).into(),
        trace_context: TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        key_id: Some(KeyId(7)),
        payload: Bytes::from((0..=255).collect::<Vec<u8>>()),
    };
    let sealed_by_key_zero = Envelope { key_id: Some(KeyId(0)), ..event(&id("sealed"), 2, token(1, 2)) };
    let largest_numbers = Envelope {
        seq_nr: annals_journal::SeqNr::MAX,
        token: token(u64::MAX, u64::MAX),
        timestamp: Timestamp::from_micros(u64::MAX),
        schema_version: u32::MAX,
        codec: Codec::Custom(u32::MAX),
        key_id: Some(KeyId(u32::MAX)),
        payload: Bytes::new(),
        ..event(&id("largest"), 1, token(1, 1))
    };
    [("plain", plain), ("full", full), ("key_zero", sealed_by_key_zero), ("largest", largest_numbers)]
}

fn golden(name: &str, extension: &str) -> PathBuf {
    let file = format!("tests/golden/envelope_v1_{name}.{extension}");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn readable(envelope: &Envelope) -> String {
    let mut text = String::new();
    let tags: Vec<_> = envelope.tags.iter().map(Tag::as_str).collect();
    writeln!(text, "persistence_id  {}", envelope.persistence_id).unwrap();
    writeln!(text, "seq_nr          {}", envelope.seq_nr).unwrap();
    writeln!(text, "token           {}", envelope.token).unwrap();
    writeln!(text, "writer          {}", envelope.writer).unwrap();
    writeln!(text, "timestamp       {} us", envelope.timestamp.as_micros()).unwrap();
    writeln!(text, "manifest        {}", envelope.manifest).unwrap();
    writeln!(text, "schema_version  {}", envelope.schema_version).unwrap();
    writeln!(text, "codec           {}", envelope.codec).unwrap();
    writeln!(text, "tags            {tags:?}").unwrap();
    writeln!(text, "trace_context   {:?}", envelope.trace_context.as_ref().map(TraceContext::as_str))
        .unwrap();
    writeln!(text, "key_id          {:?}", envelope.key_id.map(|key| key.0)).unwrap();
    writeln!(text, "payload         {}", hex(&envelope.payload)).unwrap();
    writeln!(text, "stored          {}", hex(&envelope.encode())).unwrap();
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
