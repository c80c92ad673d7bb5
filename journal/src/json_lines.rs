//! A journal as text: one envelope a line, for files that people read, cut, mask and commit.
//!
//! ```text
//! {"persistence_id":"loan|173688","seq_nr":1,"timestamp":1317422324546000,"manifest":"loan.submitted",
//!  "schema_version":1,"codec":1,"tags":[],"epoch":3,"activation":1,"writer":"…","payload":{"at":"…"}}      (one line)
//! {"persistence_id":"loan|173691","deleted_to":4}
//! {"persistence_id":"loan|173702","erased_to":9}
//! ```
//!
//! Lines are ordered by persistence id (by its bytes), then by number. Numbers and names are those of the stored envelope.
//! `payload` is the payload as it is stored, when that is JSON on one line; otherwise `payload_base64` has its bytes. Required are
//! `persistence_id`, `seq_nr`, `manifest` and the payload; the rest has defaults, for lines written by hand. A `deleted_to` stands
//! where events were deleted, an `erased_to` where the key of all events between the line before and this number was destroyed. A line with `"snapshot":true` is no event, and readers of events pass over it.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    Codec, Envelope, Epoch, Journal, JournalError, KeyId, Manifest, PersistenceId, ReplayRange, Replayed,
    SeqNr, Tag, Timestamp, Token, TraceContext, WriterId,
};

/// Writes a journal as JSON lines, in the form that the test kit's `Replay` reads; answers how many events it wrote.
///
/// One line an event: `persistence_id`, `seq_nr`, `timestamp` (microseconds), `manifest`, `schema_version`, `codec` (1 JSON, 2
/// protobuf, 64.. the user's own), `tags`, `epoch`, `activation`, `writer`, and the payload as it is stored: in `payload` when it is
/// JSON, in `payload_base64` otherwise. Where events were deleted, a line has `deleted_to`; where they were erased, `erased_to`. Lines are ordered by persistence id,
/// then by number.
///
/// # Errors
/// [`ExportError`] when the journal cannot be read or `out` cannot be written; what was written before stays.
pub async fn export(journal: &dyn Journal, out: &mut (dyn Write + Send)) -> Result<u64, ExportError> {
    let mut after: Option<PersistenceId> = None;
    let mut events = 0;
    loop {
        let ids = journal.persistence_ids(after.as_ref(), IDS_A_PAGE).await?;
        for id in &ids {
            let mut stream = journal.replay(ReplayRange::all(id));
            while let Some(item) = stream.try_next().await? {
                match &item {
                    Replayed::Event(event) => {
                        events += 1;
                        write_event(out, &event.envelope)?;
                    }
                    Replayed::Deleted { to, .. } => write_deleted(out, id, *to)?,
                    Replayed::Erased { to, .. } => write_erased(out, id, *to)?,
                }
            }
        }
        if ids.len() < IDS_A_PAGE {
            out.flush()?;
            return Ok(events);
        }
        after = ids.last().cloned();
    }
}

/// Why a journal could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The lines cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Writes an event as one line.
///
/// # Errors
/// Those of `out`.
pub fn write_event(out: &mut (dyn Write + Send), envelope: &Envelope) -> io::Result<()> {
    write_line(out, &Line::of(envelope))
}

/// Writes the line that says that an id's events up to a number were deleted.
///
/// # Errors
/// Those of `out`.
pub fn write_deleted(out: &mut (dyn Write + Send), id: &PersistenceId, to: SeqNr) -> io::Result<()> {
    write_line(out, &Line { deleted_to: Some(to.get()), ..Line::without_event(id) })
}

/// Writes the line that says that the key of an id's events up to a number was destroyed: of all that have no line.
///
/// # Errors
/// Those of `out`.
pub fn write_erased(out: &mut (dyn Write + Send), id: &PersistenceId, to: SeqNr) -> io::Result<()> {
    write_line(out, &Line { erased_to: Some(to.get()), ..Line::without_event(id) })
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineItem {
    /// An event.
    Event(Box<Envelope>),
    /// The id's events up to this number were deleted.
    Deleted {
        /// The last of them.
        to: SeqNr,
    },
    /// The id's events up to this number were erased, as far as they have no line.
    Erased {
        /// The last of them.
        to: SeqNr,
    },
    /// A snapshot, which a reader of events passes over. Not of this crate: `annals export --snapshots` writes it.
    Snapshot,
}

/// Which id a line is about, for handing the line on to whoever reads it.
///
/// # Errors
/// [`InvalidLine`] when it is no line.
pub fn about(line: &str) -> Result<Cow<'_, str>, InvalidLine> {
    #[derive(Deserialize)]
    struct About<'a> {
        #[serde(borrow)]
        persistence_id: Cow<'a, str>,
    }
    let about: About<'_> = serde_json::from_str(line).map_err(InvalidLine::because)?;
    Ok(about.persistence_id)
}

