//! What stands in the place of an event that a rewriting made into none or several.
//!
//! ```text
//! envelope   manifest annals.list, schema version 1, codec JSON; id, number, time stamp, token and tags as before
//! payload    [{"manifest":"loan.offered","version":2,"payload":{"cents":100}},
//!             {"manifest":"loan.noted","version":1,"codec":2,"payload_base64":"CAE="}]          in the order of the events
//! ```
//! `codec` is left out for JSON. A payload that is JSON stands as it is; any other is in `payload_base64`. An empty list: the event means
//! nothing any more. A list has no lists in it.

use std::borrow::Cow;
use std::sync::LazyLock;

use annals_journal::{Codec, Envelope, Manifest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AdaptError, CodecError, Encoded};

/// A stored record that holds a list of events: what an event becomes that a rewriting divides or drops, because a rewriting never
/// changes numbers.
///
/// A [`ListAdapter`](crate::ListAdapter) reads it. Whoever counts manifests looks at its parts.
///
/// ```
/// use annals_journal::{Codec, Manifest};
/// use annals_migrations::{Encoded, EventList};
///
/// let (manifest, payload) = (Manifest::new("loan.offered")?, r#"{"cents":100}"#.into());
/// let part = Encoded { manifest, schema_version: 2, codec: Codec::Json, payload, read_back: false };
/// let list = EventList::encode(&[part])?;
/// assert_eq!(&list.payload[..], br#"[{"manifest":"loan.offered","version":2,"payload":{"cents":100}}]"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventList;

impl EventList {
    /// Version of the layout of the list.
    pub const VERSION: u32 = 1;

    /// The manifest of every list.
    pub fn manifest() -> &'static Manifest {
        &MANIFEST
    }

    /// Whether a manifest says that the payload is a list.
    #[inline]
    pub fn is(manifest: &Manifest) -> bool {
        manifest.as_str() == NAME
    }

    /// What is stored of several events, or of none.
    ///
    /// # Errors
    /// [`AdaptError::Unencodable`] when one of them is a list itself.
    pub fn encode(events: &[Encoded]) -> Result<Encoded, AdaptError> {
        let unencodable =
            |reason| AdaptError::Unencodable { manifest: MANIFEST.clone(), version: Self::VERSION, reason };
        if events.iter().any(|event| Self::is(&event.manifest)) {
            return Err(unencodable(CodecError::custom("a list has no lists in it")));
        }
        let parts: Vec<_> = events.iter().map(Part::of).collect();
        let payload = serde_json::to_vec(&parts).map_err(|error| unencodable(error.into()))?.into();
        let read_back = events.iter().any(|event| event.read_back);
        Ok(Encoded {
            manifest: MANIFEST.clone(),
            schema_version: Self::VERSION,
            codec: Codec::Json,
            payload,
            read_back,
        })
    }

    /// The events of a list, in their order.
    ///
    /// # Errors
    /// [`AdaptError`] when a newer build has written it, or when it is no list.
    pub fn parts(stored: &Envelope) -> Result<Vec<Encoded>, AdaptError> {
        if stored.schema_version != Self::VERSION {
            return Err(AdaptError::FromTheFuture {
                manifest: stored.manifest.clone(),
                stored: stored.schema_version,
                oldest: Self::VERSION,
                newest: Self::VERSION,
            });
        }
        let undecodable = |reason| AdaptError::Undecodable {
            manifest: stored.manifest.clone(),
            version: stored.schema_version,
            reason,
        };
        let parts: Vec<Part<'_>> =
            serde_json::from_slice(&stored.payload).map_err(|error| undecodable(error.into()))?;
        parts.into_iter().map(|part| part.into_encoded(&stored.payload).map_err(undecodable)).collect()
    }

    /// The list's events as envelopes that differ from its own in what they hold.
    pub(crate) fn envelopes(stored: &Envelope) -> Result<Vec<Envelope>, AdaptError> {
        let parts = Self::parts(stored)?;
        Ok(parts.into_iter().map(|part| part.in_envelope(stored)).collect())
    }
}

#[derive(Serialize, Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    manifest: Cow<'a, str>,
    version: u32,
    #[serde(default = "json", skip_serializing_if = "is_json")]
    codec: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> Part<'a> {
    fn of(event: &'a Encoded) -> Self {
        let raw = (event.codec == Codec::Json).then(|| serde_json::from_slice(&event.payload).ok()).flatten();
        // What stands around a value would be lost.
        let payload = raw.filter(|raw: &&RawValue| raw.get().len() == event.payload.len());
        Self {
            manifest: event.manifest.as_str().into(),
            version: event.schema_version,
            codec: event.codec.number(),
            payload,
            payload_base64: payload.is_none().then(|| STANDARD.encode(&event.payload)),
        }
    }

    fn into_encoded(self, list: &Bytes) -> Result<Encoded, CodecError> {
        let manifest = Manifest::new(&self.manifest).map_err(CodecError::custom)?;
        if EventList::is(&manifest) {
            return Err(CodecError::custom("a list has no lists in it"));
        }
        let codec = Codec::from_number(self.codec)
            .ok_or_else(|| CodecError::custom(format!("there is no codec {}", self.codec)))?;
        let payload = match (self.payload, self.payload_base64) {
            (Some(raw), None) => list.slice_ref(raw.get().as_bytes()),
            (None, Some(text)) => STANDARD.decode(text).map_err(CodecError::custom)?.into(),
            _ => return Err(CodecError::custom("a part needs one of payload and payload_base64")),
        };
        Ok(Encoded { manifest, schema_version: self.version, codec, payload, read_back: false })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_json(codec: &u32) -> bool {
    *codec == json()
}

fn json() -> u32 {
    Codec::Json.number()
}

const NAME: &str = "annals.list";
static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| match Manifest::new(NAME) {
    Ok(manifest) => manifest,
    // The name is ours, and a test makes it.
    Err(error) => unreachable!("{error}"),
});

