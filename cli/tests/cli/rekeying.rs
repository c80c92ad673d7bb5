use std::path::Path;

use annals::journal::encryption::KeyState;
use annals::journal::{KeyId, PersistenceId, SeqNr};
use annals::prelude::{Annals, Kind, Retention, SnapshotPolicy};

use crate::bank::{Account, Book, Open};
use crate::program::annals;
use crate::sealed_bank::with_keys;

const REKEY: [&str; 6] = ["keys", "rekey", "--journal", "sqlite://bank.db", "--keys", "file:ring.json"];

/// A bank that was run with keys: alice's events and snapshots, carol's events behind a snapshot, and bob, who has one event.
pub(crate) fn sealed(directory: &Path) {
    annals(directory, &["keys", "generate", "ring.json"]).exits(0);
    run(directory, true);
}

/// Runs the bank, with keys or without.
#[tokio::main]
pub(crate) async fn run(directory: &Path, keyed: bool) {
    let kind = Kind::new().snapshots(SnapshotPolicy::every_events(4)).retention(Retention::keep(2));
    let url = format!("sqlite://{}", directory.join("bank.db").display());
    let mut builder = Annals::builder("bank").journal(url).kind::<Account>(kind);
    if keyed {
        builder = builder.keys(format!("file:{}", directory.join("ring.json").display()));
    }
    let node = builder.start().await.unwrap();
    for (owner, bookings) in [("alice", 9), ("bob", 0)] {
        let account = node.entity::<Account>(owner);
        account.ask(Open { owner: owner.to_owned() }).await.unwrap();
        for cents in 1..=bookings {
            account.ask(Book { cents, with: "bob".into() }).await.unwrap();
        }
    }
    node.shutdown().await;
}

/// The generations of an account's key.
pub(crate) fn generations(directory: &Path, owner: &str) -> Vec<(KeyId, SeqNr)> {
    let mut found = Vec::new();
    with_keys(directory, "file:ring.json", async |keys, _| {
        let id = PersistenceId::new("account", owner).unwrap();
        if let KeyState::Live { generations, .. } = keys.state(&[&id]).await.remove(0).unwrap() {
            found = generations;
        }
        keys.close().await;
    });
    found
}

#[test]
fn ids_get_new_keys_once_an_incident_and_go_on() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    sealed(at);
    let rekey = |more: &[&str]| annals(at, &[&REKEY[..], more].concat());
    let run = rekey(&["account|alice", "--incident", "2026-11-leak"]).exits(0);
    let run = run.says(&[
        "if this is interrupted: --incident 2026-11-leak",
        "1 of 1 ids have a new key, 10 events and ",
        "run it again with --vacuum",
    ]);
    assert!(!run.out.contains("0 snapshots"), "{run}");
    assert_eq!(generations(at, "alice"), [(KeyId(2), SeqNr::FIRST)]);
    assert_eq!(generations(at, "bob"), [(KeyId(1), SeqNr::FIRST)]);

    // For the same incident alice is left alone.
    let again = rekey(&["--all", "--incident", "2026-11-leak", "--rate", "10000", "--json", "--vacuum"]);
    let again = again.exits(0).json().remove(0);
    for (name, value) in [("ids", 2), ("changed", 1), ("events", 1), ("failed", 0)] {
        assert_eq!(again[name], value, "{name}: {again}");
    }
    assert_eq!((&again["incident"], &again["vacuumed"]), (&"2026-11-leak".into(), &true.into()));
    assert_eq!(generations(at, "bob"), [(KeyId(2), SeqNr::FIRST)]);
    // Without a name it is another incident.
    rekey(&["--prefix", "account|b"]).exits(0).says(&["1 of 1 ids have a new key, 1 events"]);
    assert_eq!(generations(at, "bob"), [(KeyId(3), SeqNr::FIRST)]);
    assert_eq!(generations(at, "alice"), [(KeyId(2), SeqNr::FIRST)]);
    run_again(at);
}

/// The bank goes on with what is there.
fn run_again(directory: &Path) {
    run(directory, true);
    let run = annals(directory, &["inspect", "--journal", "sqlite://bank.db", "account|alice"]).exits(0);
    assert!(run.out.contains("20"), "{run}");
}

#[test]
fn which_ids_must_be_said_and_they_must_be_there() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    sealed(at);
    let rekey = |more: &[&str]| annals(at, &[&REKEY[..], more].concat());
    rekey(&[]).exits(2).says(&["--all"]);
    rekey(&["--all", "account|alice"]).exits(2);
    rekey(&["--all", "--incident", ""]).exits(2).says(&["1 to 100 bytes"]);
    rekey(&["account|nobody"]).exits(3).says(&["account|nobody"]);
    annals(at, &["keys", "rekey", "--all", "--journal", "sqlite://no.db", "--keys", "file:ring.json"])
        .exits(3);
    assert!(!at.join("no.db").exists());
}
