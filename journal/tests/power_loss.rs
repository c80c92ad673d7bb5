//! Power loss, which `kill -9` cannot show: what was not fsynced is gone, torn or reordered.
//!
//! A child process appends to a SQLite journal on a disk that loses power (`power_loss/shim.c`, preloaded) and says what was
//! answered. What the disk still has must be a whole journal with every answered event. `ANNALS_TIME_BUDGET_SECS` says for
//! how long, `ANNALS_SEED` repeats a run.
#![cfg(all(feature = "sqlite", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use annals_journal::sqlite::{Durability, Options, SqliteJournal, rusqlite};
use annals_journal::{
    Epoch, GroupCommit, GroupCommitSettings, Journal, JournalError, JournalExt, ReplayRange, Replayed, Token,
    Write, next_epoch,
};
use bytes::Bytes;
use children::{Dice, budget, seed};
use futures::StreamExt;
use support::{append, id};

#[test]
fn every_answered_event_survives_a_power_cut() {
    const NAME: &str = "every_answered_event_survives_a_power_cut";
    let Some(disk) = Disk::of(NAME) else { return };
    let (seed, begin) = (seed(), Instant::now());
    let mut dice = Dice::new(seed);
    let (mut cuts, mut answered) = (0, 0);
    while cuts < 5 || begin.elapsed() < budget() {
        let world = World::new();
        // Several cuts in the life of one journal.
        for _ in 0..4 {
            let fault = Fault { cut_at: 1 + dice.below(600), ..Fault::default() };
            let found = disk.run(&world, dice.below(u64::MAX), fault);
            found.verdict.unwrap_or_else(|lost| panic!("seed {seed}, cut {cuts}: {lost}"));
            cuts += 1;
            answered += found.answered;
        }
    }
    println!("seed {seed}: {cuts} power cuts, {answered} answered events, none lost");
    assert!(answered > 0);
}

#[test]
fn an_fsync_that_fails_is_unknown_and_loses_nothing_that_was_answered() {
    const NAME: &str = "an_fsync_that_fails_is_unknown_and_loses_nothing_that_was_answered";
    let Some(disk) = Disk::of(NAME) else { return };
    let (seed, begin) = (seed(), Instant::now());
    let mut dice = Dice::new(seed);
    let (mut runs, mut unknown, mut unavailable, mut went_on) = (0, 0, 0, 0);
    while runs < 8 || begin.elapsed() < budget() {
        let world = World::new();
        let healthy = Fault { cut_at: 200 + dice.below(200), ..Fault::default() };
        disk.run(&world, dice.below(u64::MAX), healthy)
            .verdict
            .unwrap_or_else(|lost| panic!("seed {seed}, run {runs}, before the fault: {lost}"));
        let fault = Fault {
            cut_at: 300 + dice.below(900),
            failed_fsync: 4 + dice.below(60),
            failed_fsyncs: 1 + dice.below(2) * dice.below(5),
            ..Fault::default()
        };
        let found = disk.run(&world, dice.below(u64::MAX), fault);
        found.verdict.unwrap_or_else(|lost| panic!("seed {seed}, run {runs}: {lost}"));
        runs += 1;
        unknown += u64::from(found.unknown > 0);
        unavailable += u64::from(found.unavailable > 0);
        went_on += u64::from(found.unknown > 0 && found.answered_after_unknown > 0);
    }
    println!(
        "seed {seed}: {runs} runs, {unknown} with unknown outcomes, {went_on} of them went on; {unavailable} could not be \
         recovered at once"
    );
    assert!(unknown > 0, "seed {seed}: no failed fsync met a commit");
    assert!(went_on > 0, "seed {seed}: the journal never went on");
}

#[test]
fn the_same_test_finds_lost_events_when_commits_are_left_to_the_operating_system() {
    const NAME: &str = "the_same_test_finds_lost_events_when_commits_are_left_to_the_operating_system";
    finds_a_loss(NAME, Fault { durability: Durability::Os, ..Fault::default() });
}

