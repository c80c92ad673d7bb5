//! What the bank says of all accounts together equals what its journal says, cent for cent, however often it is killed in the midst of it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use annals::journal::{JournalUrl, PageItem, Query};
use futures::TryStreamExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::bank_kill::work_a_while;
use crate::budget;
use crate::example::{Bank, make_ring, url};
use crate::http_client::Client;
use crate::teller::{Teller, work_to_the_end};

#[test]
fn the_views_equal_the_journal_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    kill_and_compare(&file, &url(&file));
}

#[test]
fn the_views_on_a_server_equal_the_journal_after_kill_9() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        // Not through `eprintln!`, which a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // Other tests have transactions open on the same server, and pages wait for them.
    let schema = Uuid::new_v4().simple();
    let url = format!("{server}?schema=annals_{schema}&acquire_timeout_ms=60000&patience_ms=60000");
    kill_and_compare(&folder.path().join("bank"), &url);
}

#[test]
fn a_sealed_bank_has_views_only_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    make_ring(&file);
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    assert_eq!(client.get("/accounts").unwrap().status, 404);
    assert_eq!(client.get("/turnover").unwrap().status, 404);
    bank.kill();
    let bank = Bank::spawn_with(&file, &["--journal", &url(&file), "--clear-views"]).listening();
    assert_eq!(Client::new(bank.address).get("/accounts").unwrap().body, "[]");
}

fn kill_and_compare(file: &Path, url: &str) {
    let seed = budget::seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut tellers: Vec<_> = (0..TELLERS).map(|number| Teller::new(number, random.random())).collect();
    let start = || Bank::spawn_with(file, &["--journal", url]).listening();
    for round in 0..KILLS {
        work_a_while(start(), &mut tellers, round, &mut random, Bank::kill);
        compare(&start(), url, seed);
    }
    work_to_the_end(start(), &mut tellers, KILLS);
    let bank = start();
    compare(&bank, url, seed);
    let answered = Views::of(&bank);
    assert!(!answered.balances.is_empty(), "seed {seed}: nothing was done");
    let top: Vec<Balance> = get(&bank, "/accounts?top=2");
    assert_eq!(top, answered.balances[..answered.balances.len().min(2)], "seed {seed}");
}

const KILLS: u32 = 4;
const TELLERS: u32 = 4;

fn compare(bank: &Bank, url: &str, seed: u64) {
    loop {
        let (before, answered, after) = (Views::recomputed(url), Views::of(bank), Views::recomputed(url));
        // A server may still be at work on what the killed bank had sent.
        if before == after {
            assert_eq!(answered, after, "seed {seed}: the views are not what the journal says");
            return;
        }
    }
}

/// What is said of all accounts.
#[derive(Debug, PartialEq, Eq)]
struct Views {
    balances: Vec<Balance>,
    turnover: Vec<Day>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Balance {
    id: String,
    cents: i64,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Day {
    day: String,
    deposited: i64,
    withdrawn: i64,
}

impl Views {
    /// As the bank answers.
    fn of(bank: &Bank) -> Self {
        Self { balances: get(bank, "/accounts?top=10000"), turnover: get(bank, "/turnover?days=10000") }
    }

    /// From all events of the journal, past every view.
    fn recomputed(journal: &str) -> Self {
        let mut balances: BTreeMap<String, i64> = BTreeMap::new();
        let mut days: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
        for item in events(journal) {
            let PageItem::Event(stored) = item else { panic!("nothing is deleted here: {item:?}") };
            let envelope = stored.envelope;
            let event: Value = serde_json::from_slice(&envelope.payload).unwrap();
            let change = event["cents"].as_i64().unwrap()
                * match envelope.manifest.as_str() {
                    "account.deposited" => 1,
                    "account.withdrawn" => -1,
                    other => panic!("what is {other}?"),
                };
            *balances.entry(envelope.persistence_id.entity_id().to_owned()).or_default() += change;
            let day = days.entry(envelope.timestamp.as_micros() / 86_400_000_000).or_default();
            day.0 += change.max(0);
            day.1 += (-change).max(0);
        }
        let mut balances: Vec<_> = balances.into_iter().map(|(id, cents)| Balance { id, cents }).collect();
        balances.sort_by(|one, next| next.cents.cmp(&one.cents).then_with(|| one.id.cmp(&next.id)));
        let day = |(day, (deposited, withdrawn))| Day { day: date(day), deposited, withdrawn };
        Self { balances, turnover: days.into_iter().rev().map(day).collect() }
    }
}

fn events(journal: &str) -> Vec<PageItem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = journal.parse::<JournalUrl>().unwrap().open_read_only().await.unwrap();
        let events = Query::all(journal.journal.clone()).current().try_collect().await.unwrap();
        journal.close().await;
        events
    })
}

fn get<T: serde::de::DeserializeOwned>(bank: &Bank, path: &str) -> T {
    // A foreign transaction that is open on the server holds readers up: the bank says 503 after 10 s.
    let answer = || Client::new(bank.address).get(path).unwrap();
    let response = (0..12).map(|_| answer()).find(|response| response.status != 503).unwrap_or_else(answer);
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

/// A day since 1970 as SQL writes it.
fn date(day: u64) -> String {
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    let select = "SELECT date(?1 * 86400, 'unixepoch')";
    conn.query_row(select, [day.cast_signed()], |row| row.get(0)).unwrap()
}
