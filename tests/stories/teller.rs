//! A client of the bank that never forgets.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, Scope};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::example::Bank;
use crate::http_client::{Answer, Client, Response};

/// A client that remembers everything it sent and what it was answered.
pub(crate) struct Teller {
    number: u32,
    random: SmallRng,
    pub(crate) sent: Vec<Sent>,
    repeats: u64,
    unavailable: u64,
}

/// A change that was sent, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) account: String,
    pub(crate) request_id: String,
    /// In cents; a withdrawal is below zero.
    pub(crate) change: i64,
    pub(crate) outcome: Outcome,
    tries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Sent, perhaps several times, and not answered yet.
    Pending,
    Answered(Answer),
    /// 422: certainly not stored.
    Refused,
}

impl Teller {
    pub(crate) fn new(number: u32, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { number, random, sent: Vec::new(), repeats: 0, unavailable: 0 }
    }

    /// The request that has no answer yet: always the newest.
    pub(crate) fn pending(&mut self) -> Option<&mut Sent> {
        self.sent.last_mut().filter(|sent| sent.outcome == Outcome::Pending)
    }

    /// Sends the pending request again and then new ones, until it is told to stop or the bank is gone.
    pub(crate) fn work(&mut self, mut client: Client, round: u32, stop: &AtomicBool, answered: &Sender<()>) {
        loop {
            if self.pending().is_none() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if self.random.random_ratio(1, 8) && self.look_back(&mut client).is_none() {
                    return;
                }
                self.think_of_a_change(round);
            }
            if self.try_pending(&mut client).is_none() {
                return;
            }
            let _ = answered.send(());
        }
    }

    fn think_of_a_change(&mut self, round: u32) {
        let change = match self.random.random_range(0..10) {
            0..7 => self.random.random_range(1..1_000),
            7..9 => -self.random.random_range(1..2_000),
            _ => -self.random.random_range(1..50_000),
        };
        self.sent.push(Sent {
            account: account(self.random.random_range(0..ACCOUNTS), round),
            request_id: format!("{}-{}", self.number, self.sent.len()),
            change,
            outcome: Outcome::Pending,
            tries: 0,
        });
    }

    /// Sends the pending request; `None` when the bank is gone, or answers 503 whatever is tried.
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
        None
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
/// After so many answers 503 in a row a teller leaves.
const PATIENCE: u32 = 100;

impl Sent {
    /// `None` when the connection broke: the change is stored or not.
    fn post(&self, client: &mut Client) -> Option<Response> {
        let action = if self.change > 0 { "deposit" } else { "withdraw" };
        let body = format!(r#"{{"cents":{},"request_id":"{}"}}"#, self.change.abs(), self.request_id);
        client.post(&format!("/accounts/{}/{action}", self.account), &body).ok()
    }
}

/// Few, so that tellers meet at them.
pub(crate) const ACCOUNTS: u32 = 3;
/// After so many rounds other accounts are used: late enough for snapshots, early enough to audit one often.
const ROUNDS_AN_ACCOUNT: u32 = 100;

/// The name of an account in a round.
pub(crate) fn account(number: u32, round: u32) -> String {
    format!("{number}-{}", round / ROUNDS_AN_ACCOUNT)
}

/// Lets each teller work at a bank on a thread of its own; each answer is told.
pub(crate) fn send_to_work<'scope>(
    scope: &'scope Scope<'scope, '_>,
    tellers: &'scope mut [Teller],
    bank: &Bank,
    round: u32,
    stop: &'scope AtomicBool,
    answered: &Sender<()>,
) {
    for teller in tellers {
        let (client, answered) = (Client::new(bank.address), answered.clone());
        scope.spawn(move || teller.work(client, round, stop, &answered));
    }
}

/// A round in which every request gets its answer; then the bank is told to end.
pub(crate) fn work_to_the_end(bank: Bank, tellers: &mut [Teller], round: u32) {
    let stop = AtomicBool::new(true);
    thread::scope(|scope| send_to_work(scope, tellers, &bank, round, &stop, &mpsc::channel().0));
    assert!(tellers.iter_mut().all(|teller| teller.pending().is_none()), "a request was never answered");
    bank.terminate();
    bank.stops();
}

/// What tellers did together.
pub(crate) struct Summary<'a>(pub(crate) &'a [Teller]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = || self.0.iter().flat_map(|teller| &teller.sent);
        let answered = || sent().filter(|sent| matches!(sent.outcome, Outcome::Answered(_)));
        write!(
            f,
            "{} answered, {} of them only when sent again, {} refused, {} repeats, {} answers 503",
            answered().count(),
            answered().filter(|sent| sent.tries > 1).count(),
            sent().filter(|sent| sent.outcome == Outcome::Refused).count(),
            self.0.iter().map(|teller| teller.repeats).sum::<u64>(),
            self.0.iter().map(|teller| teller.unavailable).sum::<u64>(),
        )
    }
}
