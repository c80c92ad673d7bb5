//! Everything that `verify` says of a sealed journal: each kind of damage is made in the SQLite file, or by putting back older rows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use annals_journal::encryption::{Eraser, ErasureLog};
use annals_journal::{Envelope, JournalUrl, KeyId, Manifest, PersistenceId};
use bytes::Bytes;
use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;

use crate::bank::{bank, damage, node_behind, pruned, sealed_bank, sealed_pruned_bank};
use crate::program::{Run, annals, annals_reading};

const BANK: [&str; 2] = ["--journal", "sqlite://bank.db"];
const KEYS: [&str; 2] = ["--keys", "file:ring.json"];

fn verify(here: &Path, more: &[&[&str]]) -> Run {
    annals(here, &[&["verify"][..], &BANK, &more.concat()].concat())
}

/// `kind id number` of each finding.
fn findings(here: &Path, code: i32, more: &[&[&str]]) -> BTreeSet<String> {
    let run = verify(here, &[&more.concat()[..], &["--json"]]).exits(code);
    let mut lines = run.json();
    let end = lines.pop().unwrap();
    assert_eq!(end["ok"], lines.is_empty(), "{run}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let found = lines.iter().map(|line| &line["finding"]).map(|finding| {
        assert!(!text(&finding["what"]).is_empty(), "{run}");
        let mut found = text(&finding["kind"]);
        for field in ["persistence_id", "seq_nr", "to"] {
            if !finding[field].is_null() {
                found += &format!(" {}", text(&finding[field]));
            }
        }
        found
    });
    found.collect()
}

fn found<const N: usize>(what: [&str; N]) -> BTreeSet<String> {
    what.into_iter().map(str::to_owned).collect()
}

fn open(here: &Path) -> Connection {
    Connection::open(here.join("bank.db")).unwrap()
}

/// Changes a stored event as somebody does who puts its checksum right.
fn change(here: &Path, owner: &str, number: u64, change: impl FnOnce(&mut Envelope)) {
    let conn = open(here);
    let stored = envelope(&conn, owner, number);
    let mut event = Envelope::decode(&stored).unwrap();
    change(&mut event);
    put(&conn, owner, number, &event.encode());
}

fn envelope(conn: &Connection, owner: &str, number: u64) -> Bytes {
    let sql = "SELECT envelope FROM events JOIN streams ON streams.id = stream WHERE persistence_id = ? AND seq = ?";
    let stored: Vec<u8> = conn
        .query_row(sql, params![format!("account|{owner}"), number.cast_signed()], |row| row.get(0))
        .unwrap();
    stored.into()
}

fn put(conn: &Connection, owner: &str, number: u64, stored: &[u8]) {
    let sql = "UPDATE events SET envelope = ? WHERE stream = (SELECT id FROM streams WHERE persistence_id = ?) AND seq = ?";
    conn.execute(sql, params![stored, format!("account|{owner}"), number.cast_signed()]).unwrap();
}

/// The mark beside an owner's head, as `journal/src/sqlite/marks.rs` draws it.
fn mark(here: &Path, owner: &str) -> Vec<u8> {
    let (at, block) = mark_block(&open(here), owner);
    block[at..at + 33].to_vec()
}

fn put_mark(here: &Path, owner: &str, mark: &[u8]) {
    let conn = open(here);
    let (at, mut block) = mark_block(&conn, owner);
    block[at..at + 33].copy_from_slice(mark);
    conn.execute("UPDATE mark_blocks SET marks = ? WHERE block = 0", [block]).unwrap();
}

fn mark_block(conn: &Connection, owner: &str) -> (usize, Vec<u8>) {
    let sql = "SELECT 33 * (streams.id - 1), marks FROM mark_blocks, streams WHERE block = 0 AND persistence_id = ?";
    conn.query_row(sql, [format!("account|{owner}")], |row| {
        Ok((usize::try_from(row.get::<_, u32>(0)?).unwrap(), row.get(1)?))
    })
    .unwrap()
}

