use std::time::Duration;

use anyhow::Result;

use crate::budget::Budget;
use crate::cargo_output::Suite;
use crate::command::{Invocation, Printed};
use crate::workspace::Workspace;

/// One check of `cargo xtask test`.
pub(crate) struct Step {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Context<'_>) -> Result<Outcome>,
}

/// What a step may look at.
pub(crate) struct Context<'a> {
    pub(crate) workspace: &'a Workspace,
    /// Nothing is left out, searches run to their end.
    pub(crate) full: bool,
    pub(crate) budget: &'a Budget,
}

impl Context<'_> {
    pub(crate) fn cargo(&self, args: &[&str]) -> Invocation {
        Invocation::cargo(args, self.workspace.root())
    }

    /// Runs a program and tells on standard error that it is still running.
    pub(crate) fn run(&self, invocation: Invocation) -> Result<Printed> {
        let shown = invocation.shown().to_owned();
        invocation.run(|elapsed, last| {
            eprintln!("  … {} s in `{shown}`: {last}", elapsed.as_secs());
        })
    }

    /// A step that is one program.
    pub(crate) fn check(&self, invocation: Invocation) -> Result<Outcome> {
        let shown = invocation.shown().to_owned();
        let printed = self.run(invocation)?;
        Ok(Outcome::of(printed.success, shown, printed.text))
    }
}

/// How a step ended.
pub(crate) struct Outcome {
    pub(crate) ok: bool,
    /// A few words beside the step's name.
    pub(crate) note: String,
    /// Printed when it failed; its end, when it is long.
    pub(crate) details: String,
    /// Only of steps that run tests.
    pub(crate) suites: Vec<Suite>,
}

impl Outcome {
    pub(crate) fn of(ok: bool, note: String, details: String) -> Self {
        Self { ok, note, details, suites: Vec::new() }
    }

    /// Fails when there is a complaint.
    pub(crate) fn from_complaints(note: String, complaints: &[String]) -> Self {
        Self::of(complaints.is_empty(), note, complaints.join("\n"))
    }
}

/// A step that has ended.
#[derive(serde::Serialize)]
pub(crate) struct Finished {
    pub(crate) step: &'static str,
    pub(crate) ok: bool,
    pub(crate) seconds: f64,
    pub(crate) note: String,
    /// What was printed, of a failed step.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) details: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) suites: Vec<Suite>,
}

impl Finished {
    pub(crate) fn new(step: &'static str, elapsed: Duration, outcome: Outcome) -> Self {
        let Outcome { ok, note, details, suites } = outcome;
        let details = if ok { String::new() } else { details };
        Self { step, ok, seconds: elapsed.as_secs_f64(), note, details, suites }
    }
}