#[test]
fn the_same_test_finds_lost_events_when_the_disk_ignores_fsync() {
    const NAME: &str = "the_same_test_finds_lost_events_when_the_disk_ignores_fsync";
    finds_a_loss(NAME, Fault { ignore_fsync: true, ..Fault::default() });
}

fn finds_a_loss(name: &'static str, fault: Fault) {
    const CUTS: u64 = 100;
    let Some(disk) = Disk::of(name) else { return };
    let seed = seed();
    let mut dice = Dice::new(seed);
    for cut in 1..=CUTS {
        let fault = Fault { cut_at: 200 + dice.below(600), ..fault };
        if let Err(lost) = disk.run(&World::new(), dice.below(u64::MAX), fault).verdict {
            println!("seed {seed}, cut {cut}: {lost}");
            return;
        }
    }
    panic!("seed {seed}: {CUTS} power cuts lost nothing, so the test sees nothing");
}

/// What happens to the disk.
#[derive(Debug, Clone, Copy, Default)]
struct Fault {
    /// The operation at which the power is cut.
    cut_at: u64,
    /// The first fsync that fails, counted from 1; 0: none.
    failed_fsync: u64,
    /// How many fail in a row.
    failed_fsyncs: u64,
    ignore_fsync: bool,
    durability: Durability,
}

/// A journal's directory, and what was answered for it in all its lives.
struct World {
    directory: tempfile::TempDir,
    answered: std::cell::RefCell<BTreeMap<String, u64>>,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), answered: std::cell::RefCell::default() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("journal.db")
    }
}

#[derive(Debug)]
struct Found {
    answered: u64,
    unknown: u64,
    unavailable: u64,
    answered_after_unknown: u64,
    verdict: Result<(), String>,
}

/// The preloaded library, and the test that runs again as a child on top of it.
struct Disk {
    test: &'static str,
    directory: tempfile::TempDir,
}

impl Disk {
    /// `None`: this process is the child and has done its part, or there is no C compiler.
    fn of(test: &'static str) -> Option<Self> {
        if let Some(task) = children::task() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(live(&task));
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_loss/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(directory.path().join("shim.so"))
            .arg(source)
            .arg("-lpthread")
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "the shim does not compile"),
            Err(error) => {
                // Past the capture of the test harness, which keeps to itself what a passing test says.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED {test}: power loss needs a C compiler named cc ({error})"
                );
                return None;
            }
        }
        Some(Self { test, directory })
    }

    /// Lets a process append until the power is cut, then looks at what is left.
    fn run(&self, world: &World, seed: u64, fault: Fault) -> Found {
        let image = tempfile::tempdir().unwrap();
        let real = world.directory.path().canonicalize().unwrap();
        let os = u8::from(fault.durability == Durability::Os);
        let mut command =
            children::command(self.test, &format!("{os} {}", real.join("journal.db").display()));
        command
            .env("LD_PRELOAD", self.directory.path().join("shim.so"))
            .env("ANNALS_SHIM_DIR", &real)
            .env("ANNALS_SHIM_IMAGE", image.path())
            .env("ANNALS_SHIM_SEED", seed.to_string())
            .env("ANNALS_SHIM_CUT_AT", fault.cut_at.to_string())
            .env("ANNALS_SHIM_FAIL_FSYNC", fault.failed_fsync.to_string())
            .env("ANNALS_SHIM_FAIL_COUNT", fault.failed_fsyncs.to_string())
            .env("ANNALS_SHIM_IGNORE_FSYNC", u8::from(fault.ignore_fsync).to_string())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let mut found =
            Found { answered: 0, unknown: 0, unavailable: 0, answered_after_unknown: 0, verdict: Ok(()) };
        for line in children::lines(&mut child) {
            match line.split_once(' ') {
                Some((name, number)) => {
                    world.answered.borrow_mut().insert(name.to_owned(), number.parse().unwrap());
                    found.answered += 1;
                    found.answered_after_unknown += u64::from(found.unknown > 0);
                }
                None if line == "unavailable" => found.unavailable += 1,
                None => found.unknown += 1,
            }
        }
        child.wait().unwrap();
        let errors = errors.join().unwrap();
        assert!(errors.contains("power cut"), "the child ended otherwise: {errors}");
        // The machine starts again with what the disk has.
        for entry in fs::read_dir(&real).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for entry in fs::read_dir(image.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, real.join(path.file_name().unwrap())).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        found.verdict = runtime.block_on(verdict(world));
        found
    }
}

