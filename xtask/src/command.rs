use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A program that a step runs, with what it prints kept in the order in which it was printed.
pub(crate) struct Invocation {
    command: Command,
    shown: String,
}

impl Invocation {
    /// The cargo that runs us.
    pub(crate) fn cargo(args: &[&str], directory: &Path) -> Self {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(directory).env("CARGO_TERM_COLOR", "never");
        // Of this package, not of those that are built.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        Self { command, shown: format!("cargo {}", args.join(" ")) }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// How a person would type it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs it to its end and lets it print for itself; whether it succeeded.
    pub(crate) fn run_shown(mut self) -> Result<bool> {
        let status = self.command.status().with_context(|| format!("starting `{}`", self.shown))?;
        Ok(status.success())
    }

    /// Runs it to its end. On a long run `alive` is told now and then how long it took so far and what was printed last.
    pub(crate) fn run(mut self, mut alive: impl FnMut(Duration, &str)) -> Result<Printed> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("sharing a pipe")?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("starting `{}`", self.shown))?;
        // The command holds the pipe's other end open; without it the reader sees the end.
        drop(self.command);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let text = collect(&mut child, &lines, &mut alive)?;
        Ok(Printed { success: child.wait().context("waiting for a child")?.success(), text })
    }
}

/// What a program printed, standard output and standard error in one.
pub(crate) struct Printed {
    pub(crate) success: bool,
    pub(crate) text: String,
}

fn collect(
    child: &mut Child,
    lines: &Receiver<String>,
    alive: &mut impl FnMut(Duration, &str),
) -> Result<String> {
    let started = Instant::now();
    let mut told = Instant::now();
    let mut text = String::new();
    let mut last = String::new();
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                text.push_str(&line);
                text.push('\n');
                if !line.trim().is_empty() {
                    last = line;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(text),
            // A grandchild that outlives its test would hold the pipe open for ever.
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => return Ok(text),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if told.elapsed() >= HEARTBEAT {
            told = Instant::now();
            alive(started.elapsed(), last.trim());
        }
    }
}

const POLL: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_errors_are_kept_in_the_order_of_printing() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let printed = Invocation { command, shown: "sh".into() }.run(|_, _| {}).expect("sh runs");
        assert_eq!(printed.text, "one\ntwo\nthree\n");
        assert!(!printed.success);
    }
}
