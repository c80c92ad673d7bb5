use std::fs;
use std::path::Path;

use annals::journal::{KeyId, SeqNr};
use annals::prelude::Annals;

use crate::bank::Account;
use crate::program::annals;
use crate::rekeying::{generations, run};

const ENCRYPT: [&str; 6] = ["keys", "encrypt", "--journal", "sqlite://bank.db", "--keys", "file:ring.json"];

/// A bank that was run without keys, and a ring for it.
pub(crate) fn plain(directory: &Path) {
    run(directory, false);
    annals(directory, &["keys", "generate", "ring.json"]).exits(0);
}

fn is_found(directory: &Path, text: &str) -> bool {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut journals =
        files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("bank.db"));
    journals.any(|path| fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn a_bank_in_the_clear_is_sealed_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    plain(at);
    let encrypt = |more: &[&str]| annals(at, &[&ENCRYPT[..], more].concat());
    // One id first; the rest is read as before.
    encrypt(&["account|bob"]).exits(0).says(&["1 of 1 ids had something in the clear: 1 events"]);
    assert_eq!(generations(at, "bob"), [(KeyId(1), SeqNr::FIRST)]);
    assert!(generations(at, "alice").is_empty());
    let done = encrypt(&["--all", "--json", "--rate", "10000"]).exits(0).json().remove(0);
    for (name, value) in [("ids", 2), ("changed", 1), ("events", 10), ("failed", 0)] {
        assert_eq!(done[name], value, "{name}: {done}");
    }
    assert_ne!(done["snapshots"], 0, "{done}");
    assert_eq!(generations(at, "alice"), [(KeyId(1), SeqNr::FIRST)]);
    run(at, true);

    encrypt(&["--all", "--vacuum"]).exits(0).says(&["0 of 2 ids", "the file was written anew"]);
    for text in ["DE-alice", "\"cents\""] {
        assert!(!is_found(at, text), "{text}");
    }
    run(at, true);
}

#[test]
fn the_search_finds_what_is_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    plain(home.path());
    assert!(is_found(home.path(), "DE-alice") && is_found(home.path(), "\"cents\""));
    annals(home.path(), &ENCRYPT).exits(2).says(&["--all"]);
}

/// What a node without keys writes behind the beginning would be corrupt.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_without_keys_is_named_and_nothing_is_begun() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    annals(at, &["keys", "generate", "ring.json"]).exits(0);
    let url = format!("sqlite://{}", at.join("bank.db").display());
    let node = |keyed: bool| {
        let builder = Annals::builder("branch").journal(url.clone()).entity::<Account>();
        let builder =
            if keyed { builder.keys(format!("file:{}", at.join("ring.json").display())) } else { builder };
        async { builder.start().await.unwrap() }
    };
    let plain = node(false).await;
    let all = [&ENCRYPT[..], &["--all"]].concat();
    annals(at, &all).exits(3).says(&["1 nodes run on this journal (branch)", "0 of them at most have keys"]);
    // It can still be started without keys: the journal has none.
    plain.shutdown().await;
    node(false).await.shutdown().await;
    let keyed = node(true).await;
    annals(at, &all).exits(0);
    keyed.shutdown().await;
}
