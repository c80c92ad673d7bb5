use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A process that does a part of the work, so that its memory can be looked at from outside, or its disk be another.
///
/// It says numbers, one a line; where it is to be looked at, it waits until it is told to go on.
pub(crate) struct Child {
    process: std::process::Child,
    said: Lines<BufReader<ChildStdout>>,
    what: String,
}

impl Child {
    pub(crate) fn start(program: &Path, args: &[&str], env: &[(&str, OsString)]) -> Result<Self> {
        let what = args.join(" ");
        let mut process = Command::new(program)
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{what}`"))?;
        let output = process.stdout.take().context("a child without output")?;
        Ok(Self { process, said: BufReader::new(output).lines(), what })
    }

    /// This program again, in another role.
    pub(crate) fn of_ours(args: &[&str], env: &[(&str, OsString)]) -> Result<Self> {
        Self::start(&ours()?, args, env)
    }

    /// Waits for the next number.
    pub(crate) fn number(&mut self) -> Result<f64> {
        let Some(line) = self.said.next() else {
            bail!("`{}` ended early: {}", self.what, self.process.wait()?);
        };
        line?.trim().parse().with_context(|| format!("what `{}` says is no number", self.what))
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let input = self.process.stdin.as_mut().context("a child without input")?;
        input.write_all(b"\n").with_context(|| format!("telling `{}` to go on", self.what))
    }

    /// Bytes of memory that it holds, once that no longer changes.
    pub(crate) fn settled_memory(&self) -> Result<f64> {
        let began = Instant::now();
        let mut last = self.memory("VmRSS:")?;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            ensure!(began.elapsed() < PATIENCE, "the memory of `{}` does not settle", self.what);
            sleep(BETWEEN_LOOKS);
            let now = self.memory("VmRSS:")?;
            quiet = if (now - last).abs() <= last * QUIET_CHANGE { quiet + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    /// The most bytes of memory that it ever held.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "`{}` failed: {status}", self.what);
        Ok(())
    }

    fn memory(&self, field: &str) -> Result<f64> {
        let file = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let status = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}: memory is measured on Linux only", file.display()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(field)).context("a status without memory")?;
        let kib: u32 = line.trim().trim_end_matches("kB").trim().parse().context("memory in kB")?;
        Ok(f64::from(kib) * 1024.0)
    }
}

impl Drop for Child {
    /// A driver that gives up leaves nothing running.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The program that runs.
pub(crate) fn ours() -> Result<PathBuf> {
    std::env::current_exe().context("this program does not know itself")
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const QUIET_LOOKS: u32 = 5;
/// Of the memory.
const QUIET_CHANGE: f64 = 0.001;
const PATIENCE: Duration = Duration::from_secs(60);
