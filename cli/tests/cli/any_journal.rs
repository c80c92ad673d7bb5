use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use annals::journal::sqlite::{Options, SqliteJournal};
use annals::journal::{
    AtomicWrite, Codec, Envelope, Epoch, Journal as _, JournalExt as _, Manifest, Token, TraceContext,
    WriterId, raise_epoch,
};
use annals::prelude::{PersistenceId, SeqNr, Tag, Timestamp};
use annals::snapshot::{Snapshot, SnapshotStore as _, SqliteSnapshotStore};
use proptest::prelude::*;

use crate::program::annals;

/// What an id has, in the order in which it came to it.
#[derive(Debug, Clone)]
struct History {
    /// Events of one owner each: what they hold, and the tags of the first.
    owners: Vec<(Vec<Payload>, Vec<u8>)>,
    /// A part of its numbers that is deleted, of 4.
    deleted: u64,
    snapshot: bool,
}

#[derive(Debug, Clone)]
struct Payload(Codec, Vec<u8>);

fn payload() -> impl Strategy<Value = Payload> {
    let json = prop_oneof![
        Just("null"),
        Just("{\"a\":1.0}"),
        Just("{\n\"a\" : [1e3]}"),
        Just("\"\\u0000 ü\""),
        Just(" 7 ")
    ];
    prop_oneof![
        json.prop_map(|text| Payload(Codec::Json, text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Payload(Codec::Protobuf, bytes)),
        any::<Vec<u8>>().prop_map(|bytes| Payload(Codec::Custom(99), bytes)),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let owner = (prop::collection::vec(payload(), 1..6), prop::collection::vec(0..4_u8, 0..3));
    (prop::collection::vec(owner, 0..4), 0..=4_u64, any::<bool>())
        .prop_map(|(owners, deleted, snapshot)| History { owners, deleted, snapshot })
}

#[tokio::main]
async fn write(path: &Path, histories: &BTreeMap<String, History>) {
    let journal = SqliteJournal::open(path, Options::default()).await.unwrap();
    // Above all tokens, as it is where nodes draw their epochs.
    raise_epoch(&journal, Epoch(99)).await.unwrap();
    let snapshots = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
    for (name, history) in histories {
        let id = PersistenceId::new("account", name).unwrap();
        let mut token = Token::new(Epoch(2), 1);
        let mut head = journal.claim(&id, token).await.unwrap().seq_nr;
        let mut newest = None;
        for (payloads, tags) in &history.owners {
            token = Token::new(Epoch(token.epoch.0 + head.get() % 3), token.activation + 1);
            let events: Vec<Envelope> = payloads
                .iter()
                .zip(head.get() + 1..)
                .map(|(Payload(codec, bytes), number)| Envelope {
                    persistence_id: id.clone(),
                    seq_nr: SeqNr::new(number).unwrap(),
                    token,
                    writer: WriterId::from_bytes([7; 16]),
                    timestamp: Timestamp::from_micros(number * 1_000_003),
                    manifest: Manifest::new("account.happened").unwrap(),
                    schema_version: 3,
                    codec: *codec,
                    tags: tags.iter().map(|tag| Tag::new(&format!("tag {tag}")).unwrap()).collect(),
                    trace_context: TraceContext::new("00-ab-cd-01").filter(|_| number % 2 == 0),
                    key_id: None,
                    payload: bytes.clone().into(),
                })
                .collect();
            newest = events.last().cloned();
            let append =
                AtomicWrite { persistence_id: id.clone(), expected: head, token, events, mark: None };
            head = journal.append(append).await.unwrap().seq_nr;
        }
        let Some(newest) = newest else { continue };
        if history.snapshot {
            let snapshot = Snapshot {
                last_event: newest.digest(),
                persistence_id: id.clone(),
                seq_nr: head,
                token,
                timestamp: Timestamp::from_micros(1),
                manifest: Manifest::new("account.state").unwrap(),
                schema_version: 1,
                codec: newest.codec,
                key_id: None,
                payload: newest.payload,
            };
            snapshots.save(snapshot).await.unwrap();
        }
        let deleted = SeqNr::new(head.get() * history.deleted / 4).unwrap();
        journal.delete_to(&id, deleted).await.unwrap();
    }
    journal.database().close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in a journal, an import gives it back, at once or in two parts.
    #[test]
    fn what_is_exported_comes_back(
        histories in prop::collection::btree_map("[a-zé| ]{1,12}", history(), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let home = tempfile::tempdir().unwrap();
        let here = home.path();
        write(&here.join("bank.db"), &histories);
        let export = |journal: &str, file: &str| {
            let run = annals(here, &["export", "--snapshots", "--journal", &format!("sqlite://{journal}"), "-o", file]);
            assert!(matches!(run.code, Some(0 | 1)), "{run}");
            fs::read_to_string(here.join(file)).unwrap()
        };
        let lines = export("bank.db", "bank.jsonl");
        let cut = lines.match_indices('\n').map(|(at, _)| at + 1).nth(cut.index(lines.lines().count().max(1)));
        fs::write(here.join("part.jsonl"), &lines[..cut.unwrap_or(0)]).unwrap();
        for file in ["part.jsonl", "bank.jsonl"] {
            annals(here, &["import", file, "--journal", "sqlite://new.db?durability=os"]).exits(0);
        }
        prop_assert_eq!(export("new.db", "new.jsonl"), lines);
        // What is sound here is sound there.
        let codes = ["bank.db", "new.db"].map(|file| annals(here, &["verify", "--journal", &format!("sqlite://{file}")]).code);
        prop_assert_eq!(codes[0], codes[1]);
    }
}
