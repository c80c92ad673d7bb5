use std::collections::BTreeMap;

use annals_journal::{InvalidName, Manifest, PersistenceId, Timestamp};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

mod journal;
mod time;

pub use journal::{LegacyJournal, LegacyRows, LegacySource};

/// How events that something else has stored, as plain JSON rows without an envelope, are events of Annals.
///
/// A row is a JSON object: a line of a file, or a row of a table with its columns as fields. What is in a row stays as it is and becomes
/// the payload of version 1 of a manifest; steps from there are written as from any older version:
/// `#[event(from(("legacy.moved", 1) => step))]`.
///
/// ```
/// use annals_migrations::LegacyMapping;
/// use serde_json::json;
///
/// let mapping: LegacyMapping = serde_json::from_value(json!({
///     "kind": "account",
///     "id": "stream",
///     "event": "type",
///     "payload": "data",
///     "time": "at",
///     "events": {"MoneyMoved": "legacy.moved", "Heartbeat": false},
/// }))?;
/// let row = json!({"stream": "alice", "type": "MoneyMoved", "data": {"cents": 5}, "at": "2019-04-01T12:00:00Z"});
/// let event = mapping.wrap(row.as_object().unwrap())?.unwrap();
/// assert_eq!(event.persistence_id.as_str(), "account|alice");
/// assert_eq!(event.manifest.as_str(), "legacy.moved");
/// assert_eq!(&event.payload[..], br#"{"cents":5}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegacyMapping {
    /// The kind of entity that all rows are of.
    pub kind: String,
    /// The field with the entity's id: a text or a number.
    pub id: String,
    /// What stands before the id in that field, and is cut off; default: nothing.
    #[serde(default)]
    pub strip: String,
    /// The field that says what event it is.
    pub event: String,
    /// The field with the payload, as JSON or as a text that is JSON; default: the row without the fields that are named here.
    #[serde(default)]
    pub payload: Option<String>,
    /// The field that says when: RFC 3339, `2019-04-01 12:00:00` (UTC), or a number; default: 1970.
    #[serde(default)]
    pub time: Option<String>,
    /// What a number in that field counts since 1970.
    #[serde(default)]
    pub time_unit: TimeUnit,
    /// The field by which the rows of one id are ordered: a number or a text; default: they stand in their order.
    #[serde(default)]
    pub order: Option<String>,
    /// The manifest of each event, by what the rows call it; `false` leaves it out.
    pub events: BTreeMap<String, LegacyName>,
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum LegacyName {
    /// It has this manifest.
    Manifest(String),
    /// `false`: it is left out. `true` means nothing, and is refused.
    Taken(bool),
}

/// What a number counts that is a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TimeUnit {
    /// Seconds; they may have a fraction.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// A row, as what is stored in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyEvent {
    /// Whose event it is.
    pub persistence_id: PersistenceId,
    /// What it is; its version is 1, its codec JSON.
    pub manifest: Manifest,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What the row says.
    pub payload: Bytes,
}

/// Why a row is no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// A field that the mapping names is not there.
    #[error("field {field:?} is missing, which the mapping names as its `{what}`")]
    Missing {
        /// What the mapping calls it.
        what: &'static str,
        /// The field.
        field: String,
    },
    /// A field has something else than what it should have.
    #[error("field {field:?} is {value}: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What it has.
        value: String,
        /// What it should have.
        reason: String,
    },
    /// The mapping does not say what the event is.
    #[error(
        "the mapping does not name event {event:?}: give it a manifest under `events`, or leave it out with `{event} = false`"
    )]
    UnknownEvent {
        /// What the row calls it.
        event: String,
    },
    /// No persistence id, or no manifest.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl LegacyMapping {
    /// What a row is as an event; `None`: it is left out.
    ///
    /// # Errors
    /// [`LegacyError`] names the field.
    pub fn wrap(&self, row: &Map<String, Value>) -> Result<Option<LegacyEvent>, LegacyError> {
        let event = text(&self.event, field(row, "event", &self.event)?)?;
        let manifest = match self.events.get(&event) {
            Some(LegacyName::Manifest(manifest)) => Manifest::new(manifest)?,
            Some(LegacyName::Taken(false)) => return Ok(None),
            Some(LegacyName::Taken(true)) | None => return Err(LegacyError::UnknownEvent { event }),
        };
        Ok(Some(LegacyEvent {
            persistence_id: self.persistence_id(row)?,
            manifest,
            timestamp: self.timestamp(row)?,
            payload: self.payload(row)?.to_string().into(),
        }))
    }

    /// Whose event a row is, also one that is left out.
    ///
    /// # Errors
    /// [`LegacyError`] names the field.
    pub fn persistence_id(&self, row: &Map<String, Value>) -> Result<PersistenceId, LegacyError> {
        let id = text(&self.id, field(row, "id", &self.id)?)?;
        let Some(entity) = id.strip_prefix(&self.strip) else {
            return Err(self.wrong(
                &self.id,
                &Value::from(id.clone()),
                format!("it should begin with {:?}", self.strip),
            ));
        };
        Ok(PersistenceId::new(&self.kind, entity)?)
    }

    fn timestamp(&self, row: &Map<String, Value>) -> Result<Timestamp, LegacyError> {
        let Some(name) = &self.time else { return Ok(Timestamp::from_micros(0)) };
        let value = field(row, "time", name)?;
        let micros = match value {
            Value::String(text) => time::parse(text),
            Value::Number(number) => time::since_1970(number, self.time_unit),
            _ => None,
        };
        let reason = "it should be a time from 1970 on, as 2019-04-01T12:00:00Z or as a number";
        micros.map(Timestamp::from_micros).ok_or_else(|| self.wrong(name, value, reason.to_owned()))
    }

    fn payload(&self, row: &Map<String, Value>) -> Result<Value, LegacyError> {
        let Some(name) = &self.payload else {
            let named = [Some(&self.id), Some(&self.event), self.time.as_ref(), self.order.as_ref()];
            let is_named = |field: &String| named.iter().flatten().any(|name| *name == field);
            let rest = row.iter().filter(|(field, _)| !is_named(field));
            return Ok(Value::Object(rest.map(|(field, value)| (field.clone(), value.clone())).collect()));
        };
        match field(row, "payload", name)? {
            Value::String(text) => serde_json::from_str(text).map_err(|error| {
                self.wrong(name, &Value::from(text.clone()), format!("it should be JSON: {error}"))
            }),
            value => Ok(value.clone()),
        }
    }

    fn wrong(&self, field: &str, value: &Value, reason: String) -> LegacyError {
        let mut value = value.to_string();
        if value.len() > LONGEST_SHOWN {
            value = value.chars().take(LONGEST_SHOWN).chain("…".chars()).collect();
        }
        LegacyError::Field { field: field.to_owned(), value, reason }
    }
}

