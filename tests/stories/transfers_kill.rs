//! The bank is killed again and again while money moves between accounts: not a cent comes or goes.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::budget;
use crate::example::{Bank, url};
use crate::http_client::Client;
use crate::stored::{self, Stored};

#[test]
fn no_cent_comes_or_goes_under_kill_9() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("transfers_kill: ANNALS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    let mut random = SmallRng::seed_from_u64(seed);
    open_accounts(&file);
    let mut clerks: Vec<_> = (0..CLERKS).map(|number| Clerk::new(number, random.random())).collect();
    let (mut kills, mut looks) = (0, 0);
    while kills < KILLS && (kills < FEWEST_KILLS || Instant::now() < deadline) {
        // Some banks give a transfer so little time that a crash in its middle makes it fail.
        let timeout = if random.random_ratio(1, 2) { "30000" } else { "60" };
        let starting = Bank::spawn_with(&file, &["--journal", &url(&file), "--transfer-timeout-ms", timeout]);
        if random.random_ratio(1, 10) {
            starting.kill_within(Duration::from_micros(random.random_range(0..100_000)));
        } else {
            looks += work_a_while(&file, starting.listening(), &mut clerks, &mut random);
        }
        kills += 1;
        look(&file);
        looks += 1;
    }
    let outcomes = work_to_the_end(&file, &mut clerks);
    eprintln!(
        "transfers_kill: ANNALS_SEED={seed}: {kills} kills, {looks} looks, {} completed, {} failed, {} given back, in {:?}",
        outcomes.completed,
        outcomes.failed,
        outcomes.given_back,
        began.elapsed()
    );
}

/// Enough for "at any moment"; the time budget may end it earlier.
const KILLS: u32 = 200;
const FEWEST_KILLS: u32 = 5;
const CLERKS: u32 = 6;
const ACCOUNTS: u32 = 4;
const CENTS_AN_ACCOUNT: i64 = 10_000;
const TOTAL: i64 = CENTS_AN_ACCOUNT * ACCOUNTS as i64;

fn open_accounts(file: &Path) {
    let bank = Bank::start(file);
    let mut client = Client::new(bank.address);
    for number in 0..ACCOUNTS {
        let deposit = json!({ "cents": CENTS_AN_ACCOUNT, "request_id": "first" }).to_string();
        client.post(&format!("/accounts/{number}/deposit"), &deposit).unwrap().answer();
    }
    bank.kill();
}

/// Lets all clerks work, looks at the file meanwhile, and kills the bank after a random time.
fn work_a_while(file: &Path, bank: Bank, clerks: &mut [Clerk], random: &mut SmallRng) -> u32 {
    let end = Instant::now() + Duration::from_micros(random.random_range(0..250_000));
    let looks = random.random_range(0..2);
    let go_on = AtomicBool::new(true);
    let address = bank.address;
    thread::scope(|scope| {
        for clerk in clerks {
            let go_on = &go_on;
            scope.spawn(move || clerk.work(Client::new(address), go_on));
        }
        for _ in 0..looks {
            look(file);
        }
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
        bank.kill();
    });
    looks
}

/// Every transfer ends, and then all the money is on accounts.
fn work_to_the_end(file: &Path, clerks: &mut [Clerk]) -> Outcomes {
    let bank = Bank::start(file);
    let mut client = Client::new(bank.address);
    for clerk in clerks.iter_mut() {
        clerk.work(Client::new(bank.address), &AtomicBool::new(false));
    }
    let mut outcomes = Outcomes::default();
    let latest = Instant::now() + Duration::from_secs(60);
    for (id, answered) in clerks.iter().flat_map(|clerk| &clerk.sent) {
        let state = loop {
            let shown = client.get(&format!("/transfers/{id}")).unwrap();
            let shown: Value = serde_json::from_str(&shown.body).unwrap();
            match shown["state"].as_str().unwrap() {
                "started" | "giving_back" => assert!(Instant::now() < latest, "{id} never ends: {shown}"),
                state => break state.to_owned(),
            }
        };
        assert!(matches!(state.as_str(), "completed" | "failed"), "{id}: {state}");
        if let Some(answered) = answered {
            assert_eq!(*answered, state, "{id} was answered something else");
        }
        outcomes += state.as_str();
    }
    let cents: u64 =
        (0..ACCOUNTS).map(|number| client.get(&format!("/accounts/{number}")).unwrap().answer().cents).sum();
    assert_eq!(cents, TOTAL as u64, "the accounts alone");
    while stored::records(file, "transfer/*") > 0 {
        assert!(Instant::now() < latest, "a transfer that is over would be gone on with for ever");
    }
    bank.terminate();
    bank.stops();
    let seen = look(file);
    assert_eq!(seen.under_way, 0, "transfers were left under way");
    Outcomes { given_back: seen.given_back, ..outcomes }
}

#[derive(Default)]
struct Outcomes {
    completed: u32,
    failed: u32,
    given_back: u32,
}

