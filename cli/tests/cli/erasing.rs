//! `annals keys erase` and `annals keys allow`: what they say, what an application meets, and what is left in the files.

use std::fs;
use std::path::Path;

use annals::actors::Failure;
use annals::journal::RecordKey;
use annals::journal::encryption::{Eraser, ErasureLog};
use annals::prelude::*;
use serde_json::{Value, json};

use crate::bank::{Account, Book, Open, bank, book, files, node_behind, sealed_bank, sealed_pruned_bank};
use crate::program::{Run, annals};

const BANK: [&str; 2] = ["--journal", "sqlite://bank.db"];
const KEYS: [&str; 2] = ["--keys", "file:ring.json"];
const LOG: [&str; 2] = ["--log", "erased.jsonl"];
const ALICE: &str = "account|alice";

fn erase(here: &Path, more: &[&[&str]]) -> Run {
    annals(here, &[&["keys", "erase"], &BANK[..], &more.concat()].concat())
}

fn erased(here: &Path, ids: &[&str]) -> Run {
    erase(here, &[ids, &LOG, &["--apply"]])
}

fn export(here: &Path) -> Vec<Value> {
    let run = annals(here, &[&["export"], &BANK[..], &KEYS].concat());
    // 1: events were deleted, and no snapshot comes with them.
    assert!(matches!(run.code, Some(0 | 1)), "{run}");
    run.json()
}

fn of<'a>(lines: &'a [Value], id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["persistence_id"] == id).collect()
}

#[test]
fn without_apply_it_is_said_what_would_be_erased_and_nothing_is_touched() {
    let home = sealed_pruned_bank();
    let here = home.path();
    let before = files(here);
    erase(here, &[&[ALICE], &LOG]).exits(0).says(&[
        "account|alice: would be erased, up to generation 1 of its data key; ",
        "1 ids and ",
        " snapshots would be erased, 0 were before, 0 cannot be; nothing is done, --apply does",
    ]);
    let lines =
        erase(here, &[&["--prefix", "account|", "--prefix", "other|"], &LOG, &["--json"]]).exits(0).json();
    let ids: Vec<_> = lines[..3].iter().map(|line| line["erased"].as_str().unwrap()).collect();
    assert_eq!(ids, ["account|alice", "account|bob", "account|carol"]);
    assert_eq!((&lines[3]["totals"]["erased"], &lines[3]["totals"]["applied"]), (&json!(3), &json!(false)));
    assert_eq!(files(here), before, "something was made or changed");
}

#[test]
fn erased_ids_are_said_to_be_in_every_command_and_the_others_are_untouched() {
    let home = sealed_pruned_bank();
    let here = home.path();
    let before = export(here);
    assert!(snapshots_of_alice(here) > 0);
    erased(here, &[ALICE]).exits(0).says(&[
        "account|alice: erased, up to generation 1 of its data key; ",
        "1 ids erased, 0 were before, 0 refused; ",
        " snapshots deleted; the file was written anew",
        "backups of this journal still have these keys",
    ]);
    assert_eq!(snapshots_of_alice(here), 0);
    let after = export(here);
    assert_eq!(of(&after, "account|bob"), of(&before, "account|bob"));
    let alice = of(&after, ALICE);
    assert_eq!(alice.last().unwrap()["erased_to"], 10, "{alice:?}");
    assert!(alice.iter().all(|line| line.get("payload").is_none()), "{alice:?}");
    let events = annals(here, &[&["events", ALICE], &BANK[..], &KEYS].concat()).exits(0);
    events.says(&[" to 10 were erased"]);
    let line: Value =
        serde_json::from_str(fs::read_to_string(here.join("erased.jsonl")).unwrap().trim()).unwrap();
    assert_eq!((&line["erased"], &line["generation"]), (&json!(ALICE), &json!(1)));

    // Again: nothing is left to do, and no line is added.
    erased(here, &[ALICE])
        .exits(0)
        .says(&["account|alice: was erased; 0 snapshots were left", "0 ids erased, 1 were before"]);
    assert_eq!(fs::read_to_string(here.join("erased.jsonl")).unwrap().lines().count(), 1);
}

