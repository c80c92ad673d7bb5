use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::annals;

fn ring(path: &Path) -> (u64, BTreeMap<String, String>) {
    let ring: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    (ring["active"].as_u64().unwrap(), serde_json::from_value(ring["keys"].clone()).unwrap())
}

#[test]
fn a_ring_is_made_and_gets_further_keys() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ring.json");
    let run = annals(home.path(), &["keys", "generate", "ring.json"])
        .exits(0)
        .says(&["ring.json made: key 1 is active"]);
    let (active, first) = ring(&path);
    assert_eq!((active, first.len(), first["1"].len()), (1, 1, 44));
    assert!(!run.out.contains(&first["1"]) && !run.err.contains(&first["1"]));
    annals(home.path(), &["keys", "generate", "ring.json"])
        .exits(0)
        .says(&["has a new key: key 2 is active"]);
    let run = annals(home.path(), &["keys", "generate", "ring.json", "--keep-active", "--json"]).exits(0);
    assert_eq!(
        run.json()[0],
        serde_json::json!({"file": "ring.json", "added": 3, "active": 2, "keys": [1, 2, 3]})
    );
    let (active, keys) = ring(&path);
    assert_eq!(active, 2);
    assert_eq!(keys["1"], first["1"]);
    assert_eq!(keys.values().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
#[cfg(unix)]
fn a_ring_is_its_owners_alone_and_is_replaced_where_a_link_leads() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("secrets")).unwrap();
    annals(home.path(), &["keys", "generate", "secrets/ring.json"]).exits(0);
    let target = home.path().join("secrets/ring.json");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    symlink("secrets/ring.json", home.path().join("ring.json")).unwrap();
    annals(home.path(), &["keys", "generate", "ring.json"]).exits(0);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(home.path().join("ring.json").symlink_metadata().unwrap().is_symlink());
    assert_eq!(ring(&target).1.len(), 2);
    let left: Vec<_> = fs::read_dir(home.path().join("secrets")).unwrap().collect();
    assert_eq!(left.len(), 1, "something is left beside the ring");
}

#[test]
fn no_key_is_lost_when_many_are_added_at_once() {
    let home = tempfile::tempdir().unwrap();
    annals(home.path(), &["keys", "generate", "ring.json"]).exits(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| annals(home.path(), &["keys", "generate", "ring.json"]).exits(0));
        }
    });
    let (active, keys) = ring(&home.path().join("ring.json"));
    assert_eq!((active, keys.len()), (9, 9));
}

#[test]
fn what_is_no_ring_is_left_as_it_is_and_not_quoted() {
    let home = tempfile::tempdir().unwrap();
    for text in
        ["hunter2", r#"{"active":1,"keys":{"1":"aHVudGVyMg=="}}"#, r#"{"active":7,"keys":{"1":"hunter2"}}"#]
    {
        fs::write(home.path().join("ring.json"), text).unwrap();
        let run = annals(home.path(), &["keys", "generate", "ring.json"]).exits(3).says(&["ring.json"]);
        assert!(!run.err.contains("hunter2") && !run.err.contains("aHVudGVyMg"), "{run}");
        assert_eq!(fs::read_to_string(home.path().join("ring.json")).unwrap(), text);
    }
}

#[test]
fn a_ring_with_two_keys_of_one_number_is_refused_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = ("A".repeat(43) + "=", "E".repeat(43) + "=");
    let text = format!(r#"{{"active":1,"keys":{{"1":"{one}","1":"{other}"}}}}"#);
    fs::write(home.path().join("ring.json"), &text).unwrap();
    let run =
        annals(home.path(), &["keys", "generate", "ring.json"]).exits(3).says(&["key 1 is there twice"]);
    assert!(!run.err.contains(&one) && !run.err.contains(&other), "{run}");
    assert_eq!(fs::read_to_string(home.path().join("ring.json")).unwrap(), text);
}
