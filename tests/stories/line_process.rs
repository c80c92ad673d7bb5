//! An example that reads commands from its standard input, a line each, and answers on its standard output.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::example::{example, url};

/// The running process; killed when it is dropped.
pub(crate) struct LineProcess {
    process: Child,
    /// `None` when it was told that there is no more.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

impl LineProcess {
    /// Starts an example on a file, without waiting for it; its log goes to a file beside the journal.
    pub(crate) fn spawn(name: &'static str, file: &Path, flags: &[&str]) -> Self {
        let log = file.with_extension("log");
        let mut process = Command::new(example(name))
            .args(["--journal", &url(file)])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = heard.send(line);
            }
        });
        Self { process, stdin, lines, log }
    }

    /// The same, and waits until it says that it is ready.
    pub(crate) fn start(name: &'static str, file: &Path, flags: &[&str]) -> Self {
        Self::try_start(name, file, flags).unwrap_or_else(|said| panic!("{name} did not start: {said}"))
    }

    /// The same; what it said when it refused to start.
    pub(crate) fn try_start(name: &'static str, file: &Path, flags: &[&str]) -> Result<Self, String> {
        let log = file.with_extension("log");
        let before = fs::read(&log).unwrap_or_default().len();
        let mut started = Self::spawn(name, file, flags);
        match started.lines.recv().as_deref() {
            Ok("ready") => Ok(started),
            first => {
                let status = started.process.wait().unwrap();
                let log = fs::read(&log).unwrap();
                Err(format!("{first:?}, {status}:\n{}", String::from_utf8_lossy(&log[before..])))
            }
        }
    }

    /// Sends a line.
    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that it says, if it says one in time.
    pub(crate) fn hear_until(&self, latest: Instant) -> Option<String> {
        match self.lines.recv_timeout(latest.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("it ended by itself:\n{}", fs::read_to_string(&self.log).unwrap())
            }
        }
    }

    /// SIGKILL; what it had said and nobody heard yet.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines.iter().collect()
    }

    /// SIGKILL after a while, ready or not.
    pub(crate) fn kill_within(self, patience: Duration) -> Vec<String> {
        let said = self.hear_until(Instant::now() + patience);
        said.into_iter().chain(self.kill()).collect()
    }

    /// Tells it that there is no more, and waits until it ends well; what it said at last.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.stdin = None;
        let said = self.lines.iter().collect();
        assert!(self.process.wait().unwrap().success(), "{}", fs::read_to_string(&self.log).unwrap());
        said
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        // Fails when the process is gone already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