impl AddAssign<&str> for Outcomes {
    fn add_assign(&mut self, state: &str) {
        if state == "completed" { self.completed += 1 } else { self.failed += 1 }
    }
}

/// A client that sends transfers, each until it has heard its outcome.
struct Clerk {
    number: u32,
    random: SmallRng,
    /// Ids, and the states that were answered; only the newest may have none.
    sent: Vec<(String, Option<&'static str>)>,
    pending: Option<String>,
}

impl Clerk {
    fn new(number: u32, seed: u64) -> Self {
        Self { number, random: SmallRng::seed_from_u64(seed), sent: Vec::new(), pending: None }
    }

    fn work(&mut self, mut client: Client, go_on: &AtomicBool) {
        loop {
            if self.pending.is_none() {
                if !go_on.load(Ordering::Relaxed) {
                    return;
                }
                self.think_of_a_transfer();
            }
            let Some(order) = &self.pending else { return };
            // The bank is gone: the transfer was begun or not.
            let Ok(response) = client.post("/transfers", order) else { return };
            let state = match response.status {
                200 => "completed",
                422 => "failed",
                202 | 503 => continue,
                _ => panic!("{order} was answered {response:?}"),
            };
            if let Some((_, answered)) = self.sent.last_mut() {
                *answered = Some(state);
            }
            self.pending = None;
        }
    }

    fn think_of_a_transfer(&mut self) {
        let from = self.random.random_range(0..ACCOUNTS);
        let to = (from + self.random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let to = if self.random.random_ratio(1, 6) { "nobody".to_owned() } else { to.to_string() };
        let cents = if self.random.random_ratio(1, 10) { 9_000 } else { self.random.random_range(1..1_000) };
        let id = format!("{}-{}", self.number, self.sent.len());
        let order = json!({ "from": from.to_string(), "to": to, "cents": cents, "request_id": id });
        self.sent.push((id, None));
        self.pending = Some(order.to_string());
    }
}

/// What a look at one moment of the file saw.
#[derive(Debug, Default)]
struct Seen {
    under_way: u32,
    given_back: u32,
}

/// A transfer as the events of accounts and its own tell it.
#[derive(Debug, Default)]
struct Moved {
    cents: i64,
    ended: Option<&'static str>,
    paid: i64,
    taken: i64,
    given_back: i64,
}

/// Adds up accounts and transfers under way at one moment: one statement sees one state of the file.
fn look(file: &Path) -> Seen {
    let mut accounts: HashMap<String, i64> = HashMap::new();
    let mut transfers: HashMap<String, Moved> = HashMap::new();
    for Stored { id, manifest, event, .. } in stored::events(file) {
        let cents = event["cents"].as_i64().unwrap_or_default();
        if id.kind() == "transfer" {
            let transfer = transfers.entry(id.entity_id().to_owned()).or_default();
            match manifest.as_str() {
                "transfer.started" => transfer.cents = event["order"]["cents"].as_i64().unwrap(),
                "transfer.completed" => transfer.ended = Some("completed"),
                "transfer.refused" | "transfer.compensated" => transfer.ended = Some("failed"),
                "transfer.compensation-started" => {}
                other => panic!("what is {other}?"),
            }
            continue;
        }
        let balance = accounts.entry(id.entity_id().to_owned()).or_default();
        if manifest == "account.deposited" {
            *balance += cents;
            continue;
        }
        let moved = transfers.entry(event["transfer"].as_str().unwrap().to_owned()).or_default();
        match manifest.as_str() {
            "account.transfer-paid" => (*balance, moved.paid) = (*balance - cents, moved.paid + cents),
            "account.transfer-taken" => (*balance, moved.taken) = (*balance + cents, moved.taken + cents),
            "account.transfer-given-back" => {
                (*balance, moved.given_back) = (*balance + cents, moved.given_back + cents);
            }
            "account.transfer-settled" => {}
            other => panic!("what is {other}?"),
        }
        assert!(*balance >= 0, "{id} is overdrawn");
    }
    let mut seen = Seen::default();
    let mut under_way = 0;
    for (id, moved) in &transfers {
        let Moved { cents, paid, taken, given_back, .. } = *moved;
        seen.given_back += u32::from(given_back > 0);
        let once = |sum: i64| sum == 0 || sum == cents;
        assert!(once(paid) && once(taken) && once(given_back), "{id}: a step was done twice: {moved:?}");
        match moved.ended {
            Some("completed") => {
                assert!(paid == cents && taken == cents && given_back == 0, "{id}: {moved:?}")
            }
            Some(_) => assert!(taken == 0 && given_back == paid, "{id}: {moved:?}"),
            None => {
                seen.under_way += 1;
                // What the sender paid and nobody has yet.
                if paid == cents && taken == 0 && given_back == 0 {
                    under_way += cents;
                }
            }
        }
    }
    assert_eq!(accounts.values().sum::<i64>() + under_way, TOTAL, "{accounts:?} and {under_way} under way");
    seen
}
