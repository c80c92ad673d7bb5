use std::collections::BTreeSet;

use serde_json::Value;

use crate::bank::{bank, damage, pruned, pruned_bank};
use crate::program::{annals, annals_reading};

const VERIFY: [&str; 3] = ["verify", "--journal", "sqlite://bank.db"];

/// `kind id number` of each finding.
fn findings(home: &tempfile::TempDir, code: i32) -> BTreeSet<String> {
    let run = annals(home.path(), &[&VERIFY[..], &["--json"]].concat()).exits(code);
    let mut lines = run.json();
    let end = lines.pop().unwrap();
    assert_eq!(end["ok"], lines.is_empty(), "{run}");
    assert_eq!(end["totals"]["findings"], lines.len(), "{run}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let found = lines.iter().map(|line| &line["finding"]).map(|finding| {
        assert!(!text(&finding["what"]).is_empty(), "{run}");
        let mut found = text(&finding["kind"]);
        for field in ["persistence_id", "seq_nr", "to"] {
            if !finding[field].is_null() {
                found += &format!(" {}", text(&finding[field]));
            }
        }
        found
    });
    found.collect()
}

fn found<const N: usize>(what: [&str; N]) -> BTreeSet<String> {
    what.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_sound_journal_has_no_findings() {
    for home in [bank(), pruned_bank()] {
        assert_eq!(findings(&home, 0), found([]));
        annals(home.path(), &VERIFY).exits(0).says(&["3 ids", "nothing is wrong"]);
    }
}

#[test]
fn everything_is_found_and_nothing_stops_it() {
    let home = bank();
    // Alice has the events 1 to 10, Bob 11 to 17, Carol 18 to 21.
    damage(
        home.path(),
        "DELETE FROM events WHERE ordering IN (2, 3, 4, 8);
         UPDATE events SET envelope = x'00ff' WHERE ordering = 6;
         UPDATE events SET envelope = (SELECT envelope FROM events WHERE ordering = 13) WHERE ordering = 12;
         DELETE FROM events WHERE ordering = 21; UPDATE streams SET known_head = 4 WHERE persistence_id = 'account|carol';",
    );
    let expected = found([
        "gap account|alice 2 4",
        "unreadable account|alice 6",
        "gap account|alice 8",
        "unreadable account|bob 2",
        "gap account|carol 4",
    ]);
    assert_eq!(findings(&home, 1), expected);
    let run = annals(home.path(), &VERIFY).exits(1);
    run.says(&[
        "account|alice #2..4: gap: the events are missing",
        "account|bob #2: unreadable: the row holds account|bob #3: it was moved or overwritten",
        "5 findings",
    ]);
    // Only what was asked for.
    annals(home.path(), &["verify", "account|bob", VERIFY[1], VERIFY[2]])
        .exits(1)
        .says(&["1 ids", "1 finding"]);
}

#[test]
fn snapshots_are_compared_with_the_journal() {
    let home = pruned_bank();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|owner| pruned(home.path(), owner));
    damage(
        home.path(),
        &format!(
            "UPDATE snapshots SET stored = x'00ff' WHERE persistence_id = 'account|alice';
             DELETE FROM events WHERE stream = (SELECT id FROM streams WHERE persistence_id = 'account|bob') AND seq > {0};
             UPDATE streams SET known_head = {0} WHERE persistence_id = 'account|bob';
             DELETE FROM snapshots WHERE persistence_id = 'account|carol';",
            bob.0
        ),
    );
    let expected = [
        format!("snapshot-unreadable account|alice {}", alice.1),
        format!("not-recoverable account|alice {}", alice.0),
        format!("snapshot-ahead account|bob {}", bob.1),
        format!("not-recoverable account|bob {}", bob.0),
        format!("not-recoverable account|carol {}", carol.0),
    ];
    assert_eq!(findings(&home, 1), BTreeSet::from(expected));
}

