//! Events of older versions, read by steps up and written by steps down.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod fields;
mod shapes;

use annals_journal::{Codec, Envelope, Manifest, PersistenceId, SeqNr, Timestamp, Token, WriterId};
use annals_migrations::{
    AdaptError, Command, CommandAdapter, Encoded, Event, EventAdapter, Form, KindAdapter, Migrations,
    SchemaError, StateAdapter, Step,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Serialize, Deserialize)]
struct WithdrawnV1 {
    cents: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WithdrawnV2 {
    cents: i64,
    reason: String,
}

/// Three versions, a merged manifest, a retired one, declared beside the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(retired("account.pinged"))]
enum AccountEvent {
    Deposited {
        cents: i64,
    },
    #[event(
        version = 3,
        from(
            1 => |old: WithdrawnV1| WithdrawnV2 { cents: old.cents, reason: "unknown".into() },
            2 => Step::default_value("currency", "EUR"),
            ("account.debited", 1) => Step::rename_field("amount", "cents")
                .then(Step::default_value("reason", "debited"))
                .then(Step::default_value("currency", "EUR")),
        ),
        to(
            2 => Step::remove_field("currency"),
            1 => |new: WithdrawnV2| WithdrawnV1 { cents: new.cents },
        ),
    )]
    Withdrawn {
        cents: i64,
        reason: String,
        currency: String,
    },
}

fn manifest(name: &str) -> Manifest {
    Manifest::new(name).unwrap()
}

fn form(name: &str, version: u32) -> Form {
    Form::new(manifest(name), version)
}

fn stored(name: &str, version: u32, payload: &Value) -> Envelope {
    envelope(Encoded {
        manifest: manifest(name),
        schema_version: version,
        codec: Codec::Json,
        payload: payload.to_string().into(),
        read_back: false,
    })
}

fn envelope(encoded: Encoded) -> Envelope {
    Envelope {
        persistence_id: PersistenceId::new("account", "alice").unwrap(),
        seq_nr: SeqNr::FIRST,
        token: Token::NONE,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1),
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: encoded.payload,
    }
}

fn read<E: Event + 'static>(adapter: &KindAdapter<E>, stored: &Envelope) -> Result<Vec<E>, AdaptError> {
    let mut events = Vec::new();
    adapter.from_journal(stored, &mut |event| events.push(event))?;
    Ok(events)
}

fn account() -> KindAdapter<AccountEvent> {
    KindAdapter::new("account").unwrap()
}

fn withdrawn(cents: i64, reason: &str, currency: &str) -> AccountEvent {
    AccountEvent::Withdrawn { cents, reason: reason.into(), currency: currency.into() }
}

#[test]
fn each_older_version_is_read_as_today_s() {
    let adapter = account();
    for (name, version, payload, expected) in [
        ("account.withdrawn", 1, json!({ "cents": 5 }), vec![withdrawn(5, "unknown", "EUR")]),
        ("account.withdrawn", 2, json!({ "cents": 5, "reason": "rent" }), vec![withdrawn(5, "rent", "EUR")]),
        (
            "account.withdrawn",
            3,
            json!({ "cents": 5, "reason": "rent", "currency": "SEK" }),
            vec![withdrawn(5, "rent", "SEK")],
        ),
        ("account.debited", 1, json!({ "amount": 9 }), vec![withdrawn(9, "debited", "EUR")]),
        ("account.pinged", 17, json!("whatever"), vec![]),
        ("account.deposited", 1, json!({ "cents": 3 }), vec![AccountEvent::Deposited { cents: 3 }]),
    ] {
        assert_eq!(read(&adapter, &stored(name, version, &payload)).unwrap(), expected, "{name} {version}");
    }
}

#[test]
fn what_cannot_be_read_says_manifest_versions_and_remedy() {
    let adapter = account();
    let says = |name: &str, version: u32, payload: Value| {
        read(&adapter, &stored(name, version, &payload)).unwrap_err().to_string()
    };
    let future = says("account.withdrawn", 4, json!({}));
    assert!(future.contains("account.withdrawn") && future.contains('4') && future.contains('3'), "{future}");
    let unknown = says("account.wired", 1, json!({}));
    assert!(unknown.contains("account.wired") && unknown.contains("retired"), "{unknown}");
    let no_way = says("account.deposited", 0, json!({ "cents": 3 }));
    assert!(no_way.contains("account.deposited"), "{no_way}");
    let refused = says("account.withdrawn", 1, json!({ "cents": "many" }));
    assert!(refused.contains("account.withdrawn version 1"), "{refused}");
    let merged = says("account.debited", 1, json!({ "amount": 9, "cents": 1 }));
    assert!(merged.contains("\"amount\" is to become \"cents\", which is there"), "{merged}");
}

