use crate::bank::{bank, damage, pruned, pruned_bank};
use crate::program::annals;

#[test]
fn a_journal_is_told_in_numbers() {
    let home = bank();
    let run = annals(home.path(), &["inspect", "--journal", "sqlite://bank.db"]).exits(0);
    run.says(&["ids         3", "events      21, 0 deleted, 0 unreadable", "account.booked", "JSON"]);
    let json =
        &annals(home.path(), &["inspect", "--journal", "sqlite://bank.db", "--json"]).exits(0).json()[0];
    assert_eq!((&json["ids"], &json["events"], &json["sealed"]), (&3.into(), &21.into(), &0.into()));
    let booked = &json["manifests"][0];
    assert_eq!(
        (&booked["manifest"], &booked["version"], &booked["events"]),
        (&"account.booked".into(), &1.into(), &18.into())
    );
    assert!(booked["bytes"].as_u64() > booked["payload_bytes"].as_u64());
    assert_eq!(
        json["kinds"],
        serde_json::json!([{"kind": "account", "ids": 3, "events": 21, "bytes": json["bytes"]}])
    );
}

#[test]
fn ids_are_listed_one_a_line() {
    let home = pruned_bank();
    let args = ["inspect", "--journal", "sqlite://bank.db", "--ids", "--json"];
    let lines = annals(home.path(), &args).exits(0).json();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["persistence_id"].as_str().unwrap(),
                line["head"].as_u64().unwrap(),
                line["deleted_to"].as_u64().unwrap(),
            )
        })
        .collect();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|owner| pruned(home.path(), owner));
    assert_eq!(
        told,
        [("account|alice", 10, alice.0), ("account|bob", 7, bob.0), ("account|carol", 4, carol.0)]
    );
    assert_eq!(lines[0]["snapshots"], serde_json::json!([alice.1]));
    let some =
        annals(home.path(), &["inspect", "--journal", "sqlite://bank.db", "--ids", "--prefix", "account|b"])
            .exits(0);
    assert!(some.out.contains("account|bob") && !some.out.contains("account|alice"), "{some}");
}

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_told() {
    let home = bank();
    damage(home.path(), "UPDATE events SET envelope = x'00ff' WHERE ordering = 3");
    let run = annals(home.path(), &["inspect", "--journal", "sqlite://bank.db"]).exits(1);
    run.says(&["events      20, 0 deleted, 1 unreadable"]);
}

#[test]
fn events_are_printed_decoded() {
    let home = bank();
    let run = annals(
        home.path(),
        &["events", "account|alice", "--journal", "sqlite://bank.db", "--from", "1", "--to", "2"],
    )
    .exits(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("1  2")
            && lines[0].ends_with(r#"account.opened v1  {"owner":"alice","iban":"DE-alice"}"#),
        "{run}"
    );
    let json =
        annals(home.path(), &["events", "account|alice", "--journal", "sqlite://bank.db", "--json"]).exits(0);
    let export = annals(home.path(), &["export", "account|alice", "--journal", "sqlite://bank.db"]).exits(0);
    assert_eq!(json.out, export.out);
    assert_eq!(json.json()[9]["payload"], serde_json::json!({"cents": 9, "with": "bob"}));
}

#[test]
fn an_event_that_cannot_be_read_does_not_hide_the_others() {
    let home = bank();
    damage(
        home.path(),
        "UPDATE events SET envelope = x'00ff' WHERE ordering = 3; DELETE FROM events WHERE ordering = 5",
    );
    let run = annals(home.path(), &["events", "account|alice", "--journal", "sqlite://bank.db"]).exits(1);
    assert_eq!(run.out.lines().count(), 8, "{run}");
    run.says(&["account|alice #3", "account|alice #5: the event is missing"]);
}

#[test]
fn deleted_events_are_told() {
    let home = pruned_bank();
    let run = annals(home.path(), &["events", "account|alice", "--journal", "sqlite://bank.db"]).exits(0);
    let (deleted, _) = pruned(home.path(), "alice");
    assert!(run.out.starts_with(&format!("1 to {deleted} were deleted\n{}  ", deleted + 1)), "{run}");
}
