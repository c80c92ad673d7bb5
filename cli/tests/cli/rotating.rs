use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::program::{annals, annals_with};
use crate::sealed_bank::{all_open, keyed, with_keys};

const ROTATE: [&str; 6] = ["keys", "rotate", "--journal", "sqlite://bank.db", "--keys", "file:ring.json"];
const STATUS: [&str; 5] = ["keys", "status", "--journal", "sqlite://bank.db", "--json"];

#[test]
fn a_journal_moves_to_a_new_key_and_the_old_one_may_be_removed() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    keyed(at, "file:ring.json", 2_500);
    let status = annals(at, &STATUS).exits(0).json().remove(0);
    assert_eq!(
        status["master_keys"],
        json!([{"id": 1, "data_keys": 2500, "chain_key": true, "needed": true, "here": null}])
    );
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    let run = annals(at, &ROTATE).exits(0);
    let run = run.says(&[
        "moved from master key 1 to 2",
        "2500 data keys rewrapped",
        "no longer used by anything: master key 1",
    ]);
    assert!(run.err.is_empty(), "a bar in a pipe? {run}");
    let again = annals(at, &[&ROTATE[..], &["--json"]].concat()).exits(0).json().remove(0);
    assert_eq!(
        (&again["moved_from"], &again["rewrapped"], &again["unused"]),
        (&json!(null), &json!(0), &json!([1]))
    );

    // The ring without key 1: everything opens, and status says so.
    let ring: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(at.join("ring.json")).unwrap()).unwrap();
    let without = json!({"active": 2, "keys": {"2": ring["keys"]["2"]}});
    fs::write(at.join("without.json"), without.to_string()).unwrap();
    all_open(at, "file:without.json", 2_500);
    let status =
        annals(at, &[&STATUS[..], &["--keys", "file:without.json"]].concat()).exits(0).json().remove(0);
    assert_eq!(
        (&status["active"], &status["ids"], &status["processes"]),
        (&json!(2), &json!(2500), &json!([]))
    );
    assert_eq!(status["master_keys"][1]["here"], json!(true));
    annals(at, &["keys", "status", "--journal", "sqlite://bank.db"])
        .exits(0)
        .says(&["active       master key 2"]);

    // One without key 2 is wrong, and says so.
    let without = json!({"active": 1, "keys": {"1": ring["keys"]["1"]}});
    fs::write(at.join("old.json"), without.to_string()).unwrap();
    annals(at, &[&STATUS[..], &["--keys", "file:old.json"]].concat()).exits(1).says(&["need master key 2"]);
    annals(at, &[&ROTATE[..5], &["file:old.json"]].concat()).exits(3).says(&["need master key 2"]);
}

#[test]
fn a_running_application_that_has_no_such_key_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    fs::copy(at.join("ring.json"), at.join("theirs.json")).unwrap();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    with_keys(at, "file:theirs.json", async |keys, _| {
        let directory = at.to_owned();
        let rotate = move |more: &[&str]| annals(&directory, &[&ROTATE[..], more].concat());
        rotate(&[]).exits(3).says(&["did not announce master key 2", "process "]);
        rotate(&["--force"]).exits(0).says(&["moved from master key 1 to 2"]);
        keys.close().await;
    });
}

#[test]
fn a_passphrase_becomes_another_and_a_ring() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    let variables = [("OLD", "correct horse"), ("NEW", "battery staple"), ("TYPO", "battery stapel")];
    let journal = ["--journal", "sqlite://bank.db"];
    let keys = |sources: &[&'static str]| -> Vec<&str> {
        sources.iter().flat_map(|source| ["--keys", source]).chain(journal).collect()
    };
    let rotate = |sources: &[&'static str]| {
        annals_with(at, &variables, &[&["keys", "rotate"], &keys(sources)[..]].concat())
    };
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    keyed(at, "file:ring.json", 10);
    // From a ring to a passphrase, to another, and back.
    rotate(&["passphrase:env:OLD", "file:ring.json"])
        .exits(0)
        .says(&["moved from master key 1 to 2147483648"]);
    rotate(&["passphrase:env:TYPO"]).exits(3).says(&["passphrase:env:TYPO", "knows no such passphrase"]);
    rotate(&["passphrase:env:NEW", "passphrase:env:OLD"])
        .exits(0)
        .says(&["moved from master key 2147483648 to 2147483649"]);
    let run = rotate(&["passphrase:env:OLD"]).exits(3).says(&["need master key 2147483649"]);
    rotate(&["file:ring.json", "passphrase:env:NEW"])
        .exits(0)
        .says(&["moved from master key 2147483649 to 1"]);
    all_open(at, "file:ring.json", 10);
    for (_, secret) in variables {
        assert!(!run.err.contains(secret) && !run.out.contains(secret));
    }
}

#[test]
fn a_journal_that_was_never_sealed_or_is_not_there_stays_so() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    annals(at, &ROTATE).exits(3);
    assert!(!at.join("bank.db").exists());
    fs::write(at.join("none.jsonl"), "").unwrap();
    annals(at, &["import", "none.jsonl", "--journal", "sqlite://bank.db"]);
    annals(at, &ROTATE).exits(3).says(&["nothing was ever sealed"]);
    annals(at, &STATUS).exits(0).says(&["\"active\":null"]);
}

/// Everything that the commands say, also where they fail and where everything is logged, is searched for the keys and for the passphrase.
#[test]
fn no_command_ever_says_a_key_or_a_passphrase() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    keyed(at, "file:ring.json", 20);
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    let ring = fs::read_to_string(at.join("ring.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&ring).unwrap();
    let keys: Vec<&str> = ["1", "2"].iter().map(|id| parsed["keys"][id].as_str().unwrap()).collect();
    let mut secrets: Vec<String> = vec!["correct horse".into()];
    for key in keys {
        let bytes = STANDARD.decode(key).unwrap();
        secrets.push(key.trim_end_matches('=').to_owned());
        secrets.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        // As `Debug` shows bytes.
        secrets.push(bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", "));
    }
    fs::write(at.join("cut.json"), &ring[..ring.len() - 30]).unwrap();
    fs::write(at.join("swapped.json"), ring.replace("\"1\":", "\"3\":")).unwrap();
    fs::write(at.join("no.json"), format!("{ring}{ring}")).unwrap();
    let variables = [
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "1"),
        ("RING", ring.as_str()),
        ("PHRASE", "correct horse"),
        ("WRONG", "correct horse battery"),
    ];
    let sources = [
        "file:cut.json",
        "file:swapped.json",
        "file:no.json",
        "passphrase:env:WRONG",
        "env:PHRASE",
        "correct horse",
        "file:ring.json",
        "env:RING",
    ];
    let mut failed = 0;
    for source in sources {
        for command in ["status", "rotate"] {
            let args = ["keys", command, "--journal", "sqlite://bank.db", "--keys", source];
            let run = annals_with(at, &variables, &args);
            failed += usize::from(run.code != Some(0));
            // What was given on the command line is the shell's; everything else is ours.
            let secrets = secrets.iter().filter(|secret| !source.contains(secret.as_str()));
            for secret in secrets {
                assert!(
                    !run.out.contains(secret) && !run.err.contains(secret),
                    "{command} {source} says a secret"
                );
            }
        }
    }
    assert!(failed >= 10, "only {failed} runs failed");
}