#[test]
fn today_s_event_is_written_for_builds_that_read_older_ones() {
    let adapter = account();
    let event = withdrawn(5, "rent", "SEK");
    let two = adapter.to_journal_as(&event, &form("account.withdrawn", 2)).unwrap();
    assert_eq!((two.schema_version, two.read_back), (2, true));
    assert_eq!(
        serde_json::from_slice::<Value>(&two.payload).unwrap(),
        json!({ "cents": 5, "reason": "rent" })
    );
    assert_eq!(read(&adapter, &envelope(two)).unwrap(), [withdrawn(5, "rent", "EUR")]);
    let one = adapter.to_journal_as(&event, &form("account.withdrawn", 1)).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&one.payload).unwrap(), json!({ "cents": 5 }));
    assert_eq!(read(&adapter, &envelope(one)).unwrap(), [withdrawn(5, "unknown", "EUR")]);
    let today = adapter.to_journal_as(&event, &form("account.withdrawn", 3)).unwrap();
    assert!(!today.read_back);
    let none = adapter.to_journal_as(&event, &form("account.debited", 1)).unwrap_err();
    assert!(matches!(none, AdaptError::NoDowncaster { .. }), "{none}");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum OfferEvent {
    #[event(version = 2)]
    Made {
        euros: i64,
    },
    Noted {
        text: String,
    },
}

fn offers(migrations: Migrations<OfferEvent>) -> Result<KindAdapter<OfferEvent>, SchemaError> {
    KindAdapter::with("offer", migrations)
}

#[test]
fn one_stored_event_becomes_several_or_none() {
    let divided = Step::split(&[("made", 1), ("noted", 1)], |old: Value| {
        let made = json!({ "cents": old["cents"] });
        Ok::<_, String>(vec![(0, made), (1, json!({ "text": old["text"] }))])
    });
    let adapter = offers(
        Migrations::new()
            .up(
                "made",
                1,
                Step::fields(|fields| {
                    let cents = fields.remove("cents").and_then(|cents| cents.as_i64()).ok_or("no cents")?;
                    fields.insert("euros".into(), (cents / 100).into());
                    Ok::<_, &str>(())
                }),
            )
            .up_to("made-and-noted", 1, ("made", 1), divided)
            .up_to(
                "asked",
                1,
                ("made", 2),
                Step::events(|old: Vec<i64>| {
                    old.into_iter().map(|euros| OfferEvent::Made { euros }).collect()
                }),
            )
            .up_to("dropped", 1, ("made", 2), Step::nothing()),
    );
    let adapter = adapter.unwrap();
    let both = stored("offer.made-and-noted", 1, &json!({ "cents": 700, "text": "soon" }));
    let noted = OfferEvent::Noted { text: "soon".into() };
    assert_eq!(read(&adapter, &both).unwrap(), [OfferEvent::Made { euros: 7 }, noted]);
    let asked = read(&adapter, &stored("offer.asked", 1, &json!([1, 2, 3]))).unwrap();
    assert_eq!(asked, [1, 2, 3].map(|euros| OfferEvent::Made { euros }));
    assert_eq!(read(&adapter, &stored("offer.dropped", 1, &json!({}))).unwrap(), []);
    let broken = read(&adapter, &stored("offer.made-and-noted", 1, &json!({ "text": "soon" }))).unwrap_err();
    assert!(broken.to_string().contains("no cents"), "{broken}");
}

#[test]
fn a_field_changes_its_type() {
    let parse = Step::convert_field("euros", |old: String| old.parse::<i64>());
    let adapter = offers(Migrations::new().up("made", 1, parse)).unwrap();
    let read_it = |payload| read(&adapter, &stored("offer.made", 1, &payload));
    assert_eq!(read_it(json!({ "euros": "12" })).unwrap(), [OfferEvent::Made { euros: 12 }]);
    let refused = read_it(json!({ "euros": "twelve" })).unwrap_err().to_string();
    assert!(refused.contains("field \"euros\""), "{refused}");
}