/// Why a text is no line; the message names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLine(String);

impl InvalidLine {
    fn because(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

/// See the module.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    persistence_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq_nr: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    timestamp: u64,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    manifest: Cow<'a, str>,
    #[serde(default = "one")]
    schema_version: u32,
    #[serde(default = "one")]
    codec: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    activation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_context: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_to: Option<u64>,
    #[serde(default, skip_serializing)]
    snapshot: bool,
}

impl<'a> Line<'a> {
    fn of(envelope: &'a Envelope) -> Self {
        let json = (envelope.codec == Codec::Json && envelope.key_id.is_none())
            .then(|| on_one_line(&envelope.payload))
            .flatten();
        let payload_base64 = json.is_none().then(|| STANDARD.encode(&envelope.payload));
        Self {
            persistence_id: envelope.persistence_id.as_str().into(),
            seq_nr: envelope.seq_nr.get(),
            timestamp: envelope.timestamp.as_micros(),
            manifest: envelope.manifest.as_str().into(),
            schema_version: envelope.schema_version,
            codec: envelope.codec.number(),
            tags: envelope.tags.iter().map(|tag| tag.as_str().into()).collect(),
            epoch: envelope.token.epoch.0,
            activation: envelope.token.activation,
            writer: Some(Uuid::from_bytes(*envelope.writer.as_bytes())),
            trace_context: envelope.trace_context.as_ref().map(|context| context.as_str().into()),
            key_id: envelope.key_id.map(|key| key.0),
            payload: json,
            payload_base64,
            deleted_to: None,
            erased_to: None,
            snapshot: false,
        }
    }

    fn without_event(id: &'a PersistenceId) -> Self {
        Self {
            persistence_id: id.as_str().into(),
            seq_nr: 0,
            timestamp: 0,
            manifest: "".into(),
            schema_version: 1,
            codec: 1,
            tags: Vec::new(),
            epoch: 0,
            activation: 0,
            writer: None,
            trace_context: None,
            key_id: None,
            payload: None,
            payload_base64: None,
            deleted_to: None,
            erased_to: None,
            snapshot: false,
        }
    }

    fn into_envelope(self, id: &PersistenceId) -> Result<Envelope, InvalidLine> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(json), None) => Bytes::from(String::from(Box::<str>::from(json))),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|error| InvalidLine(format!("\"payload_base64\": {error}")))?
                .into(),
            _ => return Err(InvalidLine::because("needs either \"payload\" or \"payload_base64\"")),
        };
        let seq_nr = SeqNr::new(self.seq_nr).filter(|seq_nr| *seq_nr >= SeqNr::FIRST);
        let tags: Result<Vec<Tag>, _> = self.tags.iter().map(|tag| Tag::new(tag)).collect();
        Ok(Envelope {
            persistence_id: id.clone(),
            seq_nr: seq_nr.ok_or_else(|| InvalidLine::because("needs \"seq_nr\", from 1"))?,
            token: Token::new(Epoch(self.epoch), self.activation),
            writer: WriterId::from_bytes(self.writer.unwrap_or_default().into_bytes()),
            timestamp: Timestamp::from_micros(self.timestamp),
            manifest: Manifest::new(&self.manifest).map_err(InvalidLine::because)?,
            schema_version: self.schema_version,
            codec: Codec::from_number(self.codec)
                .ok_or_else(|| InvalidLine(format!("unknown \"codec\" {}", self.codec)))?,
            tags: tags.map_err(InvalidLine::because)?,
            trace_context: self.trace_context.as_deref().and_then(TraceContext::new),
            key_id: self.key_id.map(KeyId),
            payload,
        })
    }
}

/// Reads a line about an id, see [`about`].
///
/// # Errors
/// [`InvalidLine`] names the field that is wrong.
pub fn read(line: &str, id: &PersistenceId) -> Result<LineItem, InvalidLine> {
    let line: Line<'_> = serde_json::from_str(line).map_err(InvalidLine::because)?;
    if line.snapshot {
        return Ok(LineItem::Snapshot);
    }
    if let Some(to) = line.deleted_to {
        let to = SeqNr::new(to).ok_or_else(|| InvalidLine::because("\"deleted_to\" is too large"))?;
        return Ok(LineItem::Deleted { to });
    }
    if let Some(to) = line.erased_to {
        let to = SeqNr::new(to).ok_or_else(|| InvalidLine::because("\"erased_to\" is too large"))?;
        return Ok(LineItem::Erased { to });
    }
    line.into_envelope(id).map(|envelope| LineItem::Event(Box::new(envelope)))
}

