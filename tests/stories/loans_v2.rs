//! The loans' second version on what the first one has stored, as the guide walks through it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use annals::testing::export;

use crate::example::{annals, example, url};

const FILES: [&str; 4] = ["v1.jsonl", "schemas.lock", "schemas.v1.lock", "more.xes"];

#[test]
fn every_command_of_the_page_runs() {
    let dir = directory();
    let page = include_str!("../../docs/guide/loans-v2.md");
    let blocks: Vec<&str> =
        page.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() > 4, "the page has {} blocks", blocks.len());
    for block in blocks {
        let output = shell(dir.path(), block);
        assert!(output.status.success(), "{block}\n{}", said(&output));
    }
    let shown = said(&shell(dir.path(), "loans show 173691"));
    let of_the_page =
        page.split("\n```text\ncase ").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    for line in format!("case {of_the_page}").lines().take_while(|line| !line.starts_with('…')) {
        assert!(shown.contains(line), "the page shows {line:?}, which is not in\n{shown}");
    }
}

#[tokio::test]
async fn loans_of_the_first_version_are_served_by_the_second_and_stay_as_they_are() {
    let dir = directory();
    let import = shell(dir.path(), "annals import v1.jsonl --journal sqlite://loans.db");
    assert!(import.status.success(), "{}", said(&import));
    let first = fs::read_to_string(dir.path().join("v1.jsonl")).unwrap();

    // What the first version said about the same journal, but for what is new.
    let shown = said(&shell(dir.path(), "loans show 173688"));
    for line in [
        "outcome  approved",
        "step     activated",
        "rows     15, 2011-10-01T08:00:44.546+02:00 to 2011-10-01T11:02:44.546+02:00",
        "offer    accepted",
        "amount   20000.00 EUR",
        "offer sent back",
        "offer accepted",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    let totals = said(&shell(dir.path(), "loans replay --json"));
    let totals: serde_json::Value = serde_json::from_str(&totals).unwrap();
    for (field, count) in
        [("cases", 5), ("events", 39), ("approved", 1), ("declined", 2), ("cancelled", 1), ("open", 1)]
    {
        assert_eq!(totals[field], count, "{totals}");
    }

    let journal = annals::journal::open(&url(&dir.path().join("loans.db"))).await.unwrap();
    let mut now = Vec::new();
    export(&*journal.journal, &mut now).await.unwrap();
    assert_eq!(String::from_utf8(now).unwrap(), first, "nothing that was stored was touched");
}

#[test]
fn a_journal_of_the_first_version_is_rewritten_to_the_second_and_says_the_same() {
    for keys in ["", " --keys file:ring.json"] {
        let dir = directory();
        let run = |line: &str| shell(dir.path(), line);
        assert!(run("annals keys generate ring.json").status.success());
        assert!(run(&format!("annals import v1.jsonl --journal sqlite://loans.db{keys}")).status.success());
        let shown = said(&run(&format!("loans show 173691{keys}")));
        let rewrite = "loans migrate rewrite --json --apply --journal sqlite://loans.db";
        if !keys.is_empty() {
            let refused = run(rewrite);
            assert_eq!(refused.status.code(), Some(3));
            assert!(said(&refused).contains("--keys file:ring.json"), "{}", said(&refused));
        }
        let told = said(&run(&format!("{rewrite}{keys}")));
        let told: serde_json::Value =
            serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
        for (field, expected) in [("replaced", 18), ("still_to_do", 0), ("left_alone", 0), ("compared", 40)] {
            assert_eq!(told[field], expected, "{field} in {told}");
        }
        let gone: Vec<&str> =
            told["gone"].as_array().unwrap().iter().filter_map(|form| form["manifest"].as_str()).collect();
        assert!(gone.contains(&"loan.submitted") && gone.contains(&"loan.offer-created"), "{gone:?}");
        assert_eq!(said(&run(&format!("loans show 173691{keys}"))), shown);
        assert!(run(&format!("loans replay{keys}")).status.success());
        let verified = run(&format!("annals verify --journal sqlite://loans.db{keys}"));
        assert!(verified.status.success(), "{}", said(&verified));
    }
}

#[test]
fn what_the_second_version_has_stored_the_first_one_is_told_not_to_read() {
    let dir = directory();
    let reads =
        |lock: &str| shell(dir.path(), &format!("annals schema --journal sqlite://loans.db --lock {lock}"));
    assert!(shell(dir.path(), "annals import v1.jsonl --journal sqlite://loans.db").status.success());
    assert!(reads("schemas.v1.lock").status.success() && reads("schemas.lock").status.success());
    assert!(shell(dir.path(), "loans import more.xes").status.success());
    let (older, newer) = (reads("schemas.v1.lock"), reads("schemas.lock"));
    assert!(newer.status.success(), "{}", said(&newer));
    assert_eq!(older.status.code(), Some(1), "{}", said(&older));
    let told = said(&older);
    assert!(told.contains("no: unknown") && told.contains("no: reads 1"), "{told}");
    assert!(said(&shell(dir.path(), "loans show 214376")).contains("amount   12500.50 EUR"));
}

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let of_the_example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/loans");
    for name in FILES {
        fs::copy(of_the_example.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// Runs a line of the shell where `loans` and `annals` are on the path.
fn shell(directory: &Path, line: &str) -> Output {
    let ours = [example("loans"), annals()].map(|binary| binary.parent().unwrap().to_owned());
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(ours.into_iter().chain(env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command.current_dir(directory).env("PATH", path).env_remove("ANNALS_JOURNAL").args(["-e", "-c", line]);
    command.output().unwrap()
}

/// Standard output, or what went wrong.
fn said(output: &Output) -> String {
    let text =
        if output.status.success() || output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).into_owned()
}
