use std::io::Write as _;

use serde_json::json;

use crate::bank::{bank, pruned_bank, sealed_pruned_bank};
use crate::program::annals;

const FROM: &str = "sqlite://bank.db";
const TO: &str = "sqlite://new.db";

#[test]
fn a_copy_is_counted_filled_and_handed_over() {
    let home = pruned_bank();
    let home = home.path();
    let copy = |how: &[&str]| annals(home, &[&["migrate", "copy", FROM, TO], how].concat());
    let planned = copy(&["--json"]).exits(0).json().remove(0);
    assert_eq!(planned["state"], "planned");
    assert!(planned["events"].as_u64() > Some(0) && planned["deleted"].as_u64() > Some(0), "{planned}");
    copy(&[]).exits(0).says(&["account.booked", "nothing was changed"]);
    assert!(!home.join("new.db").exists(), "a dry run makes nothing");

    let filled = copy(&["--apply", "--json"]).exits(0).json().remove(0);
    assert_eq!((&filled["state"], &filled["events"]), (&json!("filling"), &planned["events"]));
    copy(&["--apply"]).exits(0).says(&["0 events were copied now", "closed until --cut-over"]);
    copy(&["--cut-over"]).exits(0).says(&["the same in both", "new.db is open"]);
    copy(&["--cut-over"]).exits(0).says(&["it was done before"]);
    copy(&["--dry-run"]).exits(0).says(&["new.db goes on in its place"]);
    annals(home, &["verify", "--journal", TO]).exits(0);
    copy(&["--give-up"]).exits(3).says(&["no copy of sqlite://bank.db that was begun"]);
}

#[test]
fn a_copy_that_is_given_up_leaves_the_source_as_it_was() {
    let home = pruned_bank();
    let copy = |how: &[&str]| annals(home.path(), &[&["migrate", "copy", FROM, TO], how].concat());
    copy(&["--apply", "--rate", "100000"]).exits(0);
    copy(&["--give-up"]).exits(0).says(&["bank.db takes writes again"]);
    copy(&["--cut-over"]).exits(3).says(&["given up", "remove it"]);
    annals(home.path(), &["verify", "--journal", FROM]).exits(0);
}

#[test]
fn what_cannot_be_copied_is_said() {
    let home = pruned_bank();
    let run = |args: &[&str]| annals(home.path(), &[&["migrate", "copy"], args].concat());
    run(&[FROM, FROM, "--apply"]).exits(3).says(&["one journal"]);
    run(&["sqlite://none.db", TO, "--apply"]).exits(3).says(&["none.db"]);
    assert!(!home.path().join("none.db").exists() && !home.path().join("new.db").exists());
    run(&[FROM, TO, "--apply", "--cut-over"]).exits(2);
    run(&[FROM, "memory:"]).exits(2);
    annals(home.path(), &["import", "/dev/null", "--journal", TO]).exits(0);
    run(&[FROM, TO, "--apply"]).exits(0);
}

#[test]
fn a_sealed_journal_is_copied_as_it_is_with_its_keys() {
    let home = sealed_pruned_bank();
    let home = home.path();
    let copy = |how: &[&str]| annals(home, &[&["migrate", "copy", FROM, TO], how].concat());
    let planned = copy(&["--json"]).exits(0).json().remove(0);
    assert!(planned["events"].as_u64() > Some(0) && planned["sealed"] == planned["events"], "{planned}");
    copy(&["--cut-over"]).exits(0).says(&["the same in both", "new.db is open"]);
    let verify = |keys: &str| annals(home, &["verify", "--journal", TO, "--keys", keys]);
    verify("file:ring.json").exits(0).says(&["nothing is wrong"]);
    annals(home, &["keys", "generate", "other.json"]).exits(0);
    verify("file:other.json").exits(1).says(&["wrong-keys", "master key 1"]);
}