fn flipped(payload: &Bytes, at: usize) -> Bytes {
    let mut payload = payload.to_vec();
    payload[at] ^= 1;
    payload.into()
}

#[test]
fn a_sound_sealed_journal_has_no_findings_with_keys_and_without() {
    for home in [sealed_bank(), sealed_pruned_bank()] {
        let here = home.path();
        assert_eq!(findings(here, 0, &[&KEYS]), found([]));
        verify(here, &[&KEYS, &["--refuse-plaintext"]])
            .exits(0)
            .says(&["in the clear: 0 events, 0 snapshots", "nothing is wrong"]);
        verify(here, &[]).exits(0).says(&[
            "what is sealed was not looked into",
            "--keys file:ring.json",
            "nothing is wrong",
        ]);
    }
    // A journal without keys says nothing of them.
    let plain = bank();
    let run = verify(plain.path(), &[]).exits(0);
    assert!(!run.out.contains("sealed"), "{run}");
}

#[test]
fn what_was_changed_moved_or_put_in_the_place_of_a_sealed_event_is_found_and_nothing_stops_it() {
    let home = sealed_bank();
    let here = home.path();
    // The text of alice 2, and the bytes of the link of 3 that alice 4 stands upon.
    change(here, "alice", 2, |event| event.payload = flipped(&event.payload, event.payload.len() - 1));
    change(here, "alice", 4, |event| event.payload = flipped(&event.payload, 1 + 12 + 16));
    change(here, "alice", 7, |event| event.manifest = Manifest::new("account.stolen").unwrap());
    // In the clear, in the place of a sealed one.
    change(here, "alice", 9, |event| {
        event.key_id = None;
        event.payload = Bytes::from_static(b"{\"cents\":1000000,\"with\":\"bob\"}");
    });
    // Another id's sealed payload; under a generation that there never was.
    let moved = Envelope::decode(&envelope(&open(here), "alice", 3)).unwrap().payload;
    change(here, "bob", 3, |event| event.payload = moved);
    change(here, "bob", 6, |event| event.key_id = Some(KeyId(7)));
    change(here, "carol", 1, |event| event.payload = Bytes::from_static(b"\x09nothing"));
    let expected = found([
        "unreadable account|alice 2",
        "unreadable account|alice 4",
        "unreadable account|alice 7",
        "broken-chain account|alice 9",
        "unreadable account|bob 3",
        "no-key account|bob 6",
        // It is not upon a 6 of that generation.
        "broken-chain account|bob 7",
        "unreadable account|carol 1",
    ]);
    assert_eq!(findings(here, 1, &[&KEYS]), expected);
    // Without keys: what the records say.
    assert_eq!(findings(here, 1, &[]), found(["no-key account|bob 6"]));
    // `events` names them, and prints the others.
    let run = annals(here, &["events", "account|alice", BANK[0], BANK[1], KEYS[0], KEYS[1]]).exits(1);
    assert_eq!((run.out.lines().count(), run.err.lines().count()), (6, 4), "{run}");
}

#[test]
fn what_was_taken_out_is_found() {
    let home = sealed_pruned_bank();
    let here = home.path();
    let (deleted, _) = pruned(here, "bob");
    damage(here, "DELETE FROM records WHERE key = 'encryption/deleted/account|bob'");
    let expected = format!("cut-off account|bob {deleted}");
    assert_eq!(findings(here, 1, &[&KEYS]), BTreeSet::from([expected]));

    let home = sealed_bank();
    let here = home.path();
    // In the middle; the first ones, as if they had been deleted; the mark of the newest.
    damage(
        here,
        "DELETE FROM events WHERE ordering = 4;
         DELETE FROM events WHERE ordering IN (11, 12); UPDATE events SET envelope = x'' WHERE ordering = 13;
         UPDATE streams SET deleted_to = 3 WHERE persistence_id = 'account|bob';",
    );
    put_mark(here, "carol", &[0; 33]);
    let expected = found([
        "gap account|alice 4",
        "cut-off account|bob 3",
        "not-recoverable account|bob 3",
        "cut-off account|carol 4",
    ]);
    assert_eq!(findings(here, 1, &[&KEYS]), expected);
}

