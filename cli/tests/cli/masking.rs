use std::fs;

use annals::testing::Replay;

use crate::bank::{Account, bank, pruned_bank};
use crate::program::{annals, annals_with};

const RULES: &str = "\
other = \"hide\"
ids = [\"account\"]

[[value]]
path = \"cents\"
with = \"keep\"

[[value]]
path = \"owner\"
with = \"pseudonym\"

[[value]]
path = \"with\"
with = \"pseudonym\"
";

#[test]
fn a_masked_export_has_no_name_and_still_replays() {
    let home = bank();
    let here = home.path();
    fs::write(here.join("rules.toml"), RULES).unwrap();
    let args = ["export", "--journal", "sqlite://bank.db", "--mask", "rules.toml", "-o", "masked.jsonl"];
    annals(here, &args).exits(0);
    let masked = fs::read_to_string(here.join("masked.jsonl")).unwrap();
    for name in ["alice", "bob", "carol"] {
        assert!(!masked.contains(name), "{name} is in\n{masked}");
    }
    let report = Replay::<Account>::of(here.join("masked.jsonl")).run().unwrap();
    assert_eq!((report.entities, report.events), (3, 21), "{report}");
    // Who was bob is one pseudonym, as an id and as a value.
    let lines: Vec<serde_json::Value> =
        masked.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with = lines.iter().find_map(|line| line["payload"]["with"].as_str()).unwrap();
    assert!(lines.iter().any(|line| line["persistence_id"] == format!("account|{with}")), "{masked}");
    assert!(
        lines.iter().all(|line| line["payload"]["iban"].is_null() || line["payload"]["iban"] == "hidden")
    );
}

#[test]
fn one_key_gives_the_same_pseudonyms_and_none_gives_others_each_time() {
    let home = bank();
    let here = home.path();
    fs::write(here.join("rules.toml"), RULES).unwrap();
    let args = ["export", "--journal", "sqlite://bank.db", "--mask", "rules.toml"];
    assert_ne!(annals(here, &args).exits(0).out, annals(here, &args).exits(0).out);
    let keyed = [&args[..], &["--mask-key", "MASK"]].concat();
    let export = || annals_with(here, &[("MASK", "sixteen bytes at least")], &keyed).exits(0).out;
    assert_eq!(export(), export());
    annals_with(here, &[("MASK", "short")], &keyed).exits(3).says(&["MASK", "at least 16"]);
    annals(here, &keyed).exits(3).says(&["MASK"]);
}

#[test]
fn masked_snapshots_are_of_the_masked_history() {
    let home = pruned_bank();
    let here = home.path();
    fs::write(here.join("rules.toml"), RULES).unwrap();
    let args = [
        "export",
        "--journal",
        "sqlite://bank.db",
        "--mask",
        "rules.toml",
        "--snapshots",
        "-o",
        "masked.jsonl",
    ];
    annals(here, &args).exits(0).says(&["3 snapshots"]);
    annals(here, &["import", "masked.jsonl", "--journal", "sqlite://masked.db"]).exits(0);
    annals(here, &["verify", "--journal", "sqlite://masked.db"]).exits(0).says(&["nothing is wrong"]);
    assert!(!fs::read_to_string(here.join("masked.jsonl")).unwrap().contains("alice"));
}
