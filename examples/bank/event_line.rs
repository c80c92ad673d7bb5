//! A stored event as a line of JSON.

use annals::journal::{JournalError, Replayed, StoredEvent};
use serde::Serialize;
use serde_json::{Map, Value};

/// One line for one item of a replay: the number, what and when, and the event's own fields.
///
/// ```text
/// {"seq_nr":1,"event":"account.deposited","time":"2026-11-23T08:15:30.000001Z","cents":100,"request_id":"a-1", …}
/// {"seq_nr":7,"event":"deleted","from":1}
/// ```
pub(crate) fn event_line(item: &Replayed) -> Result<String, JournalError> {
    match item {
        Replayed::Event(StoredEvent { envelope, .. }) => {
            let corrupt = |error| JournalError::corrupt(&envelope.persistence_id, envelope.seq_nr, error);
            line(&Event {
                seq_nr: envelope.seq_nr.get(),
                event: envelope.manifest.as_str(),
                time: envelope.timestamp.to_string(),
                fields: serde_json::from_slice(&envelope.payload).map_err(corrupt)?,
            })
            .map_err(corrupt)
        }
        Replayed::Deleted { from, to } => {
            Ok(format!("{{\"seq_nr\":{to},\"event\":\"deleted\",\"from\":{from}}}\n"))
        }
        Replayed::Erased { from, to } => {
            Ok(format!("{{\"seq_nr\":{to},\"event\":\"erased\",\"from\":{from}}}\n"))
        }
        _ => Ok(String::new()),
    }
}

#[derive(Serialize)]
struct Event<'a> {
    seq_nr: u64,
    event: &'a str,
    time: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

fn line(event: &Event<'_>) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(event)?;
    line.push('\n');
    Ok(line)
}
