use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Writes one line to standard output.
///
/// # Errors
/// When it cannot be written; [`crate::run`] takes a reader that went away for no error.
pub(crate) fn print(line: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes one line of JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(serde_json::to_string(value)?)
}

/// A bar on standard error when that is a terminal, and nothing otherwise.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts towards `total` of `unit`; `None`: how many there are is not known.
    pub(crate) fn towards(total: Option<u64>, unit: &str) -> Self {
        let template = match total {
            Some(_) => format!(
                "{{bar:40}} {{percent:>3}} %  {{pos}} of {{len}} {unit}  {{elapsed}} (about {{eta}} left)"
            ),
            None => format!("{{spinner}} {{pos}} {unit}  {{elapsed}}"),
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        // The templates are ours; a wrong one would only look plain.
        Self(match ProgressStyle::with_template(&template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// Counts bytes of a file.
    pub(crate) fn through_bytes(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {elapsed} (about {eta} left)",
            None => "{spinner} {bytes}  {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        Self(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// Draws nothing where lines go to the terminal that it would be drawn on.
    pub(crate) fn unless_lines_are_read(self, lines_to_stdout: bool) -> Self {
        if lines_to_stdout && io::stdout().is_terminal() {
            self.0.set_draw_target(ProgressDrawTarget::hidden());
        }
        self
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Says something above the bar, on standard error.
    pub(crate) fn say(&self, line: &str) {
        if self.0.is_hidden() {
            eprintln!("{line}");
        } else {
            self.0.println(line);
        }
    }

    /// Prints a line on standard output, with the bar out of the way.
    pub(crate) fn print(&self, line: impl AsRef<str>) -> io::Result<()> {
        self.0.suspend(|| print(line))
    }

    pub(crate) fn print_json(&self, value: &impl Serialize) -> io::Result<()> {
        self.0.suspend(|| print_json(value))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