#[test]
fn what_cannot_be_erased_is_named_and_the_rest_is_erased() {
    let home = sealed_bank();
    let here = home.path();
    annals(here, &["import", "no.jsonl", "--journal", "sqlite://bank.db"]).exits(3);
    erased(here, &["account|nobody"]).exits(3).says(&["the journal has no account|nobody"]);
    assert!(!here.join("erased.jsonl").exists());
    erase(here, &[&LOG]).exits(2);
    erase(here, &[&[ALICE]]).exits(2).says(&["--log"]);
    erase(here, &[&[ALICE], &["--from-log", "erased.jsonl"]]).exits(2);
    erase(here, &[&["--from-log", "erased.jsonl"]]).exits(3).says(&["erased.jsonl"]);

    // In the clear there is no key that could be destroyed.
    let plain = bank();
    erased(plain.path(), &[ALICE, "account|bob"]).exits(1).says(&[
        "not erased: account|alice has no data key, so nothing of it is sealed",
        "0 ids erased, 0 were before, 2 refused",
    ]);
}

#[test]
fn after_a_restore_the_log_erases_again_as_often_as_one_likes() {
    let home = sealed_bank();
    let here = home.path();
    fs::copy(here.join("bank.db"), here.join("backup.db")).unwrap();
    erased(here, &[ALICE, "account|carol"]).exits(0);
    fs::rename(here.join("backup.db"), here.join("bank.db")).unwrap();
    assert_eq!(of(&export(here), ALICE).len(), 10, "the backup is from before");
    let again = ["--from-log", "erased.jsonl"];
    erase(here, &[&again])
        .exits(0)
        .says(&["account|alice: would be erased", "2 ids and 0 snapshots would be erased"]);
    for (erased, were) in [(2, 0), (0, 2)] {
        let lines = erase(here, &[&again, &["--apply", "--json"]]).exits(0).json();
        let totals = &lines[2]["totals"];
        assert_eq!((&totals["erased"], &totals["were_erased"]), (&json!(erased), &json!(were)), "{lines:?}");
        let exported = export(here);
        assert_eq!(
            of(&exported, ALICE),
            [&json!({"persistence_id": ALICE, "schema_version": 1, "codec": 1, "erased_to": 10})]
        );
        assert_eq!(of(&exported, "account|bob").len(), 7);
    }
}

