//! `annals keys rekey` and `annals keys encrypt`, and accounts that count at full speed in another process, all killed at random points.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod account;
mod owner;
mod stored;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use annals::journal::KeyId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::account::HOLDER;
use crate::owner::{Answered, Owner};
use crate::stored::{Nonces, Stored};

const REKEYING: &str = "after_kills_of_rekeyings_and_owners_nothing_is_under_the_old_key";

#[test]
fn after_kills_of_rekeyings_and_owners_nothing_is_under_the_old_key() {
    if owner::is_child() {
        return owner::count_for_ever();
    }
    search(rekey_twice);
}

const ENCRYPTING: &str = "after_kills_of_encryptings_and_owners_nothing_is_in_the_clear";

#[test]
fn after_kills_of_encryptings_and_owners_nothing_is_in_the_clear() {
    if owner::is_child() {
        return owner::count_for_ever();
    }
    search(encrypt);
}

/// Looks at one journal's life after the other, until the time is over.
fn search(life: impl Fn(&mut StdRng, &str) -> usize) {
    let seed = number("ANNALS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let budget = Duration::from_secs(number("ANNALS_TIME_BUDGET_SECS").unwrap_or(0));
    let (mut dice, begin) = (StdRng::seed_from_u64(seed), Instant::now());
    let (mut journals, mut kills) = (0, 0);
    while journals < 1 || begin.elapsed() < budget {
        journals += 1;
        kills += life(&mut dice, &format!("seed {seed}, journal {journals}"));
    }
    println!("{journals} journals, {kills} kills");
}

/// Two rekeyings of one journal; answers how often something was killed.
fn rekey_twice(dice: &mut StdRng, place: &str) -> usize {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    succeeds(&mut annals(directory, &["keys", "generate", "ring.json"]), place);
    let (mut answered, mut nonces) = (Answered::default(), Nonces::default());
    let mut owner = Owner::start(directory, REKEYING, true);
    owner.goes_on(600, &mut answered, place);
    let mut story = Story { kills: 0, whole: Duration::from_millis(300) };
    for incident in ["first", "second"] {
        let place = format!("{place}, {incident} incident");
        let rekey = || keys(directory, &["rekey", "--all", "--incident", incident, "--json"]);
        owner = story.killed_and_done(dice, directory, rekey, owner, (REKEYING, &mut answered), &place);
        owner.goes_on(50, &mut answered, &place);
        if dice.random_bool(0.5) {
            owner.kill(&mut answered, &place);
            owner = Owner::start(directory, REKEYING, true);
        } else {
            owner.note(&mut answered);
        }
        runtime().block_on(under_one_key(directory, &answered, &mut nonces, incident, &place));
    }
    owner.kill(&mut answered, place);
    runtime().block_on(under_one_key(directory, &answered, &mut nonces, "second", place));
    println!("{place}: {} answered, {} nonces", answered.total(), nonces.count());
    story.kills
}

/// Every id has one generation of its key, made for this incident, and everything of the id is sealed under it.
async fn under_one_key(
    directory: &Path,
    answered: &Answered,
    nonces: &mut Nonces,
    incident: &str,
    place: &str,
) {
    let stored = Stored::open(directory, true).await;
    for (id, answered) in stored.ids(answered).await {
        let generations = stored.generations(&id).await;
        let [(newest, first)] = generations[..] else { panic!("{place}: {id}: {generations:?}") };
        assert_eq!(first.get(), 1, "{place}: {id}");
        // Each incident gives an id one key more: who was killed has not made another.
        let number = if incident == "first" { KeyId(2) } else { KeyId(3) };
        assert_eq!(newest, number, "{place}: {id}");
        for under in stored.events_under(&id, nonces, place).await {
            assert_eq!(under, Some(newest), "{place}: {id}: an event");
        }
        for under in stored.snapshots_under(&id, nonces, place).await {
            assert_eq!(under, Some(newest), "{place}: {id}: a snapshot");
        }
        stored.history(&id, answered, place).await;
    }
    stored.close().await;
}

/// A journal that was written in the clear is encrypted; answers how often something was killed.
fn encrypt(dice: &mut StdRng, place: &str) -> usize {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    let (mut answered, mut nonces) = (Answered::default(), Nonces::default());
    let mut owner = Owner::start(directory, ENCRYPTING, false);
    owner.goes_on(600, &mut answered, place);
    owner.kill(&mut answered, place);
    assert!(is_found(directory, HOLDER.as_bytes()), "{place}: where nothing is sealed the search finds it");

    // Some accounts go on with keys, others are never looked at again.
    succeeds(&mut annals(directory, &["keys", "generate", "ring.json"]), place);
    let mut owner = Owner::start(directory, ENCRYPTING, true);
    owner.goes_on(dice.random_range(1..200), &mut answered, place);
    let mut story = Story { kills: 0, whole: Duration::from_millis(200) };
    // An owner without keys was killed: it counts as running for a while.
    let encrypt = || keys(directory, &["encrypt", "--all", "--force", "--json"]);
    owner = story.killed_and_done(dice, directory, encrypt, owner, (ENCRYPTING, &mut answered), place);
    owner.goes_on(50, &mut answered, place);
    owner.note(&mut answered);
    runtime().block_on(all_is_sealed(directory, &answered, &mut nonces, place));
    owner.kill(&mut answered, place);
    runtime().block_on(all_is_sealed(directory, &answered, &mut nonces, place));

    succeeds(&mut keys(directory, &["encrypt", "--all", "--force", "--vacuum"]), place);
    for piece in HOLDER.as_bytes().windows(8) {
        assert!(!is_found(directory, piece), "{place}: a piece of a payload is in a file");
    }
    runtime().block_on(all_is_sealed(directory, &answered, &mut nonces, place));
    println!("{place}: {} answered, {} nonces", answered.total(), nonces.count());
    story.kills
}

/// Every event and snapshot is sealed, and the keys say that nothing may be in the clear.
async fn all_is_sealed(directory: &Path, answered: &Answered, nonces: &mut Nonces, place: &str) {
    let stored = Stored::open(directory, true).await;
    for (id, answered) in stored.ids(answered).await {
        let generations = stored.generations(&id).await;
        let [(_, first)] = generations[..] else { panic!("{place}: {id}: {generations:?}") };
        assert_eq!(first.get(), 1, "{place}: {id}");
        let events = stored.events_under(&id, nonces, place).await;
        assert!(events.iter().all(Option::is_some), "{place}: {id}: {events:?}");
        let snapshots = stored.snapshots_under(&id, nonces, place).await;
        assert!(snapshots.iter().all(Option::is_some), "{place}: {id}: {snapshots:?}");
        stored.history(&id, answered, place).await;
    }
    stored.close().await;
}

/// Whether these bytes are in a file of the journal's.
fn is_found(directory: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut journals =
        files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("bank.db"));
    journals.any(|path| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes))
}