#[test]
fn an_end_that_was_cut_off_is_found_by_the_mark() {
    let home = sealed_bank();
    let here = home.path();
    let another = mark(here, "bob");
    // The newest event, all of them, and another's mark.
    let ends = "UPDATE streams SET known_head = 0;
        DELETE FROM events WHERE ordering = 21;
        DELETE FROM events WHERE stream = (SELECT id FROM streams WHERE persistence_id = 'account|bob');";
    damage(here, ends);
    put_mark(here, "alice", &another);
    let expected = found([
        "cut-off account|alice 10",
        "cut-off account|bob 0",
        "cut-off account|carol 3",
        "orphaned-key account|bob",
    ]);
    assert_eq!(findings(here, 1, &[&KEYS]), expected);
}

#[test]
fn key_records_that_are_missing_damaged_or_without_use_are_found() {
    let home = sealed_bank();
    let here = home.path();
    fs::copy(here.join("bank.db"), here.join("before.db")).unwrap();
    damage(
        here,
        "UPDATE records SET key = 'encryption/key/account|nobody' WHERE key = 'encryption/key/account|alice';",
    );
    let expected = found(["no-key account|alice 1 10", "orphaned-key account|nobody"]);
    assert_eq!(findings(here, 1, &[&KEYS]), expected);
    assert_eq!(findings(here, 1, &[]), expected);
    // Only what was asked for.
    assert_eq!(findings(here, 0, &[&KEYS, &["--prefix", "account|b"]]), found([]));

    damage(
        here,
        "UPDATE records SET value = x'ff' WHERE key = 'encryption/key/account|bob'; DELETE FROM records WHERE key = 'encryption/active';",
    );
    let found_now = findings(here, 1, &[&KEYS]);
    for finding in ["unreadable-record account|bob", "unreadable-record", "no-key account|alice 1 10"] {
        assert!(found_now.contains(finding), "{finding}: {found_now:?}");
    }

    // Everything of an id but its key.
    fs::copy(here.join("before.db"), here.join("bank.db")).unwrap();
    damage(
        here,
        "DELETE FROM events WHERE stream = (SELECT id FROM streams WHERE persistence_id = 'account|carol');
         DELETE FROM streams WHERE persistence_id = 'account|carol';",
    );
    assert_eq!(findings(here, 1, &[&KEYS]), found(["orphaned-key account|carol"]));
}

#[test]
fn keys_that_are_not_those_of_the_journal_are_told_and_the_rest_is_checked_all_the_same() {
    let home = sealed_bank();
    let here = home.path();
    damage(here, "DELETE FROM events WHERE ordering = 4");
    annals(here, &["keys", "generate", "wrong.json"]).exits(0);
    let wrong = ["--keys", "file:wrong.json"];
    let run = verify(here, &[&wrong]).exits(1);
    run.says(&[
        "journal: wrong-keys",
        "master key 1",
        "account|alice #4: gap",
        "what is sealed was not looked into",
    ]);
    verify(here, &[&["--keys", "file:none.json"]]).exits(3).says(&["--keys", "none.json"]);

    // Of two master keys the older one is missing.
    let home = sealed_bank();
    let here = home.path();
    fs::copy(here.join("ring.json"), here.join("old.json")).unwrap();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    annals(here, &["keys", "rotate", BANK[0], BANK[1], KEYS[0], KEYS[1]]).exits(0);
    assert_eq!(findings(here, 0, &[&KEYS]), found([]));
    let old = ["--keys", "file:old.json"];
    verify(here, &[&old]).exits(1).says(&["journal: wrong-keys", "master key 2", "no chain can be checked"]);
}