#[cfg(test)]
mod tests {
    use annals_journal::{PersistenceId, SeqNr, Timestamp, Token, WriterId};
    use proptest::prelude::*;

    use super::*;

    fn part(manifest: &str, version: u32, codec: Codec, payload: &[u8]) -> Encoded {
        Encoded {
            manifest: Manifest::new(manifest).unwrap(),
            schema_version: version,
            codec,
            payload: Bytes::copy_from_slice(payload),
            read_back: false,
        }
    }

    fn envelope(list: Encoded) -> Envelope {
        Envelope {
            persistence_id: PersistenceId::new("loan", "1").unwrap(),
            seq_nr: SeqNr::FIRST,
            token: Token::NONE,
            writer: WriterId::from_bytes([0; 16]),
            timestamp: Timestamp::from_micros(1),
            manifest: list.manifest,
            schema_version: list.schema_version,
            codec: list.codec,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: list.payload,
        }
    }

    #[test]
    fn the_stored_form_is_as_it_is_drawn() {
        let parts = [
            part("loan.offered", 2, Codec::Json, br#"{"cents":100}"#),
            part("loan.noted", 1, Codec::Protobuf, &[8, 1]),
        ];
        let list = EventList::encode(&parts).unwrap();
        let drawn = r#"[{"manifest":"loan.offered","version":2,"payload":{"cents":100}},{"manifest":"loan.noted","version":1,"codec":2,"payload_base64":"CAE="}]"#;
        assert_eq!(&list.payload[..], drawn.as_bytes());
        assert_eq!(EventList::parts(&envelope(list)).unwrap(), parts);
    }

    #[test]
    fn what_is_no_list_is_an_error_that_says_so() {
        let empty = EventList::encode(&[]).unwrap();
        assert_eq!(EventList::parts(&envelope(empty.clone())).unwrap(), []);
        assert!(
            EventList::encode(std::slice::from_ref(&empty)).unwrap_err().to_string().contains("no lists")
        );
        let inner = r#"[{"manifest":"annals.list","version":1,"payload":[]}]"#;
        for (payload, said) in [
            (inner, "no lists"),
            (r#"{"manifest":"a.b"}"#, "expected a sequence"),
            (r#"[{"manifest":"a.b","version":1}]"#, "one of payload"),
            (r#"[{"manifest":"a b","version":1,"payload":1}]"#, "manifest"),
            (r#"[{"manifest":"a.b","version":1,"codec":9,"payload":1}]"#, "codec 9"),
            (r#"[{"manifest":"a.b","version":1,"payload_base64":"?"}]"#, "symbol"),
        ] {
            let list = Encoded { payload: payload.into(), ..empty.clone() };
            let error = EventList::parts(&envelope(list)).unwrap_err().to_string();
            assert!(error.contains(said), "{payload}: {error}");
        }
        let newer = EventList::parts(&envelope(Encoded { schema_version: 2, ..empty })).unwrap_err();
        assert!(matches!(newer, AdaptError::FromTheFuture { stored: 2, .. }), "{newer}");
    }

    proptest! {
        #[test]
        fn every_list_is_read_as_it_was_written(
            parts in prop::collection::vec(
                (
                    "[a-z]{1,9}\\.[a-z-]{1,9}",
                    1..u32::MAX,
                    prop_oneof![Just(Codec::Json), Just(Codec::Protobuf), Just(Codec::from_number(77).unwrap())],
                    prop_oneof![
                        prop::collection::vec(any::<u8>(), 0..40),
                        "[ ]{0,2}(\"[a-zé]{0,9}\"|[1-9][0-9]{0,20}|\\[1,  2\\]|\\{\"a\":1\\.50\\})[ ]{0,2}".prop_map(String::into_bytes),
                    ],
                )
                    .prop_map(|(manifest, version, codec, payload)| part(&manifest, version, codec, &payload)),
                0..5,
            ),
        ) {
            let list = EventList::encode(&parts).unwrap();
            prop_assert_eq!(EventList::parts(&envelope(list)).unwrap(), parts);
        }
    }
}
