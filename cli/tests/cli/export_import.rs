use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use annals::testing::Replay;
use serde_json::Value;

use crate::bank::{Account, balance, bank, files, pruned, pruned_bank};
use crate::program::{annals, annals_reading, annals_with, command};
use crate::sealed_bank::keyed;

const BANK: [&str; 2] = ["--journal", "sqlite://bank.db"];
const NEW: [&str; 2] = ["--journal", "sqlite://new.db"];

fn export(here: &Path, journal: [&str; 2], more: &[&str]) -> String {
    annals(here, &[&["export"], &journal[..], more].concat()).exits(0).out
}

fn summary(here: &Path, file: &str) -> Value {
    annals(here, &["import", file, NEW[0], NEW[1], "--json"]).exits(0).json().remove(0)
}

#[test]
fn a_journal_moves_to_another_file_and_means_the_same_there() {
    let home = bank();
    let here = home.path();
    annals(here, &["export", BANK[0], BANK[1], "--output", "bank.jsonl"])
        .exits(0)
        .says(&["3 ids, 21 events"]);
    annals(here, &["import", "bank.jsonl", NEW[0], NEW[1]])
        .exits(0)
        .says(&["3 ids: 21 events are new, 0 were there"]);
    // Number, time stamp, token, writer, tags and payload of each event.
    assert_eq!(export(here, NEW, &[]), fs::read_to_string(here.join("bank.jsonl")).unwrap());
    annals(here, &["verify", NEW[0], NEW[1]])
        .exits(0)
        .says(&["3 ids, 21 events, 0 snapshots: nothing is wrong"]);

    // Every way to replay it gives the same states.
    let replayed = |journal: &str| Replay::<Account>::of(here.join(journal)).run().unwrap();
    for journal in ["bank.db", "new.db", "bank.jsonl"] {
        let report = replayed(journal);
        assert_eq!((report.entities, report.events), (3, 21), "{journal}: {report}");
    }
    let all = |journal: &str| ["alice", "bob", "carol"].map(|owner| balance(here, journal, owner));
    assert_eq!(all("bank.db"), [45, 21, 6]);
    // A node that starts on it is not fenced by the tokens that came with the events.
    assert_eq!(all("new.db"), [45, 21, 6]);
}

#[test]
fn nothing_is_written_in_the_clear_into_an_encrypted_journal() {
    let home = bank();
    let here = home.path();
    fs::write(here.join("bank.jsonl"), export(here, BANK, &[])).unwrap();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    let sealed = tempfile::tempdir().unwrap();
    fs::copy(here.join("ring.json"), sealed.path().join("ring.json")).unwrap();
    keyed(sealed.path(), "file:ring.json", 1);
    let file = here.join("bank.jsonl");
    annals(sealed.path(), &["import", file.to_str().unwrap(), BANK[0], BANK[1]])
        .exits(3)
        .says(&["the journal is encrypted", "--keys file:ring.json"]);
    annals(sealed.path(), &["verify", BANK[0], BANK[1]]).says(&["0 ids, 0 events"]);
}

#[test]
fn nothing_is_imported_twice_and_an_import_goes_on_where_it_was() {
    let home = bank();
    let here = home.path();
    let lines = export(here, BANK, &[]);
    fs::write(here.join("all.jsonl"), &lines).unwrap();
    // As if it had been broken off after any of its lines.
    let lines: Vec<&str> = lines.lines().collect();
    let mut known = 0;
    for count in [0, 1, 3, 10, 11, 20, 21, 21] {
        fs::write(here.join("some.jsonl"), lines[..count].join("\n")).unwrap();
        let told = summary(here, "some.jsonl");
        assert_eq!((&told["known"], &told["events"]), (&known.into(), &(count - known).into()), "{count}");
        known = count;
    }
    assert_eq!(export(here, NEW, &[]), fs::read_to_string(here.join("all.jsonl")).unwrap());
    let twice = lines.repeat(2).join("\n");
    annals_reading(here, &twice, &["import", "-", NEW[0], NEW[1]])
        .exits(0)
        .says(&["0 events are new, 42 were there"]);
    annals_reading(here, &twice, &["import", "-", "--journal", "sqlite://newer.db"])
        .exits(0)
        .says(&["21 events are new, 21 were there"]);
}