#[test]
fn a_key_record_of_an_older_master_key_is_found_where_that_key_is_gone() {
    let home = sealed_bank();
    let here = home.path();
    fs::copy(here.join("bank.db"), here.join("older.db")).unwrap();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    annals(here, &["keys", "rotate", BANK[0], BANK[1], KEYS[0], KEYS[1]]).exits(0);
    // The old master key was retired, and taken out of the ring.
    let mut ring: Value = serde_json::from_slice(&fs::read(here.join("ring.json")).unwrap()).unwrap();
    ring["keys"].as_object_mut().unwrap().remove("1");
    fs::write(here.join("new.json"), ring.to_string()).unwrap();
    let new = ["--keys", "file:new.json"];
    assert_eq!(findings(here, 0, &[&new]), found([]));
    let attach = format!("ATTACH '{}' AS older;", here.join("older.db").display());
    let put_back =
        "UPDATE records SET value = (SELECT value FROM older.records AS old WHERE old.key = records.key)
        WHERE key = 'encryption/key/account|bob'";
    damage(here, &(attach + put_back));
    assert_eq!(findings(here, 1, &[&new]), found(["no-key account|bob 1 7"]));
    verify(here, &[&new]).exits(1).says(&["account|bob #1..7: no-key", "master key 1"]);
}

#[tokio::main]
async fn goes_on_behind_keys(home: &TempDir) {
    let kind = annals::prelude::Kind::new().snapshots(annals::prelude::SnapshotPolicy::never());
    let (node, database) = node_behind(home.path(), "bank.db", kind, Some("ring.json")).await;
    let account = node.entity::<crate::bank::Account>("alice");
    account.ask(crate::bank::Book { cents: 1, with: "bob".into() }).await.unwrap();
    node.shutdown().await;
    database.close().await;
}

#[test]
fn how_much_of_a_mixed_journal_is_in_the_clear_is_told() {
    let home = bank();
    let here = home.path();
    annals(here, &["keys", "generate", "ring.json"]).exits(0);
    goes_on_behind_keys(&home);
    let run = verify(here, &[&KEYS, &["--json"]]).exits(0);
    let totals = run.json().pop().unwrap()["totals"].clone();
    assert_eq!(totals["sealed"]["events"], 1, "{run}");
    assert_eq!(totals["sealed"]["in_the_clear"], serde_json::json!({"ids": 3, "events": 21, "snapshots": 0}));
    verify(here, &[&KEYS])
        .exits(0)
        .says(&["sealed: 1 events", "in the clear: 21 events, 0 snapshots, of 3 ids"]);
    let expected =
        found(["plaintext account|alice 1 10", "plaintext account|bob 1 7", "plaintext account|carol 1 4"]);
    assert_eq!(findings(here, 1, &[&KEYS, &["--refuse-plaintext"]]), expected);
    // One that was put behind the first sealed one.
    let event = Envelope::decode(&envelope(&open(here), "alice", 10)).unwrap();
    change(here, "alice", 11, |sealed| (sealed.key_id, sealed.payload) = (None, event.payload));
    assert_eq!(findings(here, 1, &[&KEYS]), found(["cut-off account|alice 11"]));
}

#[test]
fn snapshots_are_opened_too() {
    let home = sealed_pruned_bank();
    let here = home.path();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|owner| pruned(here, owner));
    // Alice's under another generation, a byte of Bob's, Carol's in the clear.
    let conn = open(here);
    let changed = |owner: &str, change: &dyn Fn(&mut annals_snapshot::Snapshot)| {
        let id = PersistenceId::new("account", owner).unwrap();
        let sql = "SELECT stored FROM snapshots WHERE persistence_id = ?";
        let stored: Vec<u8> = conn.query_row(sql, [id.as_str()], |row| row.get(0)).unwrap();
        let mut snapshot = annals_snapshot::Snapshot::decode(&stored.into()).unwrap();
        change(&mut snapshot);
        let sql = "UPDATE snapshots SET stored = ? WHERE persistence_id = ?";
        conn.execute(sql, params![snapshot.encode().to_vec(), id.as_str()]).unwrap();
    };
    changed("alice", &|snapshot| snapshot.key_id = Some(KeyId(9)));
    changed("bob", &|snapshot| snapshot.payload = flipped(&snapshot.payload, 20));
    changed("carol", &|snapshot| (snapshot.key_id, snapshot.payload) = (None, Bytes::from_static(b"{}")));
    let expected = [
        format!("no-key account|alice {}", alice.1),
        format!("snapshot-unreadable account|bob {}", bob.1),
        format!("snapshot-unreadable account|carol {}", carol.1),
    ];
    let lost = [("alice", alice), ("bob", bob), ("carol", carol)]
        .map(|(owner, (deleted, _))| format!("not-recoverable account|{owner} {deleted}"));
    assert_eq!(findings(here, 1, &[&KEYS]), expected.into_iter().chain(lost).collect());
}