/// What is learnt while something is killed again and again.
struct Story {
    kills: usize,
    /// How long it takes when nobody kills it.
    whole: Duration,
}

impl Story {
    /// Runs a command again and again, kills it, and now and then the owner; then lets it come to its end.
    fn killed_and_done(
        &mut self,
        dice: &mut StdRng,
        directory: &Path,
        command: impl Fn() -> Command,
        mut owner: Owner,
        (test, answered): (&str, &mut Answered),
        place: &str,
    ) -> Owner {
        for _ in 0..dice.random_range(1..5) {
            let mut running = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(self.whole.mul_f64(dice.random_range(0.0..1.1)));
            // It may have ended.
            drop(running.kill());
            running.wait().unwrap();
            self.kills += 1;
            if dice.random_bool(0.3) {
                owner.kill(answered, place);
                owner = Owner::start(directory, test, true);
                self.kills += 1;
            }
        }
        let start = Instant::now();
        loop {
            let begin = Instant::now();
            let output = command().output().unwrap();
            self.whole = begin.elapsed();
            if output.status.success() {
                return owner;
            }
            // An id that others were busy with is named, and is done next time.
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{place}: {said}\n{}", owner.log());
            assert!(start.elapsed() < Duration::from_secs(180), "{place}: {said}\n{}", owner.log());
        }
    }
}

fn keys(directory: &Path, args: &[&str]) -> Command {
    let mut command = annals(directory, &["keys"]);
    command.args(args).args([
        "--journal",
        "sqlite://bank.db?busy_timeout_ms=60000",
        "--keys",
        "file:ring.json",
    ]);
    command
}

fn succeeds(command: &mut Command, place: &str) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{place}: {command:?}: {}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn annals(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.current_dir(directory).args(args).stdin(Stdio::null());
    for variable in ["ANNALS_JOURNAL", "ANNALS_KEYS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}
