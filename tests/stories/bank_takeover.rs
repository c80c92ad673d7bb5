//! A second bank is started on the file of a busy one: their clients see one history.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::audit::audit_everything;
use crate::budget;
use crate::example::Bank;
use crate::teller::{Summary, Teller, send_to_work, work_to_the_end};

#[test]
fn two_banks_on_one_file_lose_and_double_nothing() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("bank_takeover: ANNALS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut tellers: Vec<_> = (0..TELLERS).map(|number| Teller::new(number, random.random())).collect();
    let mut old = Bank::start(&file);
    let mut takeovers = 0;
    while takeovers < TAKEOVERS && (takeovers == 0 || Instant::now() < deadline) {
        let (loyal, eager) = tellers.split_at_mut(TELLERS as usize / 2);
        let stop = AtomicBool::new(false);
        let new = thread::scope(|scope| {
            let (answered, heard) = mpsc::channel();
            send_to_work(scope, loyal, &old, takeovers, &stop, &answered);
            heard.iter().take(random.random_range(0..60)).for_each(drop);
            let new = Bank::start(&file);
            send_to_work(scope, eager, &new, takeovers, &stop, &answered);
            heard.iter().take(random.random_range(20..120)).for_each(drop);
            stop.store(true, Ordering::Relaxed);
            new
        });
        std::mem::replace(&mut old, new).kill();
        takeovers += 1;
    }
    work_to_the_end(old, &mut tellers, takeovers);
    audit_everything(&file, &tellers);
    eprintln!(
        "bank_takeover: ANNALS_SEED={seed}: {takeovers} takeovers, {}, in {:?}",
        Summary(&tellers),
        began.elapsed()
    );
}

/// The time budget may end it earlier.
const TAKEOVERS: u32 = 30;
const TELLERS: u32 = 6;
