use serde_json::json;

use crate::bank::pruned_bank;
use crate::program::annals;

const FROM: &str = "sqlite://bank.db";
const TO: &str = "sqlite://new.db";

#[test]
fn a_copy_is_counted_filled_and_handed_over() {
    let home = pruned_bank();
    let home = home.path();
    let copy = |how: &[&str]| annals(home, &[&["migrate", "copy", FROM, TO], how].concat());
    let planned = copy(&["--json"]).exits(0).json().remove(0);
    assert_eq!(planned["state"], "planned");
    assert!(planned["events"].as_u64() > Some(0) && planned["deleted"].as_u64() > Some(0), "{planned}");
    copy(&[]).exits(0).says(&["account.booked", "nothing was changed"]);
    assert!(!home.join("new.db").exists(), "a dry run makes nothing");

    let filled = copy(&["--apply", "--json"]).exits(0).json().remove(0);
    assert_eq!((&filled["state"], &filled["events"]), (&json!("filling"), &planned["events"]));
    copy(&["--apply"]).exits(0).says(&["0 events were copied now", "closed until --cut-over"]);
    copy(&["--cut-over"]).exits(0).says(&["the same in both", "new.db is open"]);
    copy(&["--cut-over"]).exits(0).says(&["it was done before"]);
    copy(&["--dry-run"]).exits(0).says(&["new.db goes on in its place"]);
    annals(home, &["verify", "--journal", TO]).exits(0);
    copy(&["--give-up"]).exits(3).says(&["no copy of sqlite://bank.db that was begun"]);
}

#[test]
fn a_copy_that_is_given_up_leaves_the_source_as_it_was() {
    let home = pruned_bank();
    let copy = |how: &[&str]| annals(home.path(), &[&["migrate", "copy", FROM, TO], how].concat());
    copy(&["--apply", "--rate", "100000"]).exits(0);
    copy(&["--give-up"]).exits(0).says(&["bank.db takes writes again"]);
    copy(&["--cut-over"]).exits(3).says(&["given up", "remove it"]);
    annals(home.path(), &["verify", "--journal", FROM]).exits(0);
}

#[test]
fn what_cannot_be_copied_is_said() {
    let home = pruned_bank();
    let run = |args: &[&str]| annals(home.path(), &[&["migrate", "copy"], args].concat());
    run(&[FROM, FROM, "--apply"]).exits(3).says(&["one journal"]);
    run(&["sqlite://none.db", TO, "--apply"]).exits(3).says(&["none.db"]);
    assert!(!home.path().join("none.db").exists() && !home.path().join("new.db").exists());
    run(&[FROM, TO, "--apply", "--cut-over"]).exits(2);
    run(&[FROM, "memory:"]).exits(2);
    annals(home.path(), &["import", "/dev/null", "--journal", TO]).exits(0);
    run(&[FROM, TO, "--apply"]).exits(0);
}
