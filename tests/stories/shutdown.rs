//! How processes end: the bank, and an example whose tasks do not behave.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::example::{Bank, example};
use crate::http_client::{Client, connect, post};

/// The example `shutdown`, once it says that it is ready.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: thread::JoinHandle<String>,
    begun: std::sync::mpsc::Receiver<()>,
}

impl Process {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(example("shutdown"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (begins, begun) = std::sync::mpsc::channel();
        let log = thread::spawn(move || {
            let mut log = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if line.contains("shutting down") {
                    let _ = begins.send(());
                }
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self { child, stdout, log, begun }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits until it has begun to stop.
    fn begins(&self) {
        self.begun.recv_timeout(Duration::from_secs(60)).expect("it logs that it shuts down");
    }

    /// Exit code, and what it has printed and logged.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut printed = String::new();
        self.stdout.read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), printed + &self.log.join().unwrap())
    }
}

#[test]
fn a_signal_ends_a_process_whose_tasks_behave_with_0() {
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let process = Process::start(&[]);
        process.signal(signal);
        let (code, log) = process.ends();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(name) && log.contains("shut down"), "{log}");
        for phase in
            ["announce", "stop-accepting", "drain", "stop-services", "passivate", "flush", "leave", "close"]
        {
            assert!(log.contains(&format!("shutdown: {phase} ")), "{phase} is missing in\n{log}");
        }
    }
}

#[test]
fn a_task_that_hangs_is_named_and_the_process_ends_at_its_deadline_with_1() {
    // Others may be slow, this one never ends: all phases but its own have a minute.
    let flags = ["--hang", "drain", "--within-ms", "600000", "--deadline", "drain=300"];
    let process = Process::start(&flags);
    process.signal("-TERM");
    let (code, log) = process.ends();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("hanging unfinished after "), "{log}");
    assert!(log.contains("shutdown: close "), "the phases after it did not come:\n{log}");
}

#[test]
fn tasks_that_fail_and_panic_are_named_and_hold_nothing_up() {
    let process = Process::start(&["--fail", "flush", "--panic", "leave"]);
    process.signal("-TERM");
    let (code, log) = process.ends();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("failing failed: no space left on device"), "{log}");
    assert!(log.contains("panicking panicked: it was there before"), "{log}");
    assert!(log.contains("shutdown: close "), "{log}");
}

#[test]
fn tasks_that_block_every_thread_do_not_keep_a_process_from_ending() {
    // The phases after it have no thread either.
    let process = Process::start(&["--block", "leave", "--within-ms", "3000"]);
    process.signal("-TERM");
    let (code, log) = process.ends();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("blocking 0 unfinished") && log.contains("blocking 1 unfinished"), "{log}");
}

#[test]
fn a_second_signal_ends_a_process_at_once_also_when_every_thread_is_blocked() {
    for (how, first, second, code) in [
        ("--hang", "-INT", "-INT", 130),
        ("--hang", "-TERM", "-TERM", 143),
        ("--hang", "-TERM", "-INT", 130),
        ("--block", "-INT", "-INT", 130),
    ] {
        let process = Process::start(&[how, "drain", "--within-ms", "3600000"]);
        let begin = Instant::now();
        process.signal(first);
        process.begins();
        process.signal(second);
        let (ended, log) = process.ends();
        assert_eq!(ended, Some(code), "{how} {first} {second}:\n{log}");
        assert!(log.contains("shutdown broken off by"), "{log}");
        // Its deadlines are minutes.
        assert!(begin.elapsed() < Duration::from_secs(120), "{log}");
    }
}

#[test]
fn each_reason_has_the_exit_code_that_its_page_names() {
    for (reason, code) in [
        ("requested", 0),
        ("left", 0),
        ("failed", 1),
        ("join-failed", 69),
        ("downed", 75),
        ("incompatible", 78),
    ] {
        let (ended, log) = Process::start(&["--reason", reason]).ends();
        assert_eq!(ended, Some(code), "{reason}:\n{log}");
    }
    let (ended, log) = Process::start(&["--reason", "downed", "--fail", "flush"]).ends();
    assert_eq!(ended, Some(75), "{log}");
}

#[test]
fn deadlines_beyond_the_grace_period_refuse_the_start() {
    let (code, log) = Process::start(&["--deadline", "drain=60000"]).ends();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("add up to 82s") && log.contains("kills after 30s"), "{log}");
}

/// The bank's phases, as its log has them.
fn phases(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split("shutdown: ").nth(1)?.split(' ').next()).collect()
}

#[test]
fn the_bank_stops_accepting_drains_passivates_flushes_leaves_and_closes() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bank.db");
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    let body = json!({ "cents": 5, "request_id": "a-1" }).to_string();
    assert_eq!(client.post("/accounts/alice/deposit", &body).unwrap().status, 200);
    bank.terminate();
    let (code, log) = bank.ends();
    assert_eq!(code, Some(0), "{log}");
    let expected = ["stop-accepting", "drain", "stop-services", "passivate", "flush", "leave", "close"];
    assert_eq!(phases(&log), expected, "{log}");
    assert!(log.contains("entities of bank") && log.contains("stores of bank"), "{log}");
    assert!(!file.with_extension("db-wal").exists());
}

#[test]
fn a_bank_whose_journal_hangs_says_what_did_not_finish_and_exits_with_1() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bank.db");
    let journal = format!("sqlite://{}?busy_timeout_ms=120000", file.display());
    let bank = Bank::spawn_with(&file, &["--journal", &journal, "--stop-within-ms", "2000"]).listening();
    let body = |id| json!({ "cents": 5, "request_id": id }).to_string();
    let first = Client::new(bank.address).post("/accounts/alice/deposit", &body("a-1"));
    assert_eq!(first.unwrap().status, 200);
    let thief = rusqlite::Connection::open(&file).unwrap();
    thief.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut waits = connect(bank.address).unwrap();
    waits.write_all(post("/accounts/alice/deposit", &body("a-2")).as_bytes()).unwrap();
    // An answer on another connection: by then the bank has taken the first one too.
    assert_eq!(Client::new(bank.address).get("/nowhere").unwrap().status, 404);
    bank.terminate();
    let (code, log) = bank.ends();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("of bank unfinished after"), "{log}");
    assert!(log.contains("shut down, not everything finished"), "{log}");

    // What was answered is there.
    thief.execute_batch("ROLLBACK").unwrap();
    drop(thief);
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    assert_eq!(client.post("/accounts/alice/deposit", &body("a-1")).unwrap().status, 200);
}

#[test]
fn a_second_sigterm_ends_a_bank_at_once() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bank.db");
    let bank = Bank::start(&file);
    let request = post("/accounts/alice/deposit", r#"{"cents":500,"request_id":"a-1"}"#);
    let mut connection = connect(bank.address).unwrap();
    connection.write_all(&request.as_bytes()[..request.len() - 10]).unwrap();
    assert_eq!(Client::new(bank.address).get("/healthz").unwrap().status, 200);
    bank.terminate();
    while connect(bank.address).is_ok() {
        thread::yield_now();
    }
    // The connection is still open: the bank waits for the rest of the request.
    bank.terminate();
    let (code, log) = bank.ends();
    assert_eq!(code, Some(143), "{log}");
    assert!(log.contains("http unfinished"), "{log}");
}
