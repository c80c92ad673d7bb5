//! The commands on a journal that is sealed, with its keys and without.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bank::{balance_behind, bank, files, pruned, sealed_bank, sealed_pruned_bank};
use crate::program::{Run, annals, annals_reading, annals_with};

const BANK: [&str; 2] = ["--journal", "sqlite://bank.db"];
const NEW: [&str; 2] = ["--journal", "sqlite://new.db"];
const KEYS: [&str; 2] = ["--keys", "file:ring.json"];

fn on(here: &Path, command: &[&str], more: &[&[&str]]) -> Run {
    annals(here, &[command, &more.concat()].concat())
}

#[test]
fn what_can_be_seen_without_keys_is_shown_and_the_rest_says_what_is_missing() {
    let home = sealed_bank();
    let here = home.path();
    let before = files(here);
    on(here, &["inspect"], &[&BANK]).exits(0).says(&["ids         3", "sealed      21 of 21"]);
    on(here, &["schema"], &[&BANK]).exits(0).says(&["account.booked"]);
    let shown = on(here, &["events", "account|alice"], &[&BANK]).exits(1);
    assert_eq!(shown.out.lines().count(), 10, "{shown}");
    shown.says(&[
        "account.opened v1  sealed under data key 1",
        "10 events are sealed: ",
        "--keys file:ring.json",
    ]);
    on(here, &["export"], &[&BANK]).exits(3).says(&["account|alice #1 is sealed", "--keys file:ring.json"]);
    assert_eq!(files(here), before, "something was made or changed");
}

#[test]
fn with_keys_everything_is_read_and_nothing_is_written() {
    let home = sealed_bank();
    let here = home.path();
    let before = files(here);
    on(here, &["inspect"], &[&BANK, &KEYS]).exits(0).says(&["ids         3", "sealed      21 of 21"]);
    on(here, &["schema"], &[&BANK, &KEYS]).exits(0).says(&["account.booked"]);
    let shown = on(here, &["events", "account|alice"], &[&BANK, &KEYS]).exits(0);
    shown.says(&["\"iban\":\"DE-alice\"", "\"cents\":9"]);
    on(here, &["verify"], &[&BANK, &KEYS]).exits(0).says(&["21 events", "nothing is wrong"]);
    let keys = [("ANNALS_KEYS", "file:ring.json")];
    let lines = annals_with(here, &keys, &["export", BANK[0], BANK[1]]).exits(0).out;
    assert_eq!(lines.lines().count(), 21);
    assert!(lines.contains("\"iban\":\"DE-alice\"") && !lines.contains("key_id"), "{lines}");
    assert_eq!(files(here), before, "something was made or changed");
    // Keys are no business of a journal that has none.
    let plain = bank();
    annals_with(plain.path(), &[("ANNALS_KEYS", "file:none.json")], &["export", BANK[0], BANK[1]]).exits(0);
}

#[test]
fn a_missing_a_wrong_and_a_broken_key_are_named_with_the_remedy() {
    let home = sealed_bank();
    let here = home.path();
    on(here, &["keys", "generate", "wrong.json"], &[]).exits(0);
    on(here, &["keys", "generate", "wrong.json"], &[]).exits(0);
    let mut two: Value = serde_json::from_slice(&fs::read(here.join("wrong.json")).unwrap()).unwrap();
    two["keys"].as_object_mut().unwrap().remove("1");
    fs::write(here.join("missing.json"), two.to_string()).unwrap();
    fs::write(here.join("broken.json"), "{\"active\":1,\"keys\":{\"1\":\"hunter2\"}}").unwrap();
    let before = files(here);
    let commands: [&[&str]; 4] =
        [&["events", "account|alice"], &["export"], &["schema"], &["import", "ring.json"]];
    for command in commands {
        for (keys, code, says) in [
            ("file:wrong.json", 3, &["--keys", "master key 1"][..]),
            ("file:missing.json", 3, &["--keys", "master key 1"]),
            ("file:broken.json", 3, &["--keys", "broken.json"]),
            ("file:none.json", 3, &["--keys", "none.json"]),
            ("env:NO_SUCH_RING", 3, &["--keys", "NO_SUCH_RING"]),
            ("ring.json", 2, &["--keys", "file:PATH"]),
        ] {
            let run = on(here, command, &[&BANK, &["--keys", keys]]).exits(code);
            assert!(!run.err.contains("hunter2") && !run.err.contains("panicked"), "{run}");
            run.says(says);
        }
    }
    assert_eq!(files(here), before, "something was made or changed");
}

