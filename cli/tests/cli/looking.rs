use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::prelude::{Kind, Retention, SnapshotPolicy};

use crate::bank::{Account, Book, balance, bank, files, killed_bank, node, node_behind};
use crate::program::annals;

const LOOKING: [&[&str]; 6] = [
    &["inspect", "--journal", "sqlite://bank.db"],
    &["inspect", "--ids", "--journal", "sqlite://bank.db"],
    &["events", "account|alice", "--journal", "sqlite://bank.db"],
    &["export", "--journal", "sqlite://bank.db"],
    &["export", "--snapshots", "--journal", "sqlite://bank.db"],
    &["verify", "--journal", "sqlite://bank.db"],
];

const VERIFY: [&str; 3] = ["verify", "--journal", "sqlite://bank.db"];

#[test]
fn looking_changes_no_byte() {
    for (home, log) in [(bank(), false), (killed_bank(), true)] {
        let before = files(home.path());
        assert_eq!(before.contains_key("bank.db-wal"), log);
        for args in LOOKING {
            annals(home.path(), args).exits(0);
            assert_eq!(files(home.path()), before, "{args:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_on_while_it_is_looked_at() {
    let home = tokio::task::spawn_blocking(bank).await.unwrap();
    let here = home.path().to_owned();
    let kind = Kind::new().snapshots(SnapshotPolicy::every_events(5));
    let (node, database) = node(&here, "bank.db", kind).await;
    let alice = node.entity::<Account>("alice");
    let mut cents = alice.ask(Book { cents: 1, with: "x".into() }).await.unwrap();
    for args in LOOKING {
        let here = here.clone();
        let looking = tokio::task::spawn_blocking(move || annals(&here, args));
        // Each is answered, with what it adds: no id was claimed by somebody else.
        while !looking.is_finished() {
            cents += 1;
            assert_eq!(alice.ask(Book { cents: 1, with: "x".into() }).await.unwrap(), cents);
        }
        looking.await.unwrap().exits(0);
    }
    node.shutdown().await;
    database.close().await;
    let after = tokio::task::spawn_blocking(move || balance(&here, "bank.db", "alice")).await.unwrap();
    assert_eq!(after, cents);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_while_owners_delete_events_and_snapshots() {
    let home = tempfile::tempdir().unwrap();
    nothing_is_found(home.path().to_owned(), None, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_while_owners_behind_keys_delete_events_and_snapshots() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path().to_owned();
    let made = here.clone();
    let made = tokio::task::spawn_blocking(move || annals(&made, &["keys", "generate", "ring.json"]));
    made.await.unwrap().exits(0);
    nothing_is_found(here, Some("ring.json"), &["--keys", "file:ring.json", "--refuse-plaintext"]).await;
}

async fn nothing_is_found(here: PathBuf, ring: Option<&str>, keys: &'static [&'static str]) {
    let kind =
        Kind::new().snapshots(SnapshotPolicy::every_events(2)).retention(Retention::keep(1).delete_events());
    let (node, database) = node_behind(&here, "bank.db", kind, ring).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let account = node.entity::<Account>(&number.to_string());
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    account.ask(Book { cents: 1, with: "x".into() }).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..12 {
        let here = here.clone();
        let run = tokio::task::spawn_blocking(move || annals(&here, &[&VERIFY, keys].concat()));
        run.await.unwrap().exits(0);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    node.shutdown().await;
    database.close().await;
}
