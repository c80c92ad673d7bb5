//! The bank is killed again and again while clients change accounts: what it answered is there, exactly once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use crate::budget;
use crate::example::Bank;
use crate::http_client::{Answer, Client, Response};

#[test]
fn every_answered_change_survives_kill_9_exactly_once() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("bank_kill: ANNALS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut tellers: Vec<_> = (0..TELLERS).map(|number| Teller::new(number, random.random())).collect();
    let mut kills = 0;
    let mut kills_at_start = 0;
    while kills < KILLS && (kills < FEWEST_KILLS || Instant::now() < deadline) {
        if random.random_ratio(1, 8) {
            Bank::spawn(&file).kill_within(Duration::from_micros(random.random_range(0..60_000)));
            kills_at_start += 1;
        } else {
            let bank = Bank::start(&file);
            let account = account(random.random_range(0..ACCOUNTS), kills);
            check(&mut Client::new(bank.address), &account, &tellers);
            work_until_killed(bank, &mut tellers, kills, &mut random);
        }
        kills += 1;
    }
    work_to_the_end(&file, &mut tellers, kills);
    check_everything(&file, &tellers);

    let sent: Vec<_> = tellers.iter().flat_map(|teller| &teller.sent).collect();
    let count = |is: fn(&Sent) -> bool| sent.iter().filter(|sent| is(sent)).count();
    eprintln!(
        "bank_kill: ANNALS_SEED={seed}: {kills} kills ({kills_at_start} at start), {} answered, {} of them only after \
         a kill, {} refused, {} repeats, {} answers 503, in {:?}",
        count(|sent| matches!(sent.outcome, Outcome::Answered(_))),
        count(|sent| sent.tries > 1 && matches!(sent.outcome, Outcome::Answered(_))),
        count(|sent| sent.outcome == Outcome::Refused),
        tellers.iter().map(|teller| teller.repeats).sum::<u64>(),
        tellers.iter().map(|teller| teller.unavailable).sum::<u64>(),
        began.elapsed(),
    );
}

/// Enough for "at any moment"; the time budget may end it earlier.
const KILLS: u32 = 200;
const FEWEST_KILLS: u32 = 5;
const TELLERS: u32 = 6;
/// Few, so that tellers meet at them.
const ACCOUNTS: u32 = 3;
/// After so many kills other accounts are used: late enough for snapshots, early enough to check all events often.
const KILLS_AN_ACCOUNT: u32 = 100;

fn account(number: u32, kills: u32) -> String {
    format!("{number}-{}", kills / KILLS_AN_ACCOUNT)
}

/// Lets all tellers work, kills the bank after a random number of answers or a random time, and lets them notice.
fn work_until_killed(bank: Bank, tellers: &mut [Teller], kills: u32, random: &mut SmallRng) {
    let answers = random.random_range(0..100);
    let latest = Instant::now() + Duration::from_micros(random.random_range(0..200_000));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (answered, heard) = mpsc::channel();
        for teller in tellers {
            let (address, answered, stop) = (bank.address, answered.clone(), &stop);
            scope.spawn(move || teller.work(Client::new(address), kills, stop, &answered));
        }
        drop(answered);
        hear(&heard, answers, latest);
        bank.kill();
    });
}

fn hear(heard: &Receiver<()>, answers: u32, latest: Instant) {
    for _ in 0..answers {
        match heard.recv_timeout(latest.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => panic!("the bank broke off all connections by itself"),
        }
    }
}

/// A last round without a kill, in which every request gets its answer.
fn work_to_the_end(file: &Path, tellers: &mut [Teller], kills: u32) {
    let bank = Bank::start(file);
    let stop = AtomicBool::new(true);
    thread::scope(|scope| {
        for teller in &mut *tellers {
            let (address, stop) = (bank.address, &stop);
            scope.spawn(move || teller.work(Client::new(address), kills, stop, &mpsc::channel().0));
        }
    });
    assert!(tellers.iter_mut().all(|teller| teller.pending().is_none()), "a request was never answered");
    bank.terminate();
    assert!(bank.wait().success());
}

fn check_everything(file: &Path, tellers: &[Teller]) {
    let bank = Bank::start(file);
    let mut client = Client::new(bank.address);
    let mut accounts: Vec<_> =
        tellers.iter().flat_map(|teller| &teller.sent).map(|sent| &sent.account).collect();
    accounts.sort();
    accounts.dedup();
    for account in accounts {
        check(&mut client, account, tellers);
    }
}

/// Compares an account's events with what the tellers sent and heard, while none of them is at work.
fn check(client: &mut Client, account: &str, tellers: &[Teller]) {
    let mut sent: HashMap<_, _> = tellers
        .iter()
        .flat_map(|teller| &teller.sent)
        .filter(|sent| sent.account == account)
        .map(|sent| (sent.request_id.as_str(), sent))
        .collect();
    let mut cents = 0;
    let events = events(client, account);
    for (event, seq_nr) in events.iter().zip(1..) {
        assert_eq!(event.seq_nr, seq_nr, "{account}: the events are not 1..n");
        let sent = sent.remove(event.request_id.as_str()).unwrap_or_else(|| {
            panic!("{account}: event {seq_nr} was stored twice or never asked for: {event:?}")
        });
        assert_eq!(event.change(), sent.change, "{account}: event {seq_nr} is not what was asked for");
        cents += event.change();
        let now = Answer { id: account.to_owned(), cents: cents.try_into().unwrap(), seq_nr };
        match &sent.outcome {
            Outcome::Pending => {}
            Outcome::Answered(answer) => assert_eq!(*answer, now, "{account}: the answer was another"),
            Outcome::Refused => panic!("{account}: event {seq_nr} was refused before: {sent:?}"),
        }
    }
    for sent in sent.values() {
        assert!(
            !matches!(sent.outcome, Outcome::Answered(_)),
            "{account}: an answered change is lost: {sent:?}"
        );
    }
    let balance = client.get(&format!("/accounts/{account}")).unwrap();
    if events.is_empty() {
        assert_eq!(balance.status, 404);
    } else {
        let seq_nr = events.len() as u64;
        let expected = Answer { id: account.to_owned(), cents: cents.try_into().unwrap(), seq_nr };
        assert_eq!(balance.answer(), expected);
    }
}

