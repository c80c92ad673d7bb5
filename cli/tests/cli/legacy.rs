use std::fs;
use std::path::Path;

use annals::prelude::*;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::program::annals;

/// An account that reads what was there before Annals.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    cents: i64,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct OldMoved {
    amount: String,
    direction: String,
}

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    #[event(from(("legacy.moved", 1) => Step::events(AccountEvent::of_old)))]
    Deposited {
        cents: i64,
    },
    Withdrawn {
        cents: i64,
    },
    Noted {
        text: String,
    },
}

impl AccountEvent {
    fn of_old(old: OldMoved) -> Vec<Self> {
        let cents = (old.amount.parse::<f64>().unwrap_or_default() * 100.0).round() as i64;
        vec![if old.direction == "in" { Self::Deposited { cents } } else { Self::Withdrawn { cents } }]
    }
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit,);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
            AccountEvent::Noted { text } => self.notes.push(text.clone()),
        }
    }
}

#[derive(Serialize, Deserialize, Command)]
struct Deposit(i64);

impl Handle<Deposit> for Account {
    type Reply = (i64, Vec<String>, u64);
    type Rejection = NeverRejected;

    fn handle(&self, deposit: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        let seq_nr = ctx.seq_nr();
        ctx.persist(AccountEvent::Deposited { cents: deposit.0 })
            .reply(move |account| (account.cents, account.notes.clone(), seq_nr.get() + 1))
    }
}

const MAPPING: &str = r#"
kind = "account"
id = "stream"
strip = "account-"
event = "type"
payload = "data"
time = "created_at"
order = "version"

[events]
MoneyMoved = "legacy.moved"
Noted = "account.noted"
Heartbeat = false
"#;

/// As an application without Annals may have it: interleaved, and not in the order of the versions.
fn table(home: &Path) {
    let rows = Connection::open(home.join("old.db")).unwrap();
    rows.execute_batch(
        r#"CREATE TABLE "my events" (n INTEGER PRIMARY KEY, stream TEXT, version INTEGER, type TEXT, data TEXT, created_at TEXT);
        INSERT INTO "my events" (stream, version, type, data, created_at) VALUES
        ('account-alice', 2, 'MoneyMoved', '{"amount":"2.50","direction":"out"}', '2019-04-02 08:00:00'),
        ('account-bob', 1, 'MoneyMoved', '{"amount":"7","direction":"in"}', '2019-04-01T12:00:00+02:00'),
        ('account-alice', 1, 'MoneyMoved', '{"amount":"10.00","direction":"in"}', '2019-04-01 08:00:00'),
        ('account-alice', 4, 'Heartbeat', 'null', '2019-04-03 08:00:00'),
        ('account-alice', 10, 'Noted', '{"text":"ö \"quoted\""}', '2019-04-04');"#,
    )
    .unwrap();
    fs::write(home.join("mapping.toml"), MAPPING).unwrap();
}

fn migrate<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let begin = ["migrate", "legacy", file, "--mapping", "mapping.toml", "--journal", "sqlite://new.db"];
    begin.into_iter().chain(more.iter().copied()).collect()
}

async fn served(home: &Path) {
    let node = Annals::builder("bank")
        .journal(format!("sqlite://{}", home.join("new.db").display()))
        .entity::<Account>()
        .start()
        .await
        .unwrap();
    let alice = node.entity::<Account>("alice").ask(Deposit(1)).await.unwrap();
    assert_eq!((alice.0, alice.1, alice.2), (751, vec!["ö \"quoted\"".to_owned()], 4));
    assert_eq!(node.entity::<Account>("bob").ask(Deposit(1)).await.unwrap().0, 701);
    node.shutdown().await;
}

#[tokio::test]
async fn a_table_of_another_application_is_counted_then_moved_and_served() {
    let home = tempfile::tempdir().unwrap();
    table(home.path());
    let counted = annals(home.path(), &migrate("old.db", &["--table", "my events"])).exits(0);
    counted.says(&[
        "2 ids, 4 events; 1 rows are left out",
        "3  legacy.moved",
        "1  account.noted",
        "--apply does",
    ]);
    assert!(!home.path().join("new.db").exists(), "nothing is written");

    let apply = migrate("old.db", &["--table", "my events", "--apply", "--json"]);
    let moved = &annals(home.path(), &apply).exits(0).json()[0];
    assert_eq!((&moved["ids"], &moved["events"], &moved["refused_ids"]), (&2.into(), &4.into(), &0.into()));
    let again = &annals(home.path(), &apply).exits(0).json()[0];
    assert_eq!((&again["events"], &again["known"]), (&0.into(), &4.into()), "again");

    let events =
        annals(home.path(), &["events", "account|alice", "--journal", "sqlite://new.db"]).exits(0).out;
    let lines: Vec<&str> = events.lines().collect();
    assert!(lines[0].contains("2019-04-01T08:00:00.000000Z  legacy.moved v1"), "{events}");
    assert!(
        lines[0].contains(r#"{"amount":"10.00","direction":"in"}"#) && lines[2].contains("account.noted")
    );
    served(home.path()).await;
    // What its own builds have stored since does not stand in the way of another run, nor of what it finds.
    let after = &annals(home.path(), &apply).exits(0).json()[0];
    assert_eq!((&after["events"], &after["known"]), (&0.into(), &4.into()), "after");
}

#[tokio::test]
async fn a_file_of_lines_is_moved_as_a_table_is() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("mapping.toml"), MAPPING).unwrap();
    fs::write(
        home.path().join("old.jsonl"),
        r#"{"stream":"account-alice","version":2,"type":"MoneyMoved","data":{"amount":"2.50","direction":"out"},"created_at":1554192000}

{"stream":"account-bob","version":1,"type":"MoneyMoved","data":{"amount":"7","direction":"in"},"created_at":0}
{"stream":"account-alice","version":1,"type":"MoneyMoved","data":{"amount":"10.00","direction":"in"},"created_at":1554105600.5}
{"stream":"account-alice","version":10,"type":"Noted","data":"{\"text\":\"ö \\\"quoted\\\"\"}","created_at":1554336000}
"#,
    )
    .unwrap();
    annals(home.path(), &migrate("old.jsonl", &["--apply"])).exits(0).says(&["2 ids: 4 events are new"]);
    served(home.path()).await;
}

#[test]
fn a_row_that_is_none_is_named_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    table(home.path());
    let path = home.path();
    annals(path, &migrate("old.db", &["--table", "missing"]))
        .exits(3)
        .says(&["table \"missing\"", "no such table"]);
    annals(path, &migrate("missing.jsonl", &[])).exits(3).says(&["missing.jsonl"]);
    Connection::open(path.join("old.db"))
        .unwrap()
        .execute("INSERT INTO \"my events\" (stream, version, type, data, created_at) VALUES ('account-x', 1, 'Else', '{}', '2019')", [])
        .unwrap();
    let run = annals(path, &migrate("old.db", &["--table", "my events", "--apply"])).exits(3);
    run.says(&["row 6", "does not name event \"Else\""]);
    assert!(!path.join("new.db").exists());

    fs::write(path.join("bad.jsonl"), "{\"stream\":\"account-a\"}\n").unwrap();
    annals(path, &migrate("bad.jsonl", &[])).exits(3).says(&["line 1", "\"type\" is missing"]);
    fs::write(path.join("mapping.toml"), "kind = \"account\"\nnothing = 1\n").unwrap();
    annals(path, &migrate("bad.jsonl", &[])).exits(3).says(&["--mapping mapping.toml", "nothing"]);
}