#[test]
fn an_import_that_is_killed_goes_on() {
    let home = bank();
    let here = home.path();
    let line = export(here, BANK, &["account|alice"]).lines().next().unwrap().to_owned();
    let all: String = (0..4_000)
        .map(|number| line.replace("account|alice", &format!("account|{number:04}")) + "\n")
        .collect();
    fs::write(here.join("all.jsonl"), &all).unwrap();
    for tenths in [3, 6, 9] {
        let mut command = command(here, &["import", "-", NEW[0], NEW[1]]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Once this is written nearly all of it was read; what was not is in a pipe. It waits for more when it is killed.
        child.stdin.as_mut().unwrap().write_all(&all.as_bytes()[..all.len() * tenths / 10]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let before = summary(here, "all.jsonl");
    assert!(before["known"].as_u64() > Some(1_000), "{before}");
    assert_eq!(export(here, NEW, &[]), all);
    annals(here, &["verify", NEW[0], NEW[1]]).exits(0);
    assert_eq!(summary(here, "all.jsonl")["events"], 0);
}

#[test]
fn an_id_with_another_history_is_left_as_it_is_and_the_others_are_imported() {
    let home = bank();
    let here = home.path();
    let lines = export(here, BANK, &[]);
    annals_reading(here, &lines, &["import", "-", NEW[0], NEW[1]]).exits(0);
    let before = export(here, NEW, &["account|bob"]);
    // Another bob, and a dave.
    let other = lines.replace("\"with\":\"bob\"", "\"with\":\"eve\"");
    let other: Vec<String> =
        other.lines().filter(|line| line.contains("account|bob")).map(str::to_owned).collect();
    let dave: Vec<String> = other.iter().map(|line| line.replace("account|bob", "account|dave")).collect();
    let run =
        annals_reading(here, &[other, dave].concat().join("\n"), &["import", "-", NEW[0], NEW[1]]).exits(1);
    run.says(&[
        "account|bob is left as it is",
        "#2 in the journal is another event",
        "7 events are new",
        "left out: 1 ids",
    ]);
    assert_eq!(export(here, NEW, &["account|bob"]), before);
    assert_eq!(export(here, NEW, &["account|dave"]).lines().count(), 7);
}

#[test]
fn lines_that_no_export_writes_are_refused() {
    let home = bank();
    let here = home.path();
    let lines = export(here, BANK, &["account|carol"]);
    let lines: Vec<&str> = lines.lines().collect();
    let gap = [lines[0], lines[2]].join("\n");
    annals_reading(here, &gap, &["import", "-", NEW[0], NEW[1]])
        .exits(1)
        .says(&["account|carol", "#3 where #2 follows"]);
    let mut older: Value = serde_json::from_str(lines[1]).unwrap();
    older["epoch"] = 0.into();
    let falling = [lines[0], &older.to_string()].join("\n");
    annals_reading(here, &falling, &["import", "-", "--journal", "sqlite://other.db"])
        .exits(1)
        .says(&["tokens never fall"]);
    let sealed = lines[0].replace("\"payload\":", "\"key_id\":1,\"payload\":");
    annals_reading(here, &sealed, &["import", "-", "--journal", "sqlite://third.db"])
        .exits(1)
        .says(&["sealed under a key"]);
    let broken = format!("{}\nno line\n{}", lines[0], lines[1]);
    let run = annals_reading(here, &broken, &["import", "-", "--journal", "sqlite://last.db"]).exits(3);
    run.says(&["standard input, line 2", "1 events are new"]);
}

#[test]
fn deleted_events_keep_their_numbers_and_snapshots_stand_for_them() {
    let home = pruned_bank();
    let here = home.path();
    annals(here, &["export", BANK[0], BANK[1]])
        .exits(1)
        .says(&["3 ids cannot be recovered", "export with --snapshots"]);
    annals(here, &["export", BANK[0], BANK[1], "--snapshots", "-o", "bank.jsonl"])
        .exits(0)
        .says(&["3 snapshots"]);
    let deleted: u64 = ["alice", "bob", "carol"].map(|owner| pruned(here, owner).0).into_iter().sum();
    assert!(deleted > 8, "{deleted} events were deleted");
    for (events, known, gone, snapshots) in [(21 - deleted, 0, deleted, 3), (0, 21 - deleted, 0, 0)] {
        let told = summary(here, "bank.jsonl");
        let expected = serde_json::json!({
            "ids": 3, "events": events, "known": known, "deleted": gone, "snapshots": snapshots,
            "refused_ids": 0, "refused_snapshots": 0,
        });
        assert_eq!(told, expected);
    }
    assert_eq!(export(here, NEW, &["--snapshots"]), fs::read_to_string(here.join("bank.jsonl")).unwrap());
    annals(here, &["verify", NEW[0], NEW[1]]).exits(0);
    assert_eq!(["alice", "bob", "carol"].map(|owner| balance(here, "new.db", owner)), [45, 21, 6]);
    // The lines are still those that the test kit reads.
    let replayed = Replay::<Account>::of(here.join("bank.jsonl")).run();
    assert!(replayed.is_ok(), "{replayed:?}");
}

#[test]
fn an_export_may_be_sealed_under_a_passphrase() {
    let home = bank();
    let here = home.path();
    let phrase = [("PHRASE", "correct horse battery staple")];
    let seal = ["export", BANK[0], BANK[1], "--encrypt", "passphrase:env:PHRASE", "-o", "bank.sealed"];
    annals_with(here, &phrase, &seal).exits(0).says(&["21 events"]);
    let sealed = fs::read(here.join("bank.sealed")).unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"alice" || window == b"cents"));
    let open = ["import", "bank.sealed", "--decrypt", "passphrase:env:PHRASE", NEW[0], NEW[1]];
    annals(here, &["import", "bank.sealed", NEW[0], NEW[1]])
        .exits(3)
        .says(&["--decrypt passphrase:env:NAME"]);
    annals_with(here, &[("PHRASE", "wrong")], &open)
        .exits(3)
        .says(&["bank.sealed", "the passphrase is another"]);
    assert!(!here.join("new.db").exists());
    annals_with(here, &phrase, &open).exits(0).says(&["21 events are new"]);
    assert_eq!(export(here, NEW, &[]), export(here, BANK, &[]));
    let mut changed = sealed;
    *changed.last_mut().unwrap() ^= 1;
    fs::write(here.join("bank.sealed"), changed).unwrap();
    annals_with(here, &phrase, &open).exits(3).says(&["changed or cut off"]);
}

#[test]
fn a_file_that_is_not_whole_is_not_left_behind() {
    let home = bank();
    crate::bank::damage(home.path(), "UPDATE events SET envelope = x'00ff' WHERE ordering = 12");
    let before = files(home.path());
    let run = annals(home.path(), &["export", BANK[0], BANK[1], "--output", "bank.jsonl"]).exits(3);
    run.says(&["account|bob #2", "annals verify"]);
    assert_eq!(files(home.path()), before);
}

#[test]
#[cfg(unix)]
fn an_exported_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = bank();
    annals(home.path(), &["export", BANK[0], BANK[1], "--output", "bank.jsonl"]).exits(0);
    let mode = fs::metadata(home.path().join("bank.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
