use std::fs;

use annals::testing::SchemaLock;

use crate::bank::{Account, bank, damage, pruned_bank};
use crate::program::annals;

const JOURNAL: [&str; 3] = ["schema", "--journal", "sqlite://bank.db"];

fn schema<'a>(more: &[&'a str]) -> Vec<&'a str> {
    JOURNAL.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn each_version_is_told_with_how_many_and_since_when() {
    let home = pruned_bank();
    annals(home.path(), &JOURNAL).exits(0).says(&["account.booked", "snapshot", "account.state"]);
    let told = &annals(home.path(), &schema(&["--json"])).exits(0).json()[0];
    let stored = told["stored"].as_array().unwrap();
    let of = |manifest: &str| stored.iter().find(|line| line["manifest"] == manifest).unwrap();
    assert_eq!((&of("account.booked")["version"], &of("account.booked")["of"]), (&1.into(), &"event".into()));
    assert_eq!(of("account.state")["of"], "snapshot");
    assert!(of("account.booked")["oldest"].as_str() <= of("account.booked")["newest"].as_str());
    assert!(told["not_read"].is_null(), "nobody asked");
    let lines = annals(home.path(), &schema(&["--ids", "--json"])).exits(0).json();
    let total: u64 = lines
        .iter()
        .filter(|line| line["manifest"] == "account.booked")
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    assert_eq!(of("account.booked")["count"], total);
}

#[test]
fn a_lock_file_is_held_against_what_is_stored() {
    let home = bank();
    let lock = home.path().join("schemas.lock");
    assert!(SchemaLock::at(&lock).entity::<Account>().updating().run().unwrap().written);
    annals(home.path(), &schema(&["--lock", "schemas.lock"])).exits(0).says(&["reads all of it"]);

    // As if a newer build had stored its events.
    let newer = fs::read_to_string(&lock).unwrap().replace("account.opened", "account.founded");
    let older = newer.replace("\"reads\": [1,1]", "\"reads\": [2,3]");
    fs::write(&lock, older).unwrap();
    let run = annals(home.path(), &schema(&["--lock", "schemas.lock"])).exits(1);
    run.says(&["no: unknown", "no: reads 2 to 3", "does not start on this journal"]);
    let told = &annals(home.path(), &schema(&["--lock", "schemas.lock", "--json"])).exits(1).json()[0];
    assert_eq!((&told["not_read"], &told["stored"][0]["read"]), (&2.into(), &false.into()));
    let ids = annals(home.path(), &schema(&["--lock", "schemas.lock", "--ids"])).exits(1);
    ids.says(&["account|alice  event  account.booked version 1", "no: unknown"]);
}

#[test]
fn what_cannot_be_read_is_counted_and_a_file_that_is_none_named() {
    let home = bank();
    annals(home.path(), &schema(&["--lock", "missing.lock"])).exits(3).says(&["--lock missing.lock"]);
    fs::write(home.path().join("no.lock"), "{}").unwrap();
    annals(home.path(), &schema(&["--lock", "no.lock"])).exits(3).says(&["no lock file of schemas"]);
    annals(home.path(), &schema(&["account|nobody"])).exits(3).says(&["account|nobody"]);
    damage(home.path(), "UPDATE events SET envelope = x'00ff' WHERE ordering = 3");
    annals(home.path(), &JOURNAL).exits(1).says(&["1 events or snapshots cannot be read"]);
}