#[test]
fn what_is_wrong_with_the_steps_is_said_at_the_start() {
    let keep = || Step::fields(|_| Ok::<_, String>(()));
    let says = |migrations| offers(migrations).map(drop).unwrap_err().to_string();
    for (migrations, parts) in [
        (Migrations::new().up_to("old", 1, ("old", 2), keep()), vec!["offer.old version 2", "add a step"]),
        (
            Migrations::new().up("made", 1, keep()).up("made", 1, keep()),
            vec!["two steps begin at offer.made version 1"],
        ),
        (
            Migrations::new().up_to("a", 1, ("b", 1), keep()).up_to("b", 1, ("a", 1), keep()),
            vec!["circle", "offer.a version 1"],
        ),
        (Migrations::new().up("made", 2, keep()), vec!["offer.made version 2", "writes today"]),
        (
            Migrations::new().up("made", 1, Step::nothing().then(keep())),
            vec!["offer.made version 1", "goes on after one that ends"],
        ),
        (
            Migrations::new().up("made", 1, Step::events(|_: Value| vec![String::new()])),
            vec!["offer.made version 1", "String"],
        ),
        (
            Migrations::new().up("made", 1, keep()).down("made", 1, Step::nothing()),
            vec!["offer.made version 2", "one shape"],
        ),
        (Migrations::new().down("made", 1, keep()), vec!["offer.made version 1", "nothing reads it"]),
        (Migrations::new().up("ma de", 1, keep()), vec!["offer"]),
        (Migrations::new().up("made", 0, keep()), vec!["offer.made", "0"]),
    ] {
        let message = says(migrations);
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
}

#[test]
fn states_have_chains_too() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Account {
        cents: i64,
        currency: String,
    }
    let steps = Migrations::new().up("state", 1, Step::default_value("currency", "EUR")).down(
        "state",
        1,
        Step::remove_field("currency"),
    );
    let states = StateAdapter::<Account>::with("account", 2, steps).unwrap();
    let state = Account { cents: 4, currency: "EUR".into() };
    let old = states.encode_as(&state, &form("account.state", 1)).unwrap();
    assert_eq!(&old.payload[..], br#"{"cents":4}"#);
    assert_eq!(states.decode(&old.manifest, 1, old.codec, &old.payload).unwrap(), state);
}

#[test]
fn commands_have_chains_too() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Command)]
    #[command(
        version = 3,
        from(
            1 => |old: WithdrawnV1| WithdrawnV2 { cents: old.cents, reason: "unknown".into() },
            2 => Step::rename_field("reason", "memo"),
        ),
        to(2 => Step::rename_field("memo", "reason")),
    )]
    struct Withdraw {
        cents: i64,
        memo: String,
    }
    let commands = CommandAdapter::<Withdraw>::new("account").unwrap();
    let name = manifest("account.withdraw");
    let read =
        |version, payload: Value| commands.decode(&name, version, Codec::Json, &payload.to_string().into());
    let rent = |memo: &str| Withdraw { cents: 5, memo: memo.into() };
    assert_eq!(read(1, json!({ "cents": 5 })).unwrap(), rent("unknown"));
    assert_eq!(read(2, json!({ "cents": 5, "reason": "rent" })).unwrap(), rent("rent"));
    assert_eq!(read(3, json!({ "cents": 5, "memo": "rent" })).unwrap(), rent("rent"));
    let future = read(4, json!({})).unwrap_err();
    assert!(matches!(future, AdaptError::FromTheFuture { stored: 4, oldest: 1, newest: 3, .. }), "{future}");
    let sent = commands.encode_as(&rent("rent"), &form("account.withdraw", 2)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&sent.payload).unwrap(),
        json!({ "cents": 5, "reason": "rent" })
    );
    let none = commands.encode_as(&rent("rent"), &form("account.withdraw", 1)).unwrap_err();
    assert!(matches!(none, AdaptError::NoDowncaster { .. }), "{none}");
}
