//! A snapshot as a line beside the [lines of events](annals_journal::json_lines).
//!
//! ```text
//! {"persistence_id":"account|alice","seq_nr":500,"snapshot":true,"timestamp":1317422324546000,"manifest":"account.state",
//!  "schema_version":1,"codec":1,"epoch":3,"activation":1,"last_event":"<64 hex digits>","payload":{"cents":300}}    (one line)
//! ```
//!
//! It stands behind the events of its id. `last_event` is the digest of the event that it has seen last.

use std::io::{self, Write};

use annals_journal::{Codec, Epoch, EventDigest, KeyId, Manifest, PersistenceId, SeqNr, Timestamp, Token};
use annals_snapshot::Snapshot;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Writes a snapshot as one line.
pub(crate) fn write(out: &mut (impl Write + ?Sized), snapshot: &Snapshot) -> io::Result<()> {
    let json = (snapshot.codec == Codec::Json && snapshot.key_id.is_none())
        .then(|| on_one_line(&snapshot.payload))
        .flatten();
    let line = Line {
        persistence_id: snapshot.persistence_id.as_str().to_owned(),
        seq_nr: snapshot.seq_nr.get(),
        snapshot: true,
        timestamp: snapshot.timestamp.as_micros(),
        manifest: snapshot.manifest.as_str().to_owned(),
        schema_version: snapshot.schema_version,
        codec: snapshot.codec.number(),
        epoch: snapshot.token.epoch.0,
        activation: snapshot.token.activation,
        last_event: hex(&snapshot.last_event.0),
        key_id: snapshot.key_id.map(|key| key.0),
        payload_base64: json.is_none().then(|| STANDARD.encode(&snapshot.payload)),
        payload: json,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Reads a line about an id.
pub(crate) fn read(line: &str, id: &PersistenceId) -> anyhow::Result<Snapshot> {
    let line: Line = serde_json::from_str(line)?;
    let payload = match (line.payload, line.payload_base64) {
        (Some(json), None) => String::from(Box::<str>::from(json)).into(),
        (None, Some(text)) => STANDARD.decode(text).context("\"payload_base64\"")?.into(),
        _ => bail!("needs either \"payload\" or \"payload_base64\""),
    };
    Ok(Snapshot {
        persistence_id: id.clone(),
        seq_nr: SeqNr::new(line.seq_nr)
            .filter(|seq_nr| *seq_nr >= SeqNr::FIRST)
            .context("needs \"seq_nr\", from 1")?,
        token: Token::new(Epoch(line.epoch), line.activation),
        last_event: EventDigest(unhex(&line.last_event).context("\"last_event\" must have 64 hex digits")?),
        timestamp: Timestamp::from_micros(line.timestamp),
        manifest: Manifest::new(&line.manifest)?,
        schema_version: line.schema_version,
        codec: Codec::from_number(line.codec).with_context(|| format!("unknown \"codec\" {}", line.codec))?,
        key_id: line.key_id.map(KeyId),
        payload,
    })
}

/// See the module.
#[derive(Serialize, Deserialize)]
struct Line {
    persistence_id: String,
    seq_nr: u64,
    snapshot: bool,
    timestamp: u64,
    manifest: String,
    schema_version: u32,
    codec: u32,
    epoch: u64,
    activation: u64,
    last_event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<u32>,
    // A payload of `null` is a payload.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// The payload as it stands, when a line can hold it.
fn on_one_line(payload: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok().filter(|text| !text.contains(['\n', '\r']))?;
    let json = RawValue::from_string(text.to_owned()).ok()?;
    (json.get() == text).then_some(json)
}

fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(json).map(Some)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_byte_by_byte_and_readers_of_events_pass_over_it() {
        let id = PersistenceId::new("account", "alice").unwrap();
        let payloads: [(Codec, &[u8]); 4] = [
            (Codec::Json, b"{\"cents\": 1.0}"),
            (Codec::Json, b"null"),
            (Codec::Json, b"{\n}"),
            (Codec::Protobuf, &[0, 255]),
        ];
        for (codec, payload) in payloads {
            let snapshot = Snapshot {
                persistence_id: id.clone(),
                seq_nr: SeqNr::new(7).unwrap(),
                token: Token::new(Epoch(2), 3),
                last_event: EventDigest([0xa5; 32]),
                timestamp: Timestamp::from_micros(5),
                manifest: Manifest::new("account.state").unwrap(),
                schema_version: 2,
                codec,
                key_id: None,
                payload: payload.to_vec().into(),
            };
            let mut line = Vec::new();
            write(&mut line, &snapshot).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(read(&line, &id).unwrap(), snapshot);
            let item = annals_journal::json_lines::read(&line, &id).unwrap();
            assert_eq!(item, annals_journal::json_lines::LineItem::Snapshot);
        }
        assert!(read(r#"{"persistence_id":"account|alice"}"#, &id).is_err());
    }
}
