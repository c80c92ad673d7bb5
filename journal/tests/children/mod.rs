//! Tests that need another process run themselves again: the child is the same test with a task in its environment.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const TASK: &str = "ANNALS_CHILD_TASK";
const MARK: &str = "@@ ";

/// What this process is to do as a child; `None` in the parent.
pub(crate) fn task() -> Option<String> {
    std::env::var(TASK).ok()
}

/// The arguments that make this binary run one test only.
pub(crate) fn arguments(test: &str) -> [&str; 4] {
    ["--exact", test, "--nocapture", "--test-threads=1"]
}

/// A command that runs a test of this binary as a child.
pub(crate) fn command(test: &str, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments(test));
    with_task(&mut command, task);
    command
}

/// Gives a command its task; what it says comes back, errors go to the parent's.
pub(crate) fn with_task<'a>(command: &'a mut Command, task: &str) -> &'a mut Command {
    command.env(TASK, task).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit())
}

/// Says a line to the parent, who sees it even when this process is killed right afterwards.
pub(crate) fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // One write, so that a kill cannot cut the line.
    out.write_all(format!("\n{MARK}{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The lines that a child says, until it ends.
pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out: ChildStdout = child.stdout.take().unwrap();
    BufReader::new(out)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(MARK).map(str::to_owned))
}

/// Runs a test that refuses a path as the user nobody (as this user when that is not root); whether it did.
pub(crate) fn refused_as_nobody(test: &str, path: &Path) -> bool {
    use std::os::unix::process::CommandExt;
    // Nobody may not look into the build directory, so the binary is copied to where it may.
    let public = tempfile::tempdir().unwrap();
    let binary: PathBuf = public.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    std::fs::set_permissions(public.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&binary);
    command.args(arguments(test)).env(TASK, path).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if root {
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    // Read to the end, so that the child is not cut off.
    let said: Vec<String> = lines(&mut child).collect();
    let refused = said.iter().any(|line| line == "refused");
    child.wait().unwrap();
    refused
}

/// How long tests that repeat themselves go on: `ANNALS_TIME_BUDGET_SECS`, default 5.
pub(crate) fn budget() -> std::time::Duration {
    let seconds = std::env::var("ANNALS_TIME_BUDGET_SECS").ok().and_then(|text| text.parse().ok());
    std::time::Duration::from_secs(seconds.unwrap_or(5))
}

/// A seed to be printed: `ANNALS_SEED`, else another one each time.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var("ANNALS_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32)
}

/// Numbers that depend on a seed only (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit - 1`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
