//! The built examples and the bank as a process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

/// The binary of an example: `target/<profile>/examples`, beside the `deps` that this test runs from.
///
/// Built here, once a run, because no `cargo test` that names targets builds examples; cargo knows when there is nothing to do.
/// `ANNALS_EXAMPLE_FLAGS` are the flags that chose features and packages of the test, so that no crate is built twice.
pub(crate) fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(name) {
        build(name, profile);
        built.insert(name);
    }
    profile.join("examples").join(name)
}

/// The binary of the command line, built as [`example`]s are.
pub(crate) fn annals() -> PathBuf {
    static BUILT: Once = Once::new();
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let chosen = std::env::var("ANNALS_EXAMPLE_FLAGS").is_ok_and(|flags| flags.contains("--workspace"));
    let package: &[&str] = if chosen { &[] } else { &["--package", "annals-cli"] };
    BUILT.call_once(|| cargo_build(&[package, &["--bin", "annals"]].concat(), profile));
    profile.join("annals")
}

fn build(name: &str, profile: &Path) {
    cargo_build(&["--example", name], profile);
}

fn cargo_build(what: &[&str], profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet"]).args(what).current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if !profile.ends_with("debug") {
        cargo.arg("--profile").arg(profile.file_name().unwrap());
    }
    let flags = std::env::var("ANNALS_EXAMPLE_FLAGS").unwrap_or_default();
    assert!(cargo.args(flags.split_whitespace()).status().unwrap().success(), "{cargo:?} failed");
}

/// A story tells what becomes of changes, not how fast a disk is that others write to: short of its client's own patience.
const PATIENT: [&str; 4] = ["--answer-within-ms", "50000", "--stop-within-ms", "100000"];

/// A running bank; killed when it is dropped.
pub(crate) struct Bank {
    pub(crate) address: SocketAddr,
    process: Child,
    log: PathBuf,
}

impl Bank {
    /// Starts the bank on a file and waits until it listens.
    pub(crate) fn start(file: &Path) -> Self {
        Self::spawn(file).listening()
    }

    /// The same, with little patience for whoever else locks the file.
    pub(crate) fn start_impatient(file: &Path) -> Self {
        Self::spawn_with(file, &["--journal", &format!("{}?busy_timeout_ms=50", url(file))]).listening()
    }

    /// The same, waiting for whoever else locks the file for as long as a story may take.
    pub(crate) fn start_patient(file: &Path) -> Self {
        Self::spawn_with(file, &["--journal", &format!("{}?busy_timeout_ms=120000", url(file))]).listening()
    }

    /// Starts the process; its log goes to a file beside the journal.
    pub(crate) fn spawn(file: &Path) -> StartingBank {
        Self::spawn_with(file, &["--journal", &url(file)])
    }

    /// The same with other flags than these.
    pub(crate) fn spawn_with(file: &Path, flags: &[&str]) -> StartingBank {
        let log = file.with_extension("log");
        // A file that meets a size limit shall give an error, as a full disk does, not a signal.
        let mut process = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(example("bank"))
            .args(["--listen", "127.0.0.1:0"])
            .args(if flags.contains(&PATIENT[2]) { &PATIENT[..2] } else { &PATIENT })
            .args(flags)
            .args(keys(file))
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        StartingBank { bank: Self { address: ([127, 0, 0, 1], 0).into(), process, log }, stdout }
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Lets no file grow beyond so many bytes: for the process, the disk is full. `unlimited`: there is room again.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.process.id().to_string(), &format!("--fsize={bytes}:")]);
        assert!(prlimit.status().unwrap().success(), "{prlimit:?} failed; it is part of util-linux");
    }

    /// Waits until the process ends by itself; its exit code and its log.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let status = self.process.wait().unwrap();
        (status.code(), fs::read_to_string(&self.log).unwrap())
    }

    /// Waits until the process ends by itself, with 0 after a SIGTERM; its log says why when it does not.
    #[track_caller]
    pub(crate) fn stops(mut self) {
        let status = self.process.wait().unwrap();
        assert!(
            status.success(),
            "the bank ended with {status}:\n{}",
            fs::read_to_string(&self.log).unwrap()
        );
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // Fails when the process is gone already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A bank that may not listen yet.
pub(crate) struct StartingBank {
    bank: Bank,
    stdout: ChildStdout,
}

impl StartingBank {
    /// Waits until it says where it listens.
    pub(crate) fn listening(self) -> Bank {
        let Self { mut bank, stdout } = self;
        let Some(address) = address(stdout) else {
            let status = bank.process.wait().unwrap();
            panic!("the bank ended with {status}:\n{}", fs::read_to_string(&bank.log).unwrap());
        };
        bank.address = address;
        bank
    }

    /// SIGKILL after a while, or as soon as it listens.
    pub(crate) fn kill_within(self, patience: Duration) {
        let Self { bank, stdout } = self;
        let (listens, says_so) = mpsc::channel();
        let reader = thread::spawn(move || listens.send(address(stdout)));
        assert_ne!(says_so.recv_timeout(patience), Err(RecvTimeoutError::Disconnected));
        bank.kill();
        let _ = reader.join();
    }
}

fn address(stdout: ChildStdout) -> Option<SocketAddr> {
    let line = BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.contains("http://"))?;
    Some(line.rsplit("http://").next()?.parse().unwrap())
}

/// Makes a ring of master keys beside a journal's file; every bank on that file seals with it.
pub(crate) fn make_ring(file: &Path) {
    let ring = annals::journal::encryption::Ring::generate().unwrap();
    fs::write(ring_of(file), ring.to_json().as_bytes()).unwrap();
}

/// Where the ring of a journal's file is.
pub(crate) fn ring_of(file: &Path) -> PathBuf {
    file.with_extension("ring.json")
}

fn keys(file: &Path) -> Vec<String> {
    let ring = ring_of(file);
    if ring.exists() { vec!["--keys".into(), format!("file:{}", ring.display())] } else { Vec::new() }
}

/// The journal's URL for a file.
pub(crate) fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}