fn snapshots_of_alice(here: &Path) -> u64 {
    let database = rusqlite::Connection::open(here.join("bank.db")).unwrap();
    let count = "SELECT count(*) FROM snapshots WHERE persistence_id = 'account|alice'";
    database.query_row(count, (), |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

/// An application that has everything in memory, while somebody else erases.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_application_says_that_an_account_was_erased_and_goes_on_with_the_others() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path().to_owned();
    annals(&here, &["keys", "generate", "ring.json"]).exits(0);
    let kind = || Kind::new().snapshots(SnapshotPolicy::every_events(4));
    let (node, database) = node_behind(&here, "bank.db", kind(), Some("ring.json")).await;
    book(&node).await;
    let run = |command: &'static [&'static str]| {
        let here = here.clone();
        tokio::task::spawn_blocking(move || annals(&here, command))
    };
    run(&["keys", "erase", ALICE, "--journal", "sqlite://bank.db", "--log", "erased.jsonl", "--apply"])
        .await
        .unwrap()
        .exits(0);
    let alice = node.entity::<Account>("alice");
    let book_one = || Book { cents: 1, with: "bob".into() };
    for _ in 0..2 {
        let told = alice.ask(book_one()).await.unwrap_err();
        assert!(matches!(&told, AskError::Failed(Failure::Erased { .. })), "{told}");
    }
    assert_eq!(node.entity::<Account>("bob").ask(Book { cents: 0, with: "alice".into() }).await.unwrap(), 21);

    // A new life, which the running node takes in once it looks again; and so does the next node.
    run(&["keys", "allow", ALICE, "--journal", "sqlite://bank.db"])
        .await
        .unwrap()
        .exits(0)
        .says(&["a new life may begin"]);
    run(&["keys", "allow", ALICE, "--journal", "sqlite://bank.db"])
        .await
        .unwrap()
        .exits(0)
        .says(&["is not erased"]);
    loop {
        match alice.ask(Open { owner: "alice".into() }).await {
            Ok(_) => break,
            Err(AskError::Failed(Failure::Erased { retry_after, .. })) => {
                tokio::time::sleep(retry_after).await
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(alice.ask(book_one()).await.unwrap(), 1, "it begins with nothing");
    node.shutdown().await;
    database.close().await;
    let (node, database) = node_behind(&here, "bank.db", kind(), Some("ring.json")).await;
    assert_eq!(node.entity::<Account>("alice").ask(book_one()).await.unwrap(), 2);
    node.shutdown().await;
    database.close().await;
    let export = run(&["export", "--journal", "sqlite://bank.db", "--keys", "file:ring.json"])
        .await
        .unwrap()
        .exits(0)
        .json();
    let numbers: Vec<_> =
        of(&export, ALICE).iter().map(|line| (line["erased_to"].as_u64(), line["seq_nr"].as_u64())).collect();
    assert_eq!(numbers, [(Some(10), None), (None, Some(11)), (None, Some(12)), (None, Some(13))]);
}

/// Bytes of the wrapped keys, those from before a rotation too, in the files of a journal that an application has open: there before, there
/// without the last step, and gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_destroyed_key_is_left_in_the_files() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    let kind = Kind::new().snapshots(SnapshotPolicy::never());
    let (node, database) = node_behind(here, "bank.db", kind, Some("ring.json")).await;
    book(&node).await;
    let opened =
        annals::journal::open(&format!("sqlite://{}", here.join("bank.db").display())).await.unwrap();
    let wrapped = async |owner: &str| {
        let key = RecordKey::new(&format!("encryption/key/account|{owner}")).unwrap();
        let value = opened.records.get(&key).await.unwrap().unwrap().value;
        // Nonce, ciphertext and tag stand at the record's end.
        value.slice(value.len() - WRAPPED_BYTES..).to_vec()
    };
    let mut alice = vec![wrapped("alice").await];
    let mut bob = vec![wrapped("bob").await];
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    let rotate = ["keys", "rotate", "--journal", "sqlite://bank.db", "--keys", "file:ring.json", "--force"];
    annals(here, &rotate).exits(0);
    alice.push(wrapped("alice").await);
    bob.push(wrapped("bob").await);
    assert!(alice[0] != alice[1]);
    assert!(alice.iter().all(|key| found(here, key)) && bob.iter().all(|key| found(here, key)));

    // The library destroys the key, and leaves the file to whoever has it.
    let mut log = ErasureLog::open(here.join("erased.jsonl")).unwrap();
    let id: PersistenceId = "account|bob".parse().unwrap();
    Eraser::new(opened.journal.clone(), opened.records.clone()).erase(&id, &mut log).await.unwrap();
    assert!(bob.iter().any(|key| found(here, key)), "then the last step would have nothing to do");

    erased(here, &[ALICE, "account|bob"]).exits(0).says(&["the file was written anew"]);
    for key in alice.iter().chain(&bob) {
        assert!(
            !found(here, key),
            "something of a key is left in {:?}",
            fs::read_dir(here).unwrap().collect::<Vec<_>>()
        );
    }
    // The application goes on.
    let carol = node.entity::<Account>("carol");
    assert_eq!(carol.ask(Book { cents: 0, with: String::new() }).await.unwrap(), 6);
    node.shutdown().await;
    opened.database.unwrap().close().await;
    database.close().await;
    assert!(alice.iter().chain(&bob).all(|key| !found(here, key)));
}

/// Whether 12 bytes of a wrapped key that stand together are in a file of the journal.
fn found(here: &Path, wrapped: &[u8]) -> bool {
    let names = ["bank.db", "bank.db-wal", "bank.db-journal"];
    let files: Vec<Vec<u8>> = names.iter().filter_map(|name| fs::read(here.join(name)).ok()).collect();
    assert!(!files.is_empty());
    let parts: std::collections::HashSet<&[u8]> = wrapped.windows(12).collect();
    files.iter().any(|file| file.windows(12).any(|bytes| parts.contains(bytes)))
}

const WRAPPED_BYTES: usize = 60;

/// A home of two, and somebody else.
#[tokio::main]
async fn household(here: &Path) {
    let kind = Kind::new().snapshots(SnapshotPolicy::every_events(2));
    let (node, database) = node_behind(here, "bank.db", kind, Some("ring.json")).await;
    for owner in ["t7-alice", "t7-bob", "carol"] {
        let account = node.entity::<Account>(owner);
        account.ask(Open { owner: owner.into() }).await.unwrap();
        account.ask(Book { cents: 5, with: "eve".into() }).await.unwrap();
    }
    node.shutdown().await;
    database.close().await;
}

#[test]
fn all_ids_of_a_scope_are_erased_together_and_may_live_again_together() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    household(here);
    let status =
        || annals(here, &[&["keys", "status"], &BANK[..], &["--json"]].concat()).exits(0).json().remove(0);
    let before = status();
    assert_eq!((&before["ids"], &before["in_scopes"], &before["scopes"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(before["master_keys"][0]["data_keys"], 2, "carol's, and that of the scope");

    let scope = ["--scope", "t7"];
    erase(here, &[&scope, &LOG]).exits(0).says(&["account|t7-alice: would be erased", "2 ids and "]);
    assert!(!here.join("erased.jsonl").exists());
    erase(here, &[&["--scope", "t8"], &LOG]).exits(3).says(&["there is no scope t8"]);
    erase(here, &[&scope, &[ALICE], &LOG]).exits(2);
    erase(here, &[&scope, &LOG, &["--apply"]])
        .exits(0)
        .says(&["account|t7-bob: erased", "2 ids erased, 0 were before"]);
    let erased_ids = |lines: &[Value]| lines.iter().filter(|line| line["erased_to"].is_u64()).count();
    assert_eq!(erased_ids(&export(here)), 2);
    annals(here, &[&["verify"], &BANK[..], &KEYS].concat())
        .exits(0)
        .says(&["erased: 2 ids", "nothing is wrong"]);
    let after = status();
    assert_eq!((&after["ids"], &after["erased"], &after["erased_scopes"]), (&json!(1), &json!(2), &json!(1)));
    // Again, and from its log, nothing is left to do.
    erase(here, &[&scope, &LOG, &["--apply"]]).exits(0).says(&["0 ids erased, 2 were before"]);
    erase(here, &[&["--from-log", "erased.jsonl", "--apply"]])
        .exits(0)
        .says(&["scope t7: was erased", "0 ids erased, 2 were before"]);
    annals(here, &[&["keys", "allow", "--scope", "t7"], &BANK[..]].concat())
        .exits(0)
        .says(&["scope t7: may be used; a new life may begin under 2 ids of it"]);
    household(here);
    let lived = export(here);
    assert_eq!(of(&lived, "account|t7-alice").iter().filter(|line| line["payload"].is_object()).count(), 2);
    // A scope that leaked has another key, and so have its ids.
    annals(here, &[&["keys", "rekey", "--incident", "dump"], &scope[..], &BANK, &KEYS].concat())
        .exits(0)
        .says(&["2 of 2 ids have a new key"]);
    annals(here, &[&["verify"], &BANK[..], &KEYS].concat()).exits(0);
}

/// What an application's function says is not known to a command: it is told, or each id has a key of its own.
#[test]
fn what_is_imported_or_encrypted_into_a_scope_is_erased_with_it() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    household(here);
    for owner in ["t7-alice", "t7-bob", "carol"] {
        let (id, file) = (format!("account|{owner}"), format!("{owner}.jsonl"));
        annals(here, &[&["export", &id, "--output", &file], &BANK[..], &KEYS].concat()).exits(0);
    }
    let new = ["--journal", "sqlite://new.db"];
    let import = |owner: &str, more: &[&str]| {
        annals(here, &[&["import", &format!("{owner}.jsonl")], &new[..], more].concat())
    };
    let (keys, into) = (&KEYS[..], &["--into-scope", "t7"][..]);
    import("t7-alice", into).exits(3).says(&["--into-scope", "--keys file:ring.json"]);
    import("t7-alice", &[keys, into].concat()).exits(0);
    import("carol", keys).exits(0);
    import("t7-bob", &[]).exits(3).says(&["the journal is encrypted"]);
    let status = || {
        let run = annals(here, &[&["keys", "status", "--json"], &new[..]].concat());
        let status = run.exits(0).json().remove(0);
        ["ids", "in_scopes", "scopes"].map(|name| status[name].as_u64().unwrap())
    };
    assert_eq!(status(), [2, 1, 1]);
    let apply = ["keys", "erase", "--scope", "t7", "--log", "new.jsonl", "--apply"];
    annals(here, &[&apply, &new[..]].concat()).exits(0).says(&["account|t7-alice: erased", "1 ids erased"]);

    // What was in the clear.
    let plain = ["--journal", "sqlite://plain.db"];
    annals(here, &[&["import", "t7-bob.jsonl"], &plain[..]].concat()).exits(0);
    annals(here, &[&["keys", "encrypt", "--all"], &plain[..], keys, into].concat()).exits(0);
    let apply = ["keys", "erase", "--scope", "t7", "--log", "plain.jsonl", "--apply"];
    annals(here, &[&apply, &plain[..]].concat()).exits(0).says(&["account|t7-bob: erased", "1 ids erased"]);
}