async fn verdict(world: &World) -> Result<(), String> {
    let options = Options::default().durability(Durability::Os);
    let journal = SqliteJournal::open(world.file(), options)
        .await
        .map_err(|error| format!("cannot be opened: {error}"))?;
    let answered = world.answered.borrow().clone();
    for (name, number) in &answered {
        let mut replay = journal.replay(ReplayRange::all(&id(name)));
        let mut last = 0;
        while let Some(item) = replay.next().await {
            match item.map_err(|error| format!("cannot be read: {error}"))? {
                Replayed::Event(event) if event.envelope.payload == payload(last + 1) => last += 1,
                other => return Err(format!("{name} #{} is {other:?}", last + 1)),
            }
        }
        if last < *number {
            return Err(format!("{name} #{number} was answered and is lost, {last} events are there"));
        }
    }
    journal.database().close().await;
    let file = rusqlite::Connection::open(world.file()).unwrap();
    let verdict: String = file
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .map_err(|error| format!("cannot be checked: {error}"))?;
    if verdict == "ok" { Ok(()) } else { Err(format!("integrity check: {verdict}")) }
}

/// What the child does until the power is cut: four ids, each going on from where it stands.
async fn live(task: &str) {
    let (os, path) = task.split_once(' ').unwrap();
    let durability = if os == "1" { Durability::Os } else { Durability::EachCommit };
    // Short logs, so that checkpoints are cut as well.
    let options = Options::default().durability(durability).checkpoint_pages(24);
    // The fsyncs that fail may be these; later attempts are not met by them.
    let backend = loop {
        match SqliteJournal::open(path, options).await {
            Ok(backend) => break backend,
            Err(_) => children::say("unavailable"),
        }
    };
    let epoch = loop {
        match next_epoch(&backend).await {
            Ok(epoch) => break epoch,
            Err(error) => children::say(kind(&error)),
        }
    };
    let journal = GroupCommit::new(Arc::new(backend), GroupCommitSettings::default());
    let writers = (0..4).map(|n| append_for_ever(journal.clone(), format!("entity-{n}"), epoch));
    futures::future::join_all(writers).await;
}

async fn append_for_ever(journal: GroupCommit, name: String, epoch: Epoch) {
    let id = id(&name);
    for activation in 1.. {
        let token = Token::new(epoch, activation);
        let mut head = match journal.claim(&id, token).await {
            Ok(head) => head.seq_nr.get(),
            Err(error) => {
                children::say(kind(&error));
                continue;
            }
        };
        loop {
            let mut events = append(&id, token, head, 1 + head % 3);
            for event in &mut events.events {
                event.payload = payload(event.seq_nr.get());
            }
            match journal.write_one(Write::Append(events)).await {
                Ok(stored) => {
                    head = stored.seq_nr.get();
                    children::say(format_args!("{name} {head}"));
                }
                // It claims under a newer activation and goes on from what is there.
                Err(error) => {
                    children::say(kind(&error));
                    break;
                }
            }
        }
    }
}

fn kind(error: &JournalError) -> &'static str {
    match error {
        JournalError::Unknown { .. } | JournalError::Unavailable { .. } => error.kind(),
        other => panic!("{other}"),
    }
}

/// From a few bytes to a few pages.
fn payload(number: u64) -> Bytes {
    let len = usize::try_from(number * 7_919 % 3_000).unwrap();
    Bytes::from(vec![u8::try_from(number % 251).unwrap(); len])
}
