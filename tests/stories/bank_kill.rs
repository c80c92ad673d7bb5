//! The bank is killed again and again while clients change accounts: what it answered is there, exactly once.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::audit::{audit, audit_everything};
use crate::budget;
use crate::example::Bank;
use crate::http_client::Client;
use crate::teller::{ACCOUNTS, Summary, Teller, account, send_to_work, work_to_the_end};

#[test]
fn every_answered_change_survives_kill_9_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    kill_again_and_again(&folder.path().join("bank.db"));
}

/// Kills banks on a file while clients change accounts, then compares; gives what the clients sent.
pub(crate) fn kill_again_and_again(file: &Path) -> Vec<Teller> {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("bank_kill: ANNALS_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut tellers: Vec<_> = (0..TELLERS).map(|number| Teller::new(number, random.random())).collect();
    let (mut kills, mut kills_at_start, mut terminations) = (0, 0, 0);
    while kills < KILLS && (kills < FEWEST_KILLS || Instant::now() < deadline) {
        let die = random.random_range(0..10);
        if die == 0 {
            Bank::spawn(file).kill_within(Duration::from_micros(random.random_range(0..60_000)));
            kills_at_start += 1;
            kills += 1;
            continue;
        }
        let bank = Bank::start(file);
        let account = account(random.random_range(0..ACCOUNTS), kills);
        audit(&mut Client::new(bank.address), &account, &tellers);
        if die == 1 {
            work_a_while(bank, &mut tellers, kills, &mut random, |bank| {
                bank.terminate();
                bank.stops();
            });
            terminations += 1;
        } else {
            work_a_while(bank, &mut tellers, kills, &mut random, Bank::kill);
            kills += 1;
        }
    }
    work_to_the_end(Bank::start(file), &mut tellers, kills);
    audit_everything(file, &tellers);
    eprintln!(
        "bank_kill: ANNALS_SEED={seed}: {kills} kills ({kills_at_start} at start), {terminations} SIGTERMs, {}, in {:?}",
        Summary(&tellers),
        began.elapsed()
    );
    tellers
}

/// Enough for "at any moment"; the time budget may end it earlier.
const KILLS: u32 = 200;
const FEWEST_KILLS: u32 = 5;
const TELLERS: u32 = 6;

/// Lets all tellers work, ends the bank after a random number of answers or a random time, and lets them notice.
pub(crate) fn work_a_while(
    bank: Bank,
    tellers: &mut [Teller],
    kills: u32,
    random: &mut SmallRng,
    end: impl FnOnce(Bank),
) {
    let answers = random.random_range(0..100);
    let latest = Instant::now() + Duration::from_micros(random.random_range(0..200_000));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (answered, heard) = mpsc::channel();
        send_to_work(scope, tellers, &bank, kills, &stop, &answered);
        drop(answered);
        hear(&heard, answers, latest);
        end(bank);
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