fn field<'a>(row: &'a Map<String, Value>, what: &'static str, name: &str) -> Result<&'a Value, LegacyError> {
    row.get(name).ok_or_else(|| LegacyError::Missing { what, field: name.to_owned() })
}

fn text(name: &str, value: &Value) -> Result<String, LegacyError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(LegacyError::Field {
            field: name.to_owned(),
            value: other.to_string(),
            reason: "it should be a text or a number".to_owned(),
        }),
    }
}

const LONGEST_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(more: Value) -> LegacyMapping {
        let mut all = json!({"kind": "account", "id": "stream", "event": "type",
            "events": {"Moved": "legacy.moved", "Beat": false}});
        let (Value::Object(all), Value::Object(more)) = (&mut all, more) else { panic!() };
        all.extend(more);
        serde_json::from_value(Value::Object(all.clone())).unwrap()
    }

    fn wrap(mapping: &LegacyMapping, row: Value) -> Result<Option<LegacyEvent>, String> {
        mapping.wrap(row.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_field_for_the_payload_it_is_the_rest_of_the_row() {
        let mapping = mapping(json!({"order": "n", "strip": "account-"}));
        let row = json!({"stream": "account-7", "type": "Moved", "n": 3, "cents": 5, "to": null});
        let event = wrap(&mapping, row).unwrap().unwrap();
        assert_eq!(event.payload, Bytes::from_static(br#"{"cents":5,"to":null}"#));
        assert_eq!(event.persistence_id.as_str(), "account|7");
        assert_eq!(wrap(&mapping, json!({"stream": "x", "type": "Beat"})), Ok(None));
    }

    #[test]
    fn a_payload_may_be_a_text_and_a_time_a_number() {
        let mapping = mapping(json!({"payload": "data", "time": "at", "time_unit": "milliseconds"}));
        let row = json!({"stream": 7, "type": "Moved", "data": "{\"a\": 1}", "at": 1_500});
        let event = wrap(&mapping, row).unwrap().unwrap();
        assert_eq!((event.timestamp.as_micros(), &event.payload[..]), (1_500_000, &br#"{"a":1}"#[..]));
    }

    #[test]
    fn what_is_wrong_names_the_field() {
        let mapping = mapping(json!({"payload": "data", "time": "at", "strip": "a-"}));
        let good = json!({"stream": "a-1", "type": "Moved", "data": "{}", "at": "2019-04-01 12:00:00"});
        assert!(wrap(&mapping, good.clone()).unwrap().is_some());
        for (field, value, said) in [
            ("type", json!("Else"), "does not name event \"Else\""),
            ("type", json!([1]), "field \"type\" is [1]"),
            ("stream", json!("b-1"), "it should begin with \"a-\""),
            ("data", json!("{"), "field \"data\" is \"{\": it should be JSON"),
            ("at", json!("yesterday"), "field \"at\" is \"yesterday\": it should be a time"),
            ("at", json!(-1), "field \"at\" is -1"),
        ] {
            let mut row = good.clone();
            row[field] = value;
            let error = wrap(&mapping, row).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = wrap(&mapping, json!({"stream": "a-1"})).unwrap_err();
        assert!(error.contains("\"type\" is missing, which the mapping names as its `event`"), "{error}");
    }
}