#[test]
fn a_snapshot_of_another_history_is_found() {
    let home = pruned_bank();
    let (deleted, snapshot) = pruned(home.path(), "alice");
    // An event of the same number, of another time.
    let lines =
        annals(home.path(), &["export", "account|alice", "--snapshots", VERIFY[1], VERIFY[2]]).exits(0).out;
    let other: Vec<String> = lines
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if line["seq_nr"] == snapshot && line["snapshot"].is_null() {
                line["timestamp"] = 1.into();
            }
            line.to_string()
        })
        .collect();
    let new = ["--journal", "sqlite://new.db"];
    annals_reading(home.path(), &other.join("\n"), &["import", "-", new[0], new[1]]).exits(0);
    let run = annals(home.path(), &["verify", new[0], new[1]]).exits(1);
    run.says(&[
        &format!("account|alice #{snapshot}: snapshot-foreign"),
        &format!("account|alice #{deleted}: not-recoverable"),
        "2 findings",
    ]);
}

#[test]
fn a_stale_writer_and_a_counter_that_went_back_are_found() {
    let home = bank();
    damage(
        home.path(),
        "UPDATE streams SET activation = 0 WHERE persistence_id = 'account|bob'; DELETE FROM records WHERE key = 'epoch';",
    );
    assert_eq!(findings(&home, 1), found(["stale-writer account|bob", "epoch-behind"]));
}

#[test]
fn damage_of_the_file_itself_is_found_and_does_not_stop_it() {
    let home = bank();
    let path = home.path().join("bank.db");
    damage(home.path(), "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; VACUUM;");
    let root: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'", (), |row| {
            row.get(0)
        })
        .unwrap();
    // The index by which the events of an id are found.
    let mut bytes = std::fs::read(&path).unwrap();
    let page = usize::try_from((root - 1) * 4096).unwrap();
    bytes[page..page + 8].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let run = annals(home.path(), &VERIFY).exits(1);
    run.says(&["journal: damaged-file", "account|alice", "account|carol"]);
}

#[test]
fn an_anchor_finds_every_id_that_went_back() {
    let home = bank();
    let here = home.path();
    let now = ["--journal", "sqlite://bank.db"];
    let verify = |journal: &str, more: &[&str]| {
        annals(here, &[&["verify", "--journal", &format!("sqlite://{journal}")], more].concat())
    };
    // The bank before: without Carol, and with Alice and Bob as they were.
    let lines = annals(here, &["export", now[0], now[1]]).exits(0).out;
    let (alice, bob) = ("account|alice", "account|bob");
    let numbers = |id: &str, to: usize| {
        lines.lines().filter(|line| line.contains(id)).take(to).collect::<Vec<_>>().join("\n")
    };
    let older = format!("{}\n{}", numbers(alice, 8), numbers(bob, 3));
    annals_reading(here, &older, &["import", "-", "--journal", "sqlite://older.db"]).exits(0);

    verify("older.db", &["--write-anchor", "older.anchor"]).exits(0);
    verify("bank.db", &["--anchor", "older.anchor", "--write-anchor", "bank.anchor"])
        .exits(0)
        .says(&["nothing is wrong"]);
    verify("older.db", &["--anchor", "older.anchor"]).exits(0);
    verify("older.db", &["--anchor", "bank.anchor", "--write-anchor", "none.anchor"]).exits(1).says(&[
        "account|alice #10: went-back: the anchor has seen #10, the head is #8",
        "account|bob #7: went-back",
        "account|carol #4: went-back: the anchor has seen it, and the journal has no such id",
        "3 findings",
        "none.anchor is not written",
    ]);
    assert!(!here.join("none.anchor").exists());

    // It went on from there: Bob has as many events as before, and others.
    let other = numbers(bob, 7).replace("\"cents\":6", "\"cents\":7");
    let mut last: Value = serde_json::from_str(other.lines().last().unwrap()).unwrap();
    last["timestamp"] = 9.into();
    let other = format!("{}\n{last}", other.lines().take(6).collect::<Vec<_>>().join("\n"));
    annals_reading(here, &other, &["import", "-", "--journal", "sqlite://older.db"]).exits(0);
    verify("older.db", &["--anchor", "bank.anchor"])
        .exits(1)
        .says(&["account|bob #7: went-back: it is another event"]);

    std::fs::write(here.join("no.anchor"), "{}").unwrap();
    verify("bank.db", &["--anchor", "no.anchor"]).exits(3).says(&["no.anchor", "--write-anchor"]);
    verify("bank.db", &["--write-anchor", "bank.anchor"]).exits(3).says(&["bank.anchor", "remove it"]);
}
