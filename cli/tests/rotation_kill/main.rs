//! `annals keys rotate` and a process that makes data keys at full speed, both killed at random points.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod writer;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use annals_journal::JournalUrl;
use annals_journal::encryption::{DataKeyOptions, DataKeys, KeySource, KeyUsage, Ring, RingKeys};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::writer::{Made, Writer};

const NAME: &str = "after_kills_of_rotations_and_writers_everything_opens_under_the_new_key";

#[test]
fn after_kills_of_rotations_and_writers_everything_opens_under_the_new_key() {
    if writer::is_child() {
        return writer::make_for_ever();
    }
    let seed = number("ANNALS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let budget = Duration::from_secs(number("ANNALS_TIME_BUDGET_SECS").unwrap_or(0));
    let (mut dice, begin) = (StdRng::seed_from_u64(seed), Instant::now());
    let (mut journals, mut kills) = (0, 0);
    while journals < 1 || begin.elapsed() < budget {
        journals += 1;
        kills += a_journals_life(&mut dice, &format!("seed {seed}, journal {journals}"));
    }
    println!("{journals} journals, {kills} kills");
}

/// Two rotations of one journal; answers how often something was killed.
fn a_journals_life(dice: &mut StdRng, place: &str) -> usize {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    generate(directory);
    // The first writer makes the journal, and some keys under key 1.
    let mut made = Made::default();
    let mut writer = Writer::start(directory, NAME, 0);
    writer.wait_for(2_000, &mut made);
    let mut kills = 0;
    // How long a rotation takes that nobody kills.
    let mut whole = Duration::from_millis(300);
    for round in 1..=2 {
        let place = format!("{place}, round {round}");
        generate(directory);
        for _ in 0..dice.random_range(1..4) {
            let mut rotation = rotate(directory).arg("--force").spawn().unwrap();
            std::thread::sleep(whole.mul_f64(dice.random_range(0.0..1.1)));
            // It may have ended.
            drop(rotation.kill());
            rotation.wait().unwrap();
            kills += 1;
            if dice.random_bool(0.4) {
                writer.kill(&mut made);
                writer = Writer::start(directory, NAME, made.count());
                kills += 1;
            }
        }
        // Without force it waits for the writer, and for those that were killed, until their leases end.
        let patient = dice.random_bool(0.2);
        let start = Instant::now();
        loop {
            let mut rotation = rotate(directory);
            if !patient {
                rotation.arg("--force");
            }
            let begin = Instant::now();
            let output = rotation.output().unwrap();
            whole = begin.elapsed();
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                break;
            }
            assert!(said.contains("did not announce"), "{place}: {said}");
            assert!(start.elapsed() < Duration::from_secs(120), "{place}: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
        // It still works, with the ring as it is now.
        let count = made.count() + 50;
        writer.wait_for(count, &mut made);
        if dice.random_bool(0.5) {
            writer.kill(&mut made);
            writer = Writer::start(directory, NAME, made.count());
        } else {
            writer.note(&mut made);
        }
        check(directory, &made, &place);
    }
    writer.kill(&mut made);
    kills
}

/// Everything opens with the newest key alone, and nothing needs another.
fn check(directory: &Path, made: &Made, place: &str) {
    let ring = Ring::parse(&fs::read_to_string(directory.join("ring.json")).unwrap()).unwrap();
    let active = ring.active();
    let written: serde_json::Value = serde_json::from_str(&ring.to_json()).unwrap();
    let id = active.to_string();
    let alone = serde_json::json!({"active": active.0, "keys": {(&*id): written["keys"][&*id]}});
    let masters = RingKeys::from(Ring::parse(&alone.to_string()).unwrap());
    runtime().block_on(async {
        let url: JournalUrl = format!("sqlite://{}", directory.join("bank.db").display()).parse().unwrap();
        let opened = url.open().await.unwrap();
        let usage = KeyUsage::read(&*opened.records, |_| ()).await.unwrap();
        assert_eq!(usage.active, Some(active), "{place}");
        for (id, used) in usage.master_keys {
            let expected = id == active;
            assert_eq!(used.in_use, expected, "{place}: master key {id}: {used:?}");
            assert_eq!(used.data_keys > 0 || used.chain_key, expected, "{place}: master key {id}: {used:?}");
        }
        let keys = DataKeys::open_for_reading(
            opened.records.clone(),
            std::sync::Arc::new(masters),
            DataKeyOptions::default(),
        )
        .await
        .unwrap_or_else(|error| panic!("{place}: {error}"));
        made.all_open(&keys, place).await;
        keys.chain_key().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        opened.database.unwrap().close().await;
    });
}

fn generate(directory: &Path) {
    let run = annals(directory, &["keys", "generate", "ring.json"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn rotate(directory: &Path) -> Command {
    annals(directory, &["keys", "rotate", "--journal", "sqlite://bank.db", "--keys", "file:ring.json"])
}

fn annals(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command
        .current_dir(directory)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in ["ANNALS_JOURNAL", "ANNALS_KEYS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The ring of a directory, as an application has it.
async fn ring_keys(directory: &Path, records: &dyn annals_journal::Records) -> RingKeys {
    RingKeys::open(&[KeySource::File(directory.join("ring.json"))], records).await.unwrap()
}
