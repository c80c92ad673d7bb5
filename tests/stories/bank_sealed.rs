//! The bank behind keys: nothing that its clients say is readable in its files, and it starts with the right keys only.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::bank_kill::kill_again_and_again;
use crate::example::{Bank, example, make_ring, ring_of, url};
use crate::http_client::Client;

#[test]
fn every_answered_change_survives_kill_9_exactly_once_when_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    make_ring(&file);
    let tellers = kill_again_and_again(&file);
    // One client's requests are named "3-17": too short to be told from chance, so all of their shape are looked for as they were sent.
    for sent in tellers.iter().flat_map(|teller| &teller.sent).take(50) {
        let said = format!(r#""request_id":"{}""#, sent.request_id);
        assert_eq!(found(folder.path(), said.as_bytes()), None, "{said}");
    }
}

#[test]
fn nothing_that_a_client_says_is_readable_in_the_banks_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sealed) in [("plain.db", false), ("sealed.db", true)] {
        let home = folder.path().join(name);
        fs::create_dir(&home).unwrap();
        let file = home.join("bank.db");
        if sealed {
            make_ring(&file);
        }
        let bank = Bank::start(&file);
        let mut client = Client::new(bank.address);
        // Sealed bytes are random: four digits come up in them once in a thousand runs, ten do not.
        // More than enough for snapshots and for events that are deleted behind them.
        for number in 0..300 {
            let body = format!(r#"{{"cents":4711471147,"request_id":"Liddell-{number}-secret"}}"#);
            assert_eq!(client.post("/accounts/alice/deposit", &body).unwrap().status, 200);
        }
        let balance = client.get("/accounts/alice").unwrap().answer();
        for fragment in ["Liddell", "secret", "4711471147"] {
            assert_eq!(found(&home, fragment.as_bytes()).is_none(), sealed, "{name} {fragment}");
        }
        // Ids are not secret.
        assert!(found(&home, b"account|alice").is_some());
        bank.terminate();
        bank.stops();
        for fragment in ["Liddell", "secret"] {
            assert_eq!(found(&home, fragment.as_bytes()).is_none(), sealed, "{name} {fragment}, stopped");
        }
        let bank = Bank::start(&file);
        assert_eq!(Client::new(bank.address).get("/accounts/alice").unwrap().answer(), balance);
    }
}

#[test]
fn a_bank_without_the_right_keys_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    make_ring(&file);
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    let body = r#"{"cents":1,"request_id":"a-1"}"#;
    assert_eq!(client.post("/accounts/alice/deposit", body).unwrap().status, 200);
    drop(bank);

    let ring = ring_of(&file);
    let right = fs::read(&ring).unwrap();
    let keys = format!("file:{}", ring.display());
    let other = folder.path().join("other.db");
    make_ring(&other);
    let wrong = format!("file:{}", ring_of(&other).display());
    for (flags, says) in [
        (vec![], "is encrypted"),
        (vec!["--keys", &wrong], "master key 1"),
        (vec!["--keys", "file:no-such-ring.json"], "no-such-ring.json"),
        (vec!["--keys", "ring.json"], "file:PATH"),
        (vec!["--keys", "env:ANNALS_NO_SUCH_RING"], "ANNALS_NO_SUCH_RING"),
    ] {
        let output = start(&file, &flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "{flags:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    // A ring with something else in it.
    fs::write(&ring, b"{\"active\":1,\"keys\":{\"1\":\"hunter2\"}}").unwrap();
    let said = String::from_utf8(start(&file, &["--keys", &keys]).stderr).unwrap();
    assert!(said.contains("ring.json") && !said.contains("hunter2"), "{said}");

    fs::write(&ring, right).unwrap();
    let bank = Bank::start(&file);
    assert_eq!(Client::new(bank.address).get("/accounts/alice").unwrap().answer().cents, 1);
}

/// A bank that ends by itself.
fn start(file: &Path, flags: &[&str]) -> Output {
    Command::new(example("bank"))
        .args(["--listen", "127.0.0.1:0", "--journal", &url(file)])
        .args(flags)
        .env_remove("ANNALS_KEYS")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The file of a folder that has these bytes.
fn found(folder: &Path, bytes: &[u8]) -> Option<String> {
    fs::read_dir(folder).unwrap().map(Result::unwrap).find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        // The log of a bank, and its ring, are no part of the journal.
        let is_journal = name.starts_with("bank.db");
        (is_journal && memchr::memmem::find(&fs::read(entry.path()).unwrap(), bytes).is_some())
            .then_some(name)
    })
}