#[test]
fn a_sealed_journal_is_copied_under_another_ring() {
    let home = sealed_pruned_bank();
    let home = home.path();
    annals(home, &["keys", "generate", "new.json"]).exits(0);
    let copy = |how: &[&str]| annals(home, &[&["migrate", "copy", FROM, TO], how].concat());
    let to_new = ["--to-keys", "file:new.json", "--keys", "file:ring.json"];
    copy(&["--apply", "--to-keys", "file:new.json"]).exits(3).says(&["--keys file:ring.json"]);
    copy(&["--give-up", "--to-keys", "file:new.json"]).exits(2);
    copy(&[&to_new[..], &["--apply"]].concat()).exits(0).says(&["closed until --cut-over"]);
    // Half of it is under these keys.
    copy(&["--cut-over"]).exits(3).says(&["begun with keys of its own"]);
    copy(&[&to_new[..], &["--cut-over"]].concat()).exits(0).says(&["the same in both", "new.db is open"]);
    copy(&[&to_new[..], &["--cut-over"]].concat()).exits(0).says(&["it was done before"]);
    let verify = |keys: &str| annals(home, &["verify", "--journal", TO, "--keys", keys]);
    verify("file:new.json").exits(0).says(&["nothing is wrong"]);
    verify("file:ring.json").exits(1).says(&["wrong-keys", "master key 1"]);
    let export = |journal: &str, keys: &str| {
        annals(home, &["export", "--journal", journal, "--keys", keys, "--snapshots"]).exits(0).out
    };
    assert_eq!(export(TO, "file:new.json"), export(FROM, "file:ring.json"));
}

#[test]
fn a_plain_journal_is_sealed_by_a_copy_and_a_journal_of_somebody_gets_no_keys() {
    let home = bank();
    let home = home.path();
    annals(home, &["keys", "generate", "new.json"]).exits(0);
    let copy = |to: &str, how: &[&str]| {
        let keys = ["--to-keys", "file:new.json"];
        annals(home, &[&["migrate", "copy", FROM, to], &keys[..], how].concat())
    };
    copy(TO, &["--cut-over"]).exits(0).says(&["new.db is open"]);
    let inspected = annals(home, &["inspect", "--journal", TO]).exits(0);
    inspected.says(&["sealed      21 of 21"]);
    let exported = annals(home, &["export", "--journal", TO, "--keys", "file:new.json"]).exits(0).out;
    assert_eq!(exported, annals(home, &["export", "--journal", FROM]).exits(0).out);

    let other = "sqlite://other.db";
    std::fs::write(home.join("lines.jsonl"), &exported).unwrap();
    annals(home, &["import", "lines.jsonl", "--journal", other]).exits(0);
    annals(
        home,
        &["migrate", "copy", TO, other, "--apply", "--to-keys", "file:new.json", "--keys", "file:new.json"],
    )
    .exits(3)
    .says(&["other.db is not empty"]);
    annals(home, &["keys", "status", "--journal", other]).exits(0).says(&["nothing was ever sealed"]);
}

/// On the server that `DATABASE_URL` names, as `cargo xtask test` gives it.
#[test]
fn a_journal_is_copied_to_a_server_and_back() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        // Not through `eprintln!`, which a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        return;
    };
    let home = pruned_bank();
    let there = format!(
        "{server}?schema=annals_{}&acquire_timeout_ms=60000",
        home.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase()
    );
    let cut_over = |from: &str, to: &str| {
        annals(home.path(), &["migrate", "copy", from, to, "--cut-over"])
            .exits(0)
            .says(&["the same in both"]);
    };
    let export = |journal: &str| {
        let exported = annals(home.path(), &["export", "--journal", journal, "--snapshots"]).exits(0);
        let mut lines: Vec<_> = exported.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = export(FROM);
    cut_over(FROM, &there);
    assert_eq!(export(&there), before);
    annals(home.path(), &["verify", "--journal", &there]).exits(0);
    cut_over(&there, TO);
    assert_eq!(export(TO), before);
    annals(home.path(), &["verify", "--journal", TO]).exits(0);
}