#[test]
fn an_anchor_of_a_sealed_journal_is_authenticated_and_finds_whatever_was_put_back() {
    let home = sealed_pruned_bank();
    let here = home.path();
    // An older copy of everything.
    fs::copy(here.join("bank.db"), here.join("older.db")).unwrap();
    let older_mark = mark(here, "alice");
    goes_on_behind_keys(&home);
    verify(here, &[&KEYS, &["--write-anchor", "bank.anchor"]]).exits(0);
    assert_eq!(findings(here, 0, &[&KEYS, &["--anchor", "bank.anchor"]]), found([]));
    // Nobody without the keys makes one, or changes one.
    verify(here, &[&["--anchor", "bank.anchor"]]).exits(3).says(&["bank.anchor", "give the journal's keys"]);
    let lines = fs::read_to_string(here.join("bank.anchor")).unwrap();
    fs::write(here.join("changed.anchor"), lines.replace("\"head\":11", "\"head\":10")).unwrap();
    verify(here, &[&KEYS, &["--anchor", "changed.anchor"]]).exits(3).says(&["its seal does not match"]);
    verify(here, &[&["--write-anchor", "plain.anchor"]]).exits(0);
    verify(here, &[&KEYS, &["--anchor", "plain.anchor"]]).exits(3).says(&["is not sealed with a key"]);

    // The older copy of alice alone, put back.
    let (deleted, _) = pruned(here, "alice");
    damage(
        here,
        "ATTACH 'older.db' AS older;
         DELETE FROM events WHERE stream = (SELECT id FROM streams WHERE persistence_id = 'account|alice');
         INSERT INTO events SELECT * FROM older.events WHERE stream = (SELECT id FROM older.streams WHERE persistence_id = 'account|alice');
         INSERT OR REPLACE INTO streams SELECT * FROM older.streams WHERE persistence_id = 'account|alice';"
            .replace("older.db", here.join("older.db").to_str().unwrap())
            .as_str(),
    );
    assert_eq!(findings(here, 1, &[&KEYS]), found(["cut-off account|alice 10"]));
    // With its mark it is sound in itself.
    put_mark(here, "alice", &older_mark);
    assert_eq!(findings(here, 0, &[&KEYS]), found([]), "deleted to {deleted}");
    assert_eq!(
        findings(here, 1, &[&KEYS, &["--anchor", "bank.anchor"]]),
        found(["went-back account|alice 11"])
    );
}