fn events(client: &mut Client, account: &str) -> Vec<Event> {
    let response = client.get(&format!("/accounts/{account}/events")).unwrap();
    if response.status == 404 {
        return Vec::new();
    }
    assert_eq!(response.status, 200, "{}", response.body);
    response.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Debug, Deserialize)]
struct Event {
    seq_nr: u64,
    event: String,
    cents: i64,
    request_id: String,
}

impl Event {
    fn change(&self) -> i64 {
        match self.event.as_str() {
            "account.deposited" => self.cents,
            "account.withdrawn" => -self.cents,
            other => panic!("what is {other}?"),
        }
    }
}

/// A client that remembers everything it sent and what it was answered.
struct Teller {
    number: u32,
    random: SmallRng,
    sent: Vec<Sent>,
    repeats: u64,
    unavailable: u64,
}

#[derive(Debug, Clone)]
struct Sent {
    account: String,
    request_id: String,
    /// In cents; a withdrawal is below zero.
    change: i64,
    outcome: Outcome,
    tries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Sent, perhaps several times, and not answered yet.
    Pending,
    Answered(Answer),
    /// 422: certainly not stored.
    Refused,
}

impl Teller {
    fn new(number: u32, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { number, random, sent: Vec::new(), repeats: 0, unavailable: 0 }
    }

    /// The request that has no answer yet: always the newest.
    fn pending(&mut self) -> Option<&mut Sent> {
        self.sent.last_mut().filter(|sent| sent.outcome == Outcome::Pending)
    }

    /// Sends the pending request again and then new ones, until it is told to stop or the bank is gone.
    fn work(&mut self, mut client: Client, kills: u32, stop: &AtomicBool, answered: &Sender<()>) {
        loop {
            if self.pending().is_none() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if self.random.random_ratio(1, 8) && self.look_back(&mut client).is_none() {
                    return;
                }
                self.think_of_a_change(kills);
            }
            if self.try_pending(&mut client).is_none() {
                return;
            }
            let _ = answered.send(());
        }
    }

    fn think_of_a_change(&mut self, kills: u32) {
        let change = match self.random.random_range(0..10) {
            0..7 => self.random.random_range(1..1_000),
            7..9 => -self.random.random_range(1..2_000),
            _ => -self.random.random_range(1..50_000),
        };
        self.sent.push(Sent {
            account: account(self.random.random_range(0..ACCOUNTS), kills),
            request_id: format!("{}-{}", self.number, self.sent.len()),
            change,
            outcome: Outcome::Pending,
            tries: 0,
        });
    }

    /// Sends the pending request; `None` when the bank is gone.
    fn try_pending(&mut self, client: &mut Client) -> Option<()> {
        for _ in 0..PATIENCE {
            let sent = self.pending()?;
            sent.tries += 1;
            let response = sent.post(client)?;
            sent.outcome = match response.status {
                200 => Outcome::Answered(response.answer()),
                422 => Outcome::Refused,
                503 => Outcome::Pending,
                _ => panic!("{sent:?} was answered {response:?}"),
            };
            if sent.outcome != Outcome::Pending {
                return Some(());
            }
            self.unavailable += 1;
        }
        panic!("answered 503 {PATIENCE} times: {:?}", self.sent.last());
    }

    /// Repeats an answered request or reads a balance: the first answer stands, and what was answered is seen.
    fn look_back(&mut self, client: &mut Client) -> Option<()> {
        let recent = self.sent.len().saturating_sub(RECENT)..self.sent.len();
        if recent.is_empty() {
            return Some(());
        }
        let sent = &self.sent[self.random.random_range(recent)];
        let Outcome::Answered(first) = &sent.outcome else { return Some(()) };
        if self.random.random() {
            let again = sent.post(client)?;
            if again.status == 503 {
                return Some(());
            }
            self.repeats += 1;
            assert_eq!(again.answer(), *first, "the first answer to {sent:?} changed");
        } else {
            let balance = client.get(&format!("/accounts/{}", sent.account)).ok()?;
            if balance.status == 503 {
                return Some(());
            }
            assert!(balance.answer().seq_nr >= first.seq_nr, "an answered change is not seen: {sent:?}");
        }
        Some(())
    }
}

/// So far back a teller repeats itself; an account remembers at least 1,000 requests of all tellers.
const RECENT: usize = 150;
/// So often in a row a change may be answered 503.
const PATIENCE: u32 = 10_000;

impl Sent {
    /// `None` when the connection broke: the change is stored or not.
    fn post(&self, client: &mut Client) -> Option<Response> {
        let action = if self.change > 0 { "deposit" } else { "withdraw" };
        let body = format!(r#"{{"cents":{},"request_id":"{}"}}"#, self.change.abs(), self.request_id);
        client.post(&format!("/accounts/{}/{action}", self.account), &body).ok()
    }
}
