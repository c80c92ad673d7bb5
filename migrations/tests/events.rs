//! Derived events: what is stored of them, and that it comes back.

use std::collections::BTreeMap;

use annals_journal::{Codec, Envelope, Epoch, Manifest, PersistenceId, SeqNr, Timestamp, Token, WriterId};
use annals_migrations::{
    AdaptError, CodecError, Encoded, Event, EventAdapter, KindAdapter, Schema, SchemaError, SchemaName,
    StateAdapter,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// A message as prost generates them; serde does not know it.
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(string, tag = "1")]
    account: String,
    #[prost(sint64, tag = "2")]
    cents: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested {
    id: u64,
    labels: BTreeMap<String, Option<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<Nested>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Reason {
    Limit,
    Other { code: u8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Rich {
    Opened {
        owner_name: String,
        credit: Option<i64>,
    },
    #[event(protobuf, version = 4)]
    #[serde(skip)]
    Wired(Wire),
    Closed,
    #[event(version = 2)]
    Renamed(String),
    Moved(u32, i8),
    #[event(manifest = "bank.nested")]
    Nested(Nested),
    #[serde(rename = "x")]
    Reasoned {
        #[serde(rename = "why", alias = "because")]
        reason: Reason,
        #[serde(default)]
        times: u16,
    },
    Flat {
        at: u64,
        #[serde(flatten)]
        rest: BTreeMap<String, String>,
    },
    Maybe(Option<u8>),
    Empty {},
    NoFields(),
    #[serde(with = "as_text")]
    Spelled(u64),
    r#Type {
        r#fn: bool,
    },
    HTTPFailed(()),
    Measured(f64, f32),
}

/// `#[serde(with = ..)]` on a variant.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&number.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(version = 3)]
#[serde(rename_all = "camelCase")]
struct PriceChanged {
    new_price: u64,
}

#[derive(Clone, PartialEq, prost::Message, Event)]
#[event(protobuf, manifest = "shop.ticked")]
struct Ticked {
    #[prost(uint32, tag = "1")]
    count: u32,
}

/// An entity that never has an event.
#[derive(Debug, Serialize, Deserialize, Event)]
enum Nothing {}

fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn the_payload_has_the_fields_only() {
    let nested = Nested { id: 1, labels: BTreeMap::from([("a".into(), None)]), children: vec![] };
    for (event, payload) in [
        (Rich::Opened { owner_name: "alice".into(), credit: None }, r#"{"ownerName":"alice","credit":null}"#),
        (Rich::Closed, "null"),
        (Rich::Renamed("bob".into()), r#""bob""#),
        (Rich::Moved(7, -1), "[7,-1]"),
        (Rich::Nested(nested), r#"{"id":1,"labels":{"a":null}}"#),
        (Rich::Reasoned { reason: Reason::Limit, times: 2 }, r#"{"why":"Limit","times":2}"#),
        (
            Rich::Reasoned { reason: Reason::Other { code: 9 }, times: 0 },
            r#"{"why":{"Other":{"code":9}},"times":0}"#,
        ),
        (Rich::Flat { at: 5, rest: BTreeMap::from([("k".into(), "v".into())]) }, r#"{"at":5,"k":"v"}"#),
        (Rich::Maybe(None), "null"),
        (Rich::Maybe(Some(1)), "1"),
        (Rich::Empty {}, "{}"),
        (Rich::NoFields(), "[]"),
        (Rich::Spelled(12), r#""12""#),
        (Rich::Type { r#fn: true }, r#"{"fn":true}"#),
        (Rich::HTTPFailed(()), "null"),
    ] {
        let encoded = event.encode().unwrap();
        assert_eq!(std::str::from_utf8(&encoded).unwrap(), payload);
        assert_eq!(Rich::decode(event.schema(), &encoded).unwrap(), event);
    }
    assert_eq!(PriceChanged { new_price: 3 }.encode().unwrap(), json(r#"{"newPrice":3}"#));
}

#[test]
fn a_protobuf_payload_is_the_message() {
    let wire = Wire { account: "alice".into(), cents: -5 };
    let event = Rich::Wired(wire.clone());
    let encoded = event.encode().unwrap();
    assert_eq!(<Wire as prost::Message>::decode(encoded.clone()).unwrap(), wire);
    assert_eq!(Rich::decode(event.schema(), &encoded).unwrap(), event);

    let ticked = Ticked { count: 3 };
    assert_eq!(ticked.encode_to_bytes()[..], [8, 3]);
    assert_eq!(Ticked::SCHEMAS[0].codec, Codec::Protobuf);
}

impl Ticked {
    /// Both `Event` and `prost::Message` have an `encode`.
    fn encode_to_bytes(&self) -> Bytes {
        Event::encode(self).unwrap_or_default()
    }
}

#[test]
fn manifests_and_versions_are_those_of_the_attributes_or_the_default() {
    let adapter = KindAdapter::<Rich>::new("k").unwrap();
    let stored: Vec<(String, u32)> = adapter
        .versions()
        .into_iter()
        .map(|versions| (versions.manifest.as_str().into(), *versions.reads.end()))
        .collect();
    let expected = [
        ("k.opened", 1),
        ("k.wired", 4),
        ("k.closed", 1),
        ("k.renamed", 2),
        ("k.moved", 1),
        ("bank.nested", 1),
        ("k.reasoned", 1),
        ("k.flat", 1),
        ("k.maybe", 1),
        ("k.empty", 1),
        ("k.no-fields", 1),
        ("k.spelled", 1),
        ("k.type", 1),
        ("k.http-failed", 1),
        ("k.measured", 1),
    ];
    assert_eq!(stored, expected.map(|(name, version)| (name.to_owned(), version)));
    assert_eq!(
        PriceChanged::SCHEMAS,
        [Schema { name: SchemaName::OfKind("price-changed"), version: 3, codec: Codec::Json }]
    );
    assert!(Nothing::SCHEMAS.is_empty());
}

#[test]
fn fields_may_be_missing_or_added_as_serde_says() {
    let reasoned = |text: &str| Rich::decode(6, &json(text));
    let one = Rich::Reasoned { reason: Reason::Limit, times: 0 };
    assert_eq!(reasoned(r#"{"because":"Limit"}"#).unwrap(), one);
    assert_eq!(reasoned(r#"{"why":"Limit","unknown":[1,{"a":2}]}"#).unwrap(), one);
    let missing = reasoned("{}").unwrap_err().to_string();
    assert!(missing.contains("missing field `why`"), "{missing}");
}

#[test]
fn bytes_that_are_no_such_event_give_an_error_that_says_why() {
    for (schema, bytes, reason) in [
        (0, "", "EOF"),
        (0, "{", "EOF"),
        (0, "[1]", "invalid type"),
        (0, r#"{"ownerName":"a","credit":1} x"#, "trailing characters"),
        (0, r#"{"Opened":{"ownerName":"a"}}"#, "missing field `ownerName`"),
        (2, "{}", "null, because the variant has no fields"),
        (2, "nul", "EOF"),
        (3, "\"\u{0}\"", "control character"),
        (4, "[1]", "invalid length 1"),
        (4, "[1,2,3]", "trailing characters"),
        (4, "[1,1000]", "invalid value"),
        (9, "null", "invalid type: null"),
    ] {
        let error = Rich::decode(schema, &json(bytes)).unwrap_err().to_string();
        assert!(error.contains(reason), "{bytes:?} as {schema}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert!(Rich::decode(5, &json(&deep)).is_err());
    assert!(Rich::decode(3, &Bytes::from_static(b"\"\xff\"")).is_err());
    assert!(Rich::decode(1, &Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f")).is_err());
    assert!(matches!(Rich::decode(15, &json("null")), Err(CodecError::UnknownSchema(15))));
    assert!(matches!(Nothing::decode(0, &json("null")), Err(CodecError::UnknownSchema(0))));
}

#[test]
fn a_value_without_a_json_form_cannot_be_stored() {
    #[derive(Serialize, Deserialize, Event)]
    enum Odd {
        Keyed(BTreeMap<Vec<u8>, u8>),
    }
    let adapter = KindAdapter::<Odd>::new("odd").unwrap();
    let error = adapter.to_journal(&Odd::Keyed(BTreeMap::from([(vec![1], 1)]))).unwrap_err();
    assert_eq!(error.to_string(), "odd.keyed version 1 cannot be stored: JSON: key must be a string");
}

#[test]
fn what_could_not_be_read_again_is_not_stored() {
    #[derive(Serialize, Deserialize, Event)]
    enum Measured {
        Weight(f64),
        Labels {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            labels: Vec<String>,
        },
        Deep(serde_json::Value),
    }
    let adapter = KindAdapter::<Measured>::new("scale").unwrap();
    let deep = (0..200).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]));
    for (event, reason) in [
        (Measured::Weight(f64::NAN), "invalid type: null, expected f64"),
        (Measured::Labels { labels: vec![] }, "missing field `labels`"),
        (Measured::Deep(deep), "recursion limit exceeded"),
    ] {
        let error = adapter.to_journal(&event).unwrap_err();
        assert!(matches!(error, AdaptError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(adapter.to_journal(&Measured::Weight(0.1)).is_ok());
    assert!(adapter.to_journal(&Measured::Labels { labels: vec!["a".into()] }).is_ok());
}

fn envelope(encoded: &Encoded) -> Envelope {
    Envelope {
        persistence_id: PersistenceId::new("k", "1").expect("a valid id"),
        seq_nr: SeqNr::FIRST,
        token: Token::new(Epoch(1), 1),
        writer: WriterId::from_bytes([1; 16]),
        timestamp: Timestamp::from_micros(1),
        manifest: encoded.manifest.clone(),
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        tags: vec![],
        trace_context: None,
        key_id: None,
        payload: encoded.payload.clone(),
    }
}

fn read<E: Event>(adapter: &KindAdapter<E>, stored: &Envelope) -> Result<Vec<E>, AdaptError> {
    let mut events = vec![];
    adapter.from_journal(stored, &mut |event| events.push(event))?;
    Ok(events)
}

#[test]
fn what_this_build_cannot_read_is_said_with_manifest_and_versions() {
    let adapter = KindAdapter::<Rich>::new("k").unwrap();
    let stored = envelope(&adapter.to_journal(&Rich::Renamed("bob".into())).unwrap());
    let error = |change: &dyn Fn(&mut Envelope)| {
        let mut stored = stored.clone();
        change(&mut stored);
        read(&adapter, &stored).unwrap_err().to_string()
    };
    assert_eq!(
        error(&|stored| stored.schema_version = 3),
        "k.renamed version 3 was stored by a newer build, this one reads version 2: run the newer build"
    );
    assert_eq!(
        error(&|stored| stored.schema_version = 1),
        "k.renamed version 1 is older than what this build reads, version 2: add an upcaster from version 1"
    );
    assert_eq!(
        error(&|stored| stored.codec = Codec::Protobuf),
        "k.renamed version 2 is stored as protobuf, this build reads it as JSON: \
         a change of codec needs a new version"
    );
    let unknown = error(&|stored| stored.manifest = Manifest::new("k.gone").unwrap());
    assert!(unknown.contains("k.gone is unknown to this build"), "{unknown}");
    let bad = error(&|stored| stored.payload = json("1"));
    assert!(bad.starts_with("k.renamed version 2 cannot be read: JSON: invalid type: integer `1`"), "{bad}");
}

#[test]
fn two_names_that_meet_only_in_one_kind_are_found_when_the_adapter_is_made() {
    #[derive(Serialize, Deserialize, Event)]
    enum Meeting {
        Opened,
        #[event(manifest = "door.opened")]
        Unlocked,
    }
    assert!(KindAdapter::<Meeting>::new("gate").is_ok());
    let error = KindAdapter::<Meeting>::new("door").unwrap_err();
    assert!(matches!(error, SchemaError::Duplicate { .. }), "{error}");
    assert!(matches!(KindAdapter::<Meeting>::new("no door").unwrap_err(), SchemaError::Name { .. }));
}

#[test]
fn a_hand_written_event_that_points_outside_its_schemas_gives_an_error() {
    struct Stray;
    impl Event for Stray {
        const SCHEMAS: &'static [Schema] = &[];
        fn schema(&self) -> usize {
            7
        }
        fn encode(&self) -> Result<Bytes, CodecError> {
            Ok(Bytes::new())
        }
        fn decode(_: usize, _: &Bytes) -> Result<Self, CodecError> {
            Ok(Self)
        }
    }
    let error = KindAdapter::<Stray>::new("k").unwrap().to_journal(&Stray).unwrap_err();
    assert!(matches!(error, AdaptError::NoSchema { index: 7 }), "{error}");
}

#[test]
fn a_state_has_a_manifest_and_a_version_like_an_event() {
    let adapter = StateAdapter::<Nested>::new("account", 2).unwrap();
    let state = Nested { id: 1, labels: BTreeMap::new(), children: vec![] };
    let Encoded { manifest, schema_version, codec, payload, read_back } = adapter.encode(&state).unwrap();
    assert!(!read_back, "today's form means what it was made of");
    assert_eq!((manifest.as_str(), schema_version, codec), ("account.state", 2, Codec::Json));
    assert_eq!(adapter.decode(&manifest, 2, codec, &payload).unwrap(), state);

    assert!(matches!(adapter.decode(&manifest, 3, codec, &payload), Err(AdaptError::FromTheFuture { .. })));
    assert!(matches!(adapter.decode(&manifest, 1, codec, &payload), Err(AdaptError::NoUpcaster { .. })));
    assert!(matches!(
        adapter.decode(&manifest, 2, Codec::Protobuf, &payload),
        Err(AdaptError::OtherCodec { .. })
    ));
    assert!(matches!(adapter.decode(&manifest, 2, codec, &json("{")), Err(AdaptError::Undecodable { .. })));
    let other = Manifest::new("safe.state").unwrap();
    assert!(matches!(adapter.decode(&other, 2, codec, &payload), Err(AdaptError::UnknownManifest { .. })));
    assert!(matches!(StateAdapter::<Nested>::new("account", 0), Err(SchemaError::VersionZero { .. })));
}

fn nested() -> impl Strategy<Value = Nested> {
    let labels = || prop::collection::btree_map(any::<String>(), any::<Option<String>>(), 0..4);
    let leaf = (any::<u64>(), labels()).prop_map(|(id, labels)| Nested { id, labels, children: vec![] });
    leaf.prop_recursive(4, 16, 4, move |inner| {
        (any::<u64>(), labels(), prop::collection::vec(inner, 0..4))
            .prop_map(|(id, labels, children)| Nested { id, labels, children })
    })
}

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("JSON has no others", |number| number.is_finite())
}

fn finite32() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("JSON has no others", |number| number.is_finite())
}

fn rich() -> impl Strategy<Value = Rich> {
    let reason = prop_oneof![Just(Reason::Limit), any::<u8>().prop_map(|code| Reason::Other { code })];
    // A flattened map must not have a key of the struct.
    let rest = prop::collection::btree_map("[b-z]{1,8}", any::<String>(), 0..4);
    prop_oneof![
        (any::<String>(), any::<Option<i64>>())
            .prop_map(|(owner_name, credit)| Rich::Opened { owner_name, credit }),
        (any::<String>(), any::<i64>()).prop_map(|(account, cents)| Rich::Wired(Wire { account, cents })),
        Just(Rich::Closed),
        any::<String>().prop_map(Rich::Renamed),
        any::<(u32, i8)>().prop_map(|(to, by)| Rich::Moved(to, by)),
        nested().prop_map(Rich::Nested),
        (reason, any::<u16>()).prop_map(|(reason, times)| Rich::Reasoned { reason, times }),
        (any::<u64>(), rest).prop_map(|(at, rest)| Rich::Flat { at, rest }),
        any::<Option<u8>>().prop_map(Rich::Maybe),
        Just(Rich::Empty {}),
        Just(Rich::NoFields()),
        any::<u64>().prop_map(Rich::Spelled),
        any::<bool>().prop_map(|r#fn| Rich::Type { r#fn }),
        Just(Rich::HTTPFailed(())),
        (finite(), finite32()).prop_map(|(exact, short)| Rich::Measured(exact, short)),
    ]
}

proptest! {
    #[test]
    fn every_event_comes_back_as_it_was(event in rich()) {
        let adapter = KindAdapter::<Rich>::new("k").unwrap();
        let stored = envelope(&adapter.to_journal(&event).unwrap());
        prop_assert_eq!(read(&adapter, &stored).unwrap(), vec![event]);
    }

    #[test]
    fn hostile_bytes_never_panic(schema in 0_usize..20, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Rich::decode(schema, &Bytes::from(bytes));
    }

    #[test]
    fn a_payload_with_one_byte_changed_never_panics(event in rich(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = event.encode().unwrap().to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let _ = Rich::decode(event.schema(), &Bytes::from(bytes));
    }
}