fn write_line(out: &mut (dyn Write + Send), line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// The payload as it stands, when a line can hold it.
fn on_one_line(payload: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok().filter(|text| !text.contains(['\n', '\r']))?;
    // What is around the value would be lost.
    let json = RawValue::from_string(text.to_owned()).ok()?;
    (json.get() == text).then_some(json)
}

/// A payload of `null` is a payload.
fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(json).map(Some)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn one() -> u32 {
    1
}

/// A few thousand bytes of ids at a time.
const IDS_A_PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(codec: Codec, payload: &'static [u8]) -> Envelope {
        Envelope {
            persistence_id: PersistenceId::new("loan", "1").unwrap(),
            seq_nr: SeqNr::FIRST,
            token: Token::new(Epoch(2), 3),
            writer: WriterId::from_bytes([4; 16]),
            timestamp: Timestamp::from_micros(5),
            manifest: Manifest::new("loan.submitted").unwrap(),
            schema_version: 2,
            codec,
            tags: vec![Tag::new("north").unwrap()],
            trace_context: TraceContext::new("00-ab-cd-01"),
            key_id: None,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn every_payload_comes_back_byte_by_byte() {
        let payloads: [(Codec, &[u8]); 6] = [
            (Codec::Json, br#"{"b":1.0,"a":[ 1e3,"x\ny"]}"#),
            (Codec::Json, b"null"),
            (Codec::Json, b"{\n}"),
            (Codec::Json, b" 1"),
            (Codec::Protobuf, &[0, 255, 10]),
            (Codec::Custom(70), b"{}"),
        ];
        for (codec, payload) in payloads {
            let before = envelope(codec, payload);
            let line = serde_json::to_string(&Line::of(&before)).unwrap();
            assert!(!line.contains('\n'), "{line}");
            let Ok(LineItem::Event(after)) = read(&line, &before.persistence_id) else { panic!("{line}") };
            assert_eq!(*after, before);
        }
    }

    #[test]
    fn a_line_by_hand_needs_little() {
        let id = PersistenceId::new("loan", "1").unwrap();
        let line = r#"{"persistence_id":"loan|1","seq_nr":1,"manifest":"loan.submitted","payload":{}}"#;
        assert!(matches!(read(line, &id), Ok(LineItem::Event(_))));
    }

    #[test]
    fn what_is_gone_has_a_line() {
        let id = PersistenceId::new("loan", "1").unwrap();
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut line = Vec::new();
            write(&mut line);
            String::from_utf8(line).unwrap()
        };
        let deleted = written(&|out| write_deleted(out, &id, SeqNr::FIRST).unwrap());
        assert_eq!(read(&deleted, &id), Ok(LineItem::Deleted { to: SeqNr::FIRST }));
        let erased = written(&|out| write_erased(out, &id, SeqNr::FIRST).unwrap());
        assert_eq!(
            erased.lines().collect::<Vec<_>>(),
            [r#"{"persistence_id":"loan|1","schema_version":1,"codec":1,"erased_to":1}"#]
        );
        assert_eq!(read(&erased, &id), Ok(LineItem::Erased { to: SeqNr::FIRST }));
    }

    #[test]
    fn a_snapshot_is_passed_over() {
        let id = PersistenceId::new("loan", "1").unwrap();
        assert_eq!(
            read(r#"{"persistence_id":"loan|1","seq_nr":1,"snapshot":true,"payload":{}}"#, &id),
            Ok(LineItem::Snapshot)
        );
    }

    #[test]
    fn rubbish_is_an_error_that_names_the_field() {
        let id = PersistenceId::new("loan", "1").unwrap();
        for (line, says) in [
            ("rubbish", "expected value"),
            (r#"{"persistence_id":"loan|1"}"#, "payload"),
            (r#"{"persistence_id":"loan|1","payload":1,"manifest":"a.b"}"#, "seq_nr"),
            (r#"{"persistence_id":"loan|1","payload_base64":"?","manifest":"a.b"}"#, "payload_base64"),
            (r#"{"persistence_id":"loan|1","payload":1,"seq_nr":1,"manifest":"a.b","codec":9}"#, "codec"),
        ] {
            let Err(error) = read(line, &id) else { panic!("{line}") };
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
