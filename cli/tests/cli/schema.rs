use annals::journal::encryption::{SealedJournal, SealedOptions};
use annals::journal::{
    AtomicWrite, Codec, Envelope, Epoch, JournalExt, Manifest, PersistenceId, SeqNr, Timestamp, Token,
    WriterId,
};
use annals::migrations::{Encoded, EventList};
use annals::prelude::*;
use serde_json::json;

use crate::bank::{bank, node};
use crate::program::annals;

const JOURNAL: [&str; 2] = ["--journal", "sqlite://bank.db"];

fn schema(home: &tempfile::TempDir, args: &[&str]) -> crate::program::Run {
    let args: Vec<&str> = ["schema"].iter().chain(args).chain(&JOURNAL).copied().collect();
    annals(home.path(), &args)
}

#[test]
fn a_hold_is_set_changed_and_released() {
    let home = bank();
    schema(&home, &["hold", "account.moved", "2"]).exits(0).says(&["account.moved is held at version 2"]);
    let run = schema(&home, &["hold", "account.moved", "3", "--json"]).exits(0);
    assert_eq!(
        run.json()[0],
        json!({"manifest": "account.moved", "version": 3, "held_before": 2, "stored_above": [], "raising": null, "processes": []})
    );
    schema(&home, &["release", "account.moved"])
        .exits(0)
        .says(&["account.moved is released, it was held at version 3"]);
    schema(&home, &["release", "account.moved"]).exits(1).says(&["account.moved was not held"]);
}

#[test]
fn a_hold_below_what_is_stored_says_so() {
    let home = bank();
    let run = schema(&home, &["hold", "account.booked", "0"]).exits(1);
    run.says(&["stored already: version 1", "annals migrate rewrite --to LOCKFILE"]);
}

#[test]
fn a_name_that_is_mistyped_makes_no_journal() {
    let home = tempfile::tempdir().unwrap();
    schema(&home, &["hold", "account.booked", "1"]).exits(3).says(&["bank.db"]);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    schema(&home, &["hold", "no manifest", "1"]).exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_is_named_and_follows() {
    let home = tempfile::tempdir().unwrap();
    let (bank, database) = node(home.path(), "bank.db", Kind::new()).await;
    schema(&home, &["hold", "account.booked", "0"]).exits(0).says(&["renewal: bank"]);
    let book = || crate::bank::Book { cents: 1, with: "bob".into() };
    let refused = bank.entity::<crate::bank::Account>("alice").ask(book()).await;
    let Err(AskError::Failed(failure)) = refused else { panic!("{refused:?}") };
    assert!(failure.to_string().contains("annals schema release account.booked"), "{failure}");
    schema(&home, &["release", "account.booked"]).exits(0);
    bank.shutdown().await;
    database.close().await;
}

#[test]
fn an_import_stores_no_version_that_a_running_node_cannot_read_and_says_what_it_stored() {
    let home = bank();
    let out = ["export", "--output", "bank.jsonl", "--journal", "sqlite://bank.db"];
    annals(home.path(), &out).exits(0);
    let lines = std::fs::read_to_string(home.path().join("bank.jsonl")).unwrap();
    let newer = lines.replace("\"schema_version\":1", "\"schema_version\":2");
    assert_ne!(lines, newer);
    std::fs::write(home.path().join("newer.jsonl"), newer).unwrap();

    let import = || annals(home.path(), &["import", "newer.jsonl", "--journal", "sqlite://other.db"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (bank, database) = runtime.block_on(node(home.path(), "other.db", Kind::new()));
    import().exits(3).says(&["version 2: process \"bank\"", "reads version 1 of it"]);
    runtime.block_on(bank.shutdown());
    runtime.block_on(database.close());
    import().exits(0);
    let url = format!("sqlite://{}", home.path().join("other.db").display());
    let start = Annals::builder("bank").journal(url).entity::<crate::bank::Account>().start();
    let refused = runtime.block_on(start).unwrap_err().to_string();
    assert!(refused.contains("version 2 of account.booked"), "{refused}");
}

/// Headers are not secret, so versions need no keys; what is in a sealed list does.
#[test]
fn what_a_sealed_journal_stores_is_counted_without_keys_but_for_the_parts_of_lists() {
    let home = crate::bank::sealed_pruned_bank();
    append_a_list(home.path());
    let run = schema(&home, &["--json"]).exits(0);
    let report = &run.json()[0];
    let count_of = |report: &serde_json::Value, of: &str, manifest: &str| {
        let stored = report["stored"].as_array().unwrap();
        let lines = stored.iter().filter(|line| line["of"] == of && line["manifest"] == manifest);
        lines.map(|line| line["count"].as_u64().unwrap()).sum::<u64>()
    };
    let (opened, booked) =
        (count_of(report, "event", "account.opened"), count_of(report, "event", "account.booked"));
    assert_eq!((count_of(report, "snapshot", "account.state"), &report["sealed_lists"]), (3, &json!(1)));
    assert_eq!(report["unreadable"], 0);
    schema(&home, &[]).exits(0).says(&["1 lists of events are sealed"]);

    let keys = ["--keys", "file:ring.json"];
    let run = schema(&home, &[keys[0], keys[1], "--json"]).exits(0);
    let report = &run.json()[0];
    assert_eq!(report["sealed_lists"], 0);
    assert_eq!(count_of(report, "event", "account.opened"), opened + 1);
    assert_eq!(count_of(report, "event", "account.booked"), booked + 2);
}

/// What a rewriting makes of an event that is three today.
fn append_a_list(directory: &std::path::Path) {
    let encoded = |name: &str| Encoded {
        manifest: Manifest::new(name).unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        payload: "{}".into(),
        read_back: false,
    };
    let parts = ["account.opened", "account.booked", "account.booked"].map(encoded);
    let list = EventList::encode(&parts).unwrap();
    let id = PersistenceId::new("account", "dora").unwrap();
    let token = Token::new(Epoch(1), 1);
    let event = Envelope {
        persistence_id: id.clone(),
        seq_nr: SeqNr::FIRST,
        token,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1),
        manifest: list.manifest,
        schema_version: list.schema_version,
        codec: list.codec,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: list.payload,
    };
    let append =
        AtomicWrite { persistence_id: id, expected: SeqNr::ZERO, token, events: vec![event], mark: None };
    let url = format!("sqlite://{}", directory.join("bank.db").display());
    crate::sealed_bank::with_keys(directory, "file:ring.json", async |keys, _| {
        let opened = annals::journal::open(&url).await.unwrap();
        let options = SealedOptions::default();
        let sealed = SealedJournal::open(opened.journal, keys.clone(), options).await.unwrap();
        sealed.append(append).await.unwrap();
        keys.close().await;
        opened.database.unwrap().close().await;
    });
}
