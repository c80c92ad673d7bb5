use std::fs;

use crate::bank::{bank, damage, files};
use crate::program::{annals, annals_with};

const BANK: [&str; 2] = ["--journal", "sqlite://bank.db"];

#[test]
fn bad_input_names_the_thing_and_the_remedy() {
    let home = bank();
    let here = home.path();
    fs::write(here.join("text.db"), "this is no database, and long enough to be looked at").unwrap();
    fs::write(here.join("bad.toml"), "[[value]]\nwith = \"shred\"\n").unwrap();
    fs::write(here.join("bad.jsonl"), "{\"persistence_id\":\"account|zoe\",\"seq_nr\":1}\n").unwrap();
    fs::write(here.join("good.jsonl"), "").unwrap();
    rusqlite::Connection::open(here.join("notes.db"))
        .unwrap()
        .execute_batch("CREATE TABLE notes (x)")
        .unwrap();
    let before = files(here);
    let table: &[(&[&str], i32, &[&str])] = &[
        // The command line.
        (&["inspect", "--journal", "bank.db"], 2, &["bank.db", "sqlite://PATH"]),
        (&["inspect", "--journal", "memory:"], 2, &["memory:", "sqlite://bank.db"]),
        (&["inspect", "--journal", "sqlite://bank.db?speed=9"], 2, &["speed", "durability"]),
        (&["inspect", "--journal", "mysql://host/db"], 2, &["mysql://host/db", "sqlite://PATH"]),
        (&["verify", "--journal", "sqlite://bank.db", "--jobs", "0"], 2, &["--jobs", "0"]),
        (&["events", "alice", BANK[0], BANK[1]], 2, &["alice", "kind|entity-id"]),
        (&["events", "account|alice", BANK[0], BANK[1], "--from", "0"], 2, &["--from", "0"]),
        (&["export", BANK[0], BANK[1], "--colour"], 2, &["--colour"]),
        (&["export", BANK[0], BANK[1], "--encrypt", "secret"], 2, &["passphrase:env:NAME"]),
        (&["export", BANK[0], BANK[1], "--mask-key", "KEY"], 2, &["--mask"]),
        // The journal.
        (
            &["inspect", "--journal", "sqlite://bnk.db"],
            3,
            &["bnk.db", "there is no such file", "correct the path"],
        ),
        (&["inspect", "--journal", "sqlite://no/bank.db"], 3, &["no directory", "create it"]),
        (&["inspect", "--journal", "sqlite://text.db"], 3, &["text.db", "not a SQLite database"]),
        (&["verify", "--journal", "sqlite://notes.db"], 3, &["another application", "choose another path"]),
        (&["export", "--journal", "sqlite://."], 3, &["directory"]),
        // What is in it.
        (&["events", "account|zoe", BANK[0], BANK[1]], 3, &["account|zoe", "annals inspect --ids"]),
        (&["export", "account|zoe", BANK[0], BANK[1]], 3, &["account|zoe", "annals inspect --ids"]),
        (&["verify", "account|zoe", BANK[0], BANK[1]], 3, &["account|zoe"]),
        (&["events", "account|bob", BANK[0], BANK[1], "--from", "99"], 3, &["99", "its last is 7"]),
        (
            &["events", "account|bob", BANK[0], BANK[1], "--from", "3", "--to", "2"],
            3,
            &["--from 3", "--to 2"],
        ),
        // Files.
        (&["export", BANK[0], BANK[1], "--output", "bank.db"], 3, &["bank.db", "remove it"]),
        (&["export", BANK[0], BANK[1], "--output", "no/such/file"], 3, &["no/such/file"]),
        (&["export", BANK[0], BANK[1], "--mask", "none.toml"], 3, &["none.toml"]),
        (&["export", BANK[0], BANK[1], "--mask", "bad.toml"], 3, &["bad.toml", "shred", "pseudonym"]),
        (&["export", BANK[0], BANK[1], "--encrypt", "passphrase:env:NOT_SET"], 3, &["NOT_SET"]),
        (&["import", "none.jsonl", "--journal", "sqlite://new.db"], 3, &["none.jsonl"]),
        (&["import", "bank.db", "--journal", "sqlite://new.db"], 3, &["bank.db", "annals export"]),
        (
            &["import", "good.jsonl", "--decrypt", "passphrase:env:HOME", "--journal", "sqlite://new.db"],
            3,
            &["not sealed"],
        ),
        (&["keys", "generate", "text.db"], 3, &["text.db", "no ring"]),
        (&["keys", "generate", "no/ring.json"], 3, &["no/ring.json"]),
    ];
    for (args, code, says) in table {
        let run = annals(here, args);
        assert_eq!(run.code, Some(*code), "{args:?}: {run}");
        assert_eq!(run.out, "", "{args:?} prints on standard output: {run}");
        let run = run.says(says);
        assert!(run.err.lines().count() < 12, "{args:?} has much to say: {run}");
    }
    assert_eq!(files(here), before, "something was made or changed");
    annals(here, &["import", "bad.jsonl", "--journal", "sqlite://new.db"])
        .exits(3)
        .says(&["bad.jsonl, line 1", "payload"]);
}

#[test]
fn another_version_of_the_tables_is_refused() {
    for (version, says) in [(99, "run the newer build"), (1, "start an application of this build on it once")]
    {
        let home = bank();
        damage(
            home.path(),
            &format!("UPDATE annals_schema SET version = {version} WHERE component = 'journal'"),
        );
        let before = files(home.path());
        annals(home.path(), &["inspect", BANK[0], BANK[1]]).exits(3).says(&["bank.db", says]);
        assert_eq!(files(home.path()), before);
    }
}

#[test]
fn the_journal_may_be_named_by_the_environment() {
    let home = bank();
    annals_with(home.path(), &[("ANNALS_JOURNAL", "sqlite://bank.db")], &["inspect"])
        .exits(0)
        .says(&["ids         3"]);
}