#[test]
fn an_export_is_imported_into_a_sealed_journal_and_nothing_of_it_is_readable_there() {
    let home = sealed_pruned_bank();
    let here = home.path();
    on(here, &["export", "--snapshots", "-o", "bank.jsonl"], &[&BANK, &KEYS]).exits(0).says(&["3 snapshots"]);
    on(here, &["import", "bank.jsonl"], &[&NEW, &KEYS]).exits(0).says(&["3 snapshots"]);
    let deleted: u64 = ["alice", "bob", "carol"].map(|owner| pruned(here, owner).0).into_iter().sum();
    assert!(deleted > 8, "{deleted} events were deleted");
    // It goes on where it was, and means the same.
    on(here, &["import", "bank.jsonl"], &[&NEW, &KEYS])
        .exits(0)
        .says(&[&format!("0 events are new, {} were there", 21 - deleted)]);
    let lines = on(here, &["export", "--snapshots"], &[&NEW, &KEYS]).exits(0).out;
    assert_eq!(lines, fs::read_to_string(here.join("bank.jsonl")).unwrap());
    on(here, &["verify"], &[&NEW, &KEYS]).exits(0).says(&["nothing is wrong"]);
    on(here, &["export", "--snapshots"], &[&NEW]).exits(3).says(&["is sealed"]);
    for name in ["new.db", "new.db-wal"] {
        let Ok(bytes) = fs::read(here.join(name)) else { continue };
        for text in ["DE-alice", "\"with\"", "cents"] {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{name} has {text}");
        }
    }
    // A journal without the last ids: they come behind those that are there.
    let first = lines.lines().filter(|line| line.contains("account|alice")).collect::<Vec<_>>().join("\n");
    let other = ["--journal", "sqlite://other.db"];
    annals_reading(here, &first, &["import", "-", other[0], other[1], KEYS[0], KEYS[1]]).exits(0);
    on(here, &["import", "bank.jsonl"], &[&other, &KEYS]).exits(0);
    assert_eq!(on(here, &["export", "--snapshots"], &[&other, &KEYS]).exits(0).out, lines);
    // A node recovers from it.
    let balances =
        ["alice", "bob", "carol"].map(|owner| balance_behind(here, "new.db", owner, Some("ring.json")));
    assert_eq!(balances, [45, 21, 6]);
}

#[test]
fn a_sealed_journal_moves_under_a_passphrase_into_one_with_other_keys() {
    let home = sealed_bank();
    let here = home.path();
    let phrase = [("PHRASE", "correct horse battery staple"), ("NEW_PHRASE", "another one")];
    let seal =
        ["export", BANK[0], BANK[1], KEYS[0], KEYS[1], "--encrypt", "passphrase:env:PHRASE", "-o", "sealed"];
    annals_with(here, &phrase, &seal).exits(0).says(&["21 events"]);
    let sealed = fs::read(here.join("sealed")).unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"alice" || window == b"cents"));
    let keys = ["--keys", "passphrase:env:NEW_PHRASE"];
    let open = ["import", "sealed", "--decrypt", "passphrase:env:PHRASE", NEW[0], NEW[1], keys[0], keys[1]];
    annals_with(here, &phrase, &open).exits(0).says(&["21 events are new"]);
    let lines = |journal: [&str; 2], keys: [&str; 2]| {
        annals_with(here, &phrase, &["export", journal[0], journal[1], keys[0], keys[1]]).exits(0).out
    };
    assert_eq!(lines(NEW, keys), lines(BANK, KEYS));
    let mistyped = [("NEW_PHRASE", "an other one")];
    annals_with(here, &mistyped, &["export", NEW[0], NEW[1], keys[0], keys[1]])
        .exits(3)
        .says(&["NEW_PHRASE"]);
}

#[test]
fn rows_of_something_else_are_sealed_on_their_way_in() {
    let home = sealed_bank();
    let here = home.path();
    fs::write(
        here.join("old.jsonl"),
        "{\"stream\":\"dora\",\"type\":\"MoneyMoved\",\"data\":{\"amount\":\"10.00\"}}\n",
    )
    .unwrap();
    fs::write(
        here.join("mapping.toml"),
        "kind = \"account\"\nid = \"stream\"\nevent = \"type\"\npayload = \"data\"\n[events]\nMoneyMoved = \"legacy.moved\"\n",
    )
    .unwrap();
    let legacy = ["migrate", "legacy", "old.jsonl", "--mapping", "mapping.toml", "--apply"];
    on(here, &legacy, &[&BANK]).exits(3).says(&["the journal is encrypted", "--keys"]);
    on(here, &legacy, &[&BANK, &KEYS]).exits(0).says(&["1 events are new"]);
    on(here, &["events", "account|dora"], &[&BANK, &KEYS]).exits(0).says(&["\"amount\":\"10.00\""]);
    on(here, &["events", "account|dora"], &[&BANK]).exits(1).says(&["sealed under data key 1"]);
}
