//! The table as records of the journal.
//!
//! Values are protobuf; `format` is 1. A key has the manifest, or the writer id as text.
//!
//! ```text
//!  StoredProcess    format, node, until (microseconds), kinds, holds, writes
//!    StoredKind     name, reads: manifest, oldest, newest
//!  StoredWatermark  format, kind, stored versions, raising version, raiser (16 bytes), leaving versions, marks
//!    StoredMark     a leaving version, who removes it (16 bytes)
//!  StoredHold       format, version
//! ```
//!
//! A build that knows no marks leaves them out of what it writes: then it is nobody who removes the version.

use std::collections::{BTreeMap, BTreeSet};

use annals_journal::{JournalError, Manifest, Record, RecordKey, Timestamp, WriterId};
use bytes::Bytes;
use prost::Message;

use super::{Announcement, Process, Watermark};
use crate::Form;

#[derive(Clone, PartialEq, Message)]
struct StoredProcess {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    until: u64,
    #[prost(message, repeated, tag = "4")]
    kinds: Vec<StoredKind>,
    #[prost(message, repeated, tag = "5")]
    holds: Vec<StoredForm>,
    #[prost(message, repeated, tag = "6")]
    writes: Vec<StoredForm>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredKind {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    reads: Vec<StoredRange>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRange {
    #[prost(string, tag = "1")]
    manifest: String,
    #[prost(uint32, tag = "2")]
    oldest: u32,
    #[prost(uint32, tag = "3")]
    newest: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredForm {
    #[prost(string, tag = "1")]
    manifest: String,
    #[prost(uint32, tag = "2")]
    version: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredWatermark {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(uint32, repeated, tag = "3")]
    stored: Vec<u32>,
    #[prost(message, optional, tag = "4")]
    raising: Option<StoredRaising>,
    #[prost(uint32, repeated, tag = "5")]
    leaving: Vec<u32>,
    #[prost(message, repeated, tag = "6")]
    marks: Vec<StoredMark>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMark {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    by: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRaising {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    raiser: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct StoredHold {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint32, tag = "2")]
    version: u32,
}

/// What one record of the table says.
pub(super) enum Entry {
    Hold(Manifest, u32),
    Process(WriterId, Process),
    Watermark(Manifest, Watermark),
}

pub(super) fn hold_key(manifest: &Manifest) -> Result<RecordKey, JournalError> {
    key(HOLD, manifest.as_str())
}

pub(super) fn process_key(id: WriterId) -> Result<RecordKey, JournalError> {
    key(PROCESS, &id.to_string())
}

pub(super) fn watermark_key(manifest: &Manifest) -> Result<RecordKey, JournalError> {
    key(STORED, manifest.as_str())
}

pub(super) fn encode_hold(version: u32) -> Bytes {
    StoredHold { format: FORMAT, version }.encode_to_vec().into()
}

pub(super) fn encode_process(process: &Process) -> Bytes {
    let form =
        |form: &Form| StoredForm { manifest: form.manifest.as_str().to_owned(), version: form.version };
    let announcement = &process.announcement;
    let kinds = announcement.kinds().iter().map(|(kind, reads)| StoredKind {
        name: kind.clone(),
        reads: reads
            .iter()
            .map(|(manifest, reads)| StoredRange {
                manifest: manifest.as_str().to_owned(),
                oldest: *reads.start(),
                newest: *reads.end(),
            })
            .collect(),
    });
    let holds = announcement.holds().iter();
    StoredProcess {
        format: FORMAT,
        node: announcement.node().to_owned(),
        until: process.until.as_micros(),
        kinds: kinds.collect(),
        holds: holds.map(|(manifest, version)| form(&Form::new(manifest.clone(), *version))).collect(),
        writes: process.writes.iter().map(form).collect(),
    }
    .encode_to_vec()
    .into()
}

pub(super) fn encode_watermark(watermark: &Watermark) -> Bytes {
    let bytes = |id: WriterId| Bytes::copy_from_slice(id.as_bytes());
    let marks = watermark.leaving.iter().flat_map(|(version, by)| by.iter().map(|by| (*version, *by)));
    StoredWatermark {
        format: FORMAT,
        kind: watermark.kind.clone(),
        stored: watermark.stored.iter().copied().collect(),
        raising: watermark.raising.map(|(version, raiser)| StoredRaising { version, raiser: bytes(raiser) }),
        leaving: watermark.leaving.keys().copied().collect(),
        marks: marks.map(|(version, by)| StoredMark { version, by: bytes(by) }).collect(),
    }
    .encode_to_vec()
    .into()
}

/// Reads a record whose key begins with [`PREFIX`]; `None`: it is of a later format's own.
pub(super) fn decode(key: &RecordKey, record: &Record) -> Result<Option<Entry>, JournalError> {
    let name = key.as_str();
    let corrupt = |reason: &dyn ToString| JournalError::Corrupt {
        persistence_id: None,
        seq_nr: None,
        reason: format!("record {key}: {}", reason.to_string()),
    };
    let format = |format: u32| {
        let reason = format!("format {format}, this build reads {FORMAT}: run a newer build");
        if format == FORMAT { Ok(()) } else { Err(corrupt(&reason)) }
    };
    let manifest = |name: &str| Manifest::new(name).map_err(|error| corrupt(&error));
    let value = record.value.clone();
    if let Some(name) = name.strip_prefix(HOLD) {
        let stored = StoredHold::decode(value).map_err(|error| corrupt(&error))?;
        format(stored.format)?;
        return Ok(Some(Entry::Hold(manifest(name)?, stored.version)));
    }
    if let Some(name) = name.strip_prefix(STORED) {
        let stored = StoredWatermark::decode(value).map_err(|error| corrupt(&error))?;
        format(stored.format)?;
        let id = |bytes: &[u8]| {
            <[u8; 16]>::try_from(bytes)
                .map(WriterId::from_bytes)
                .map_err(|_| corrupt(&"a process's id has 16 bytes"))
        };
        let raising = match stored.raising {
            None => None,
            Some(raising) => Some((raising.version, id(&raising.raiser)?)),
        };
        let mut leaving: BTreeMap<u32, BTreeSet<WriterId>> =
            stored.leaving.into_iter().map(|version| (version, BTreeSet::new())).collect();
        for mark in stored.marks {
            leaving.entry(mark.version).or_default().insert(id(&mark.by)?);
        }
        let watermark =
            Watermark { kind: stored.kind, stored: stored.stored.into_iter().collect(), raising, leaving };
        return Ok(Some(Entry::Watermark(manifest(name)?, watermark)));
    }
    let Some(name) = name.strip_prefix(PROCESS) else { return Ok(None) };
    let id = writer_id(name).ok_or_else(|| corrupt(&"its name is no writer id"))?;
    let stored = StoredProcess::decode(value).map_err(|error| corrupt(&error))?;
    format(stored.format)?;
    let mut announcement = Announcement::new(stored.node);
    for kind in stored.kinds {
        announcement.host(&kind.name);
        for reads in kind.reads {
            announcement.read(&kind.name, manifest(&reads.manifest)?, reads.oldest..=reads.newest);
        }
    }
    for held in stored.holds {
        announcement.hold(manifest(&held.manifest)?, held.version);
    }
    let writes = stored.writes.iter().map(|form| Ok(Form::new(manifest(&form.manifest)?, form.version)));
    let writes = writes.collect::<Result<_, JournalError>>()?;
    let until = Timestamp::from_micros(stored.until);
    Ok(Some(Entry::Process(id, Process { announcement, until, writes })))
}

fn key(prefix: &str, name: &str) -> Result<RecordKey, JournalError> {
    RecordKey::new(&format!("{prefix}{name}"))
        .map_err(|error| JournalError::rejected(format_args!("record {prefix}{name}"), error.to_string()))
}

/// 32 hexadecimal digits with hyphens between them.
fn writer_id(text: &str) -> Option<WriterId> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut bytes = [0; 16];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(WriterId::from_bytes(bytes))
}

pub(super) const PREFIX: &str = "schema/";
const HOLD: &str = "schema/hold/";
const PROCESS: &str = "schema/process/";
const STORED: &str = "schema/stored/";
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use annals_journal::Revision;

    use super::*;

    fn manifest() -> Manifest {
        Manifest::new("account.moved").unwrap()
    }

    fn record(value: impl Into<Bytes>) -> Record {
        Record { revision: Revision(1), value: value.into() }
    }

    #[test]
    fn what_is_written_is_read() {
        let id = WriterId::from_bytes(*b"0123456789abcdef");
        let mut announcement = Announcement::new("bank");
        announcement.host("order");
        announcement.read("account", manifest(), 1..=u32::MAX);
        announcement.hold(manifest(), 2);
        let writes = [Form::new(manifest(), 2)].into();
        let process = Process { announcement, until: Timestamp::from_micros(77), writes };
        let read = decode(&process_key(id).unwrap(), &record(encode_process(&process))).unwrap();
        assert!(matches!(read, Some(Entry::Process(key, value)) if key == id && value == process));

        let watermark = Watermark {
            kind: "account".into(),
            stored: [1, 3].into(),
            raising: Some((4, id)),
            leaving: [(1, [id, WriterId::from_bytes([7; 16])].into()), (3, BTreeSet::new())].into(),
        };
        let key = watermark_key(&manifest()).unwrap();
        let read = decode(&key, &record(encode_watermark(&watermark))).unwrap();
        assert!(
            matches!(read, Some(Entry::Watermark(key, value)) if key == manifest() && value == watermark)
        );

        let read = decode(&hold_key(&manifest()).unwrap(), &record(encode_hold(7))).unwrap();
        assert!(matches!(read, Some(Entry::Hold(key, 7)) if key == manifest()));
    }

    /// What an older build has stored is read for ever.
    #[test]
    fn the_format_stays() {
        let bytes = b"\x08\x01\x12\x01a\x1a\x02\x01\x02\x22\x14\x08\x03\x12\x100123456789abcdef\x2a\x01\x01";
        let read = decode(&watermark_key(&manifest()).unwrap(), &record(&bytes[..])).unwrap();
        let Some(Entry::Watermark(_, watermark)) = read else { panic!("it is a watermark") };
        assert_eq!(watermark.stored, [1, 2].into());
        assert_eq!(watermark.raising, Some((3, WriterId::from_bytes(*b"0123456789abcdef"))));
        assert_eq!(watermark.leaving, [(1, BTreeSet::new())].into());
        assert_eq!(encode_watermark(&watermark), &bytes[..]);
        let marked = b"\x32\x14\x08\x01\x12\x100123456789abcdef";
        let bytes = [&bytes[..], marked].concat();
        let by = WriterId::from_bytes(*b"0123456789abcdef");
        let marked = Watermark { leaving: [(1, [by].into())].into(), ..watermark };
        assert_eq!(encode_watermark(&marked), &bytes[..]);
    }

    #[test]
    fn a_record_that_is_none_is_corrupt_and_one_that_nobody_knows_is_passed_over() {
        let key = |key: &str| RecordKey::new(key).unwrap();
        for (name, value) in [
            ("schema/hold/account.moved", &b"\xff"[..]),
            ("schema/stored/account.moved", b"\x08\x02"),
            ("schema/process/me", b"\x08\x01"),
        ] {
            assert!(
                matches!(decode(&key(name), &record(value)), Err(JournalError::Corrupt { .. })),
                "{name}"
            );
        }
        assert!(decode(&key("schema/other/x"), &record(&b""[..])).unwrap().is_none());
    }
}
