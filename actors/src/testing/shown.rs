//! Values as JSON, to compare them and to show them.

use annals_journal::{Codec, Envelope};
use annals_migrations::{Encoded, EventAdapter};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

/// A value as JSON; one that has no JSON form is shown by what serde says about it.
pub(super) fn value<T: Serialize>(of: &T) -> Value {
    let value = serde_json::to_value(of);
    // JSON text holds numbers of 128 bits, a `Value` does not: two that differ must not look alike.
    let value = value.or_else(|_| serde_json::to_string(of).map(Value::String));
    value.unwrap_or_else(|error| json!({ "has no JSON form": error.to_string() }))
}

/// Names of stored events and what is in them.
pub(super) fn envelopes(events: &[Envelope]) -> Value {
    events.iter().map(|event| payload(event.manifest.as_str(), event.codec, &event.payload)).collect()
}

/// The same for events that are not stored.
pub(super) fn events<E: 'static>(events: &[E], adapter: &dyn EventAdapter<E>) -> Result<Value, String> {
    let encoded: Result<Vec<Encoded>, _> = events.iter().map(|event| adapter.to_journal(event)).collect();
    let encoded = encoded.map_err(|error| error.to_string())?;
    Ok(encoded.iter().map(|event| payload(event.manifest.as_str(), event.codec, &event.payload)).collect())
}

fn payload(manifest: &str, codec: Codec, bytes: &Bytes) -> Value {
    let shown = match codec {
        Codec::Json => serde_json::from_slice(bytes)
            .ok()
            .or_else(|| String::from_utf8(bytes.to_vec()).ok().map(Value::String)),
        _ => None,
    };
    json!({ manifest: shown.unwrap_or_else(|| Value::String(STANDARD.encode(bytes))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_never_look_alike() {
        assert_ne!(value(&u128::MAX), value(&(u128::MAX - 1)));
        assert_ne!(value(&f64::MIN_POSITIVE), value(&0.0));
        assert_eq!(value(&7_u64), json!(7));
    }
}