#[test]
fn an_anchor_finds_deleted_events_and_erased_keys_that_were_put_back() {
    let home = sealed_bank();
    let here = home.path();
    verify(here, &[&KEYS, &["--write-anchor", "bank.anchor"]]).exits(0);
    let lines = fs::read_to_string(here.join("bank.anchor")).unwrap();
    assert!(lines.contains("\"generation\":1"), "{lines}");
    // As if the anchor were from a moment at which more had been deleted, or the key made anew: unauthenticated, so that a test can write it.
    annals(here, &["verify", BANK[0], BANK[1], "--write-anchor", "plain.anchor"]).exits(0);
    let plain = fs::read_to_string(here.join("plain.anchor")).unwrap();
    let body = plain.lines().take(4).collect::<Vec<_>>().join("\n") + "\n";
    let body = body.replacen("\"head\":10", "\"head\":10,\"deleted_to\":4", 1).replacen(
        "\"head\":7,\"generation\":1",
        "\"head\":7,\"generation\":2",
        1,
    );
    let seal: String = sha2(body.as_bytes());
    fs::write(here.join("later.anchor"), format!("{body}{{\"ids\":3,\"seal\":\"{seal}\"}}\n")).unwrap();
    let run = verify(here, &[&["--anchor", "later.anchor"]]).exits(1);
    run.says(&[
        "account|alice #10: went-back: the anchor has seen that events up to 4 were deleted",
        "account|bob: went-back: the anchor has seen generation 2 of its data key",
        "2 findings",
    ]);
}

/// Erases an account, as `keys erase` does.
#[tokio::main]
async fn erase(here: &Path, owner: &str) {
    let url: JournalUrl = format!("sqlite://{}", here.join("bank.db").display()).parse().unwrap();
    let opened = url.open().await.unwrap();
    let mut log = ErasureLog::open(here.join("erased.jsonl")).unwrap();
    let id = PersistenceId::new("account", owner).unwrap();
    Eraser::new(opened.journal.clone(), opened.records.clone()).erase(&id, &mut log).await.unwrap();
    opened.database.unwrap().close().await;
}

#[test]
fn what_was_erased_verifies_as_erased_and_is_still_checked() {
    let home = sealed_bank();
    let here = home.path();
    fs::copy(here.join("bank.db"), here.join("older.db")).unwrap();
    verify(here, &[&KEYS, &["--write-anchor", "before.anchor"]]).exits(0);
    erase(here, "alice");
    for keys in [&KEYS[..], &[]] {
        verify(here, &[keys]).exits(0).says(&["erased: 1 ids; 10 events, 0 snapshots", "nothing is wrong"]);
    }
    verify(here, &[&KEYS, &["--anchor", "before.anchor", "--write-anchor", "after.anchor"]]).exits(0);
    annals(here, &["events", "account|alice", BANK[0], BANK[1], KEYS[0], KEYS[1]])
        .exits(0)
        .says(&["1 to 10 were erased"]);
    // Nobody opens it, and nobody changes it.
    change(here, "alice", 4, |event| event.payload = flipped(&event.payload, event.payload.len() - 1));
    assert_eq!(findings(here, 1, &[&KEYS]), found(["broken-chain account|alice 5"]));
    change(here, "alice", 4, |event| event.payload = flipped(&event.payload, event.payload.len() - 1));
    // The key record from before is put back: sound in itself.
    let attach = format!("ATTACH '{}' AS older;", here.join("older.db").display());
    let put_back =
        "UPDATE records SET value = (SELECT value FROM older.records AS old WHERE old.key = records.key)
        WHERE key = 'encryption/key/account|alice'";
    damage(here, &(attach + put_back));
    assert_eq!(findings(here, 0, &[&KEYS]), found([]));
    verify(here, &[&KEYS, &["--anchor", "after.anchor"]]).exits(1).says(&[
        "account|alice: went-back: the anchor has seen that its data key was erased up to generation 1",
    ]);
}

fn sha2(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an import makes is as sound as what a node writes.
#[test]
fn what_was_imported_behind_keys_is_sound() {
    let home = sealed_pruned_bank();
    let here = home.path();
    let lines = annals(here, &["export", "--snapshots", BANK[0], BANK[1], KEYS[0], KEYS[1]]).exits(0).out;
    let new = ["--journal", "sqlite://new.db"];
    annals_reading(here, &lines, &["import", "-", new[0], new[1], KEYS[0], KEYS[1]]).exits(0);
    annals(here, &["verify", new[0], new[1], KEYS[0], KEYS[1], "--refuse-plaintext"])
        .exits(0)
        .says(&["in the clear: 0 events"]);
}
