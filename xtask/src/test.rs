use std::io::{Write, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::budget::{self, Budget};
use crate::cargo_output::Suite;
use crate::step::{Context, Finished, Outcome, Step};
use crate::workspace::Workspace;
use crate::{full_run, search, steps};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
#[command(after_long_help = STEPS)]
pub(crate) struct Args {
    /// Leaves nothing out: searches take their time, packages are built from what was packed, and docs/last-full-run.md
    /// is written.
    #[arg(long, conflicts_with = "only")]
    full: bool,
    /// How long the searches (crash loops, power loss, model tests) may take together: 90s, 6m, 1h30m. Default: 6m; with
    /// --full 10m each.
    #[arg(long, value_name = "DURATION", value_parser = budget::parse_duration)]
    time_budget: Option<Duration>,
    /// Runs only this step; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(steps::ALL.iter().map(named)))]
    only: Vec<String>,
    /// Prints one JSON object on standard output; lines for people go to standard error.
    #[arg(long)]
    json: bool,
}

/// Runs the steps; `true` when all are green.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let chosen = choose(&args.only);
    let budget = match args.time_budget {
        Some(total) => Budget::new(total, search::ALL),
        None if args.full => Budget::whole(search::ALL),
        None => Budget::new(USUAL, search::ALL),
    };
    let context = Context { workspace, full: args.full, budget: &budget };
    let mut report = Report { json: args.json };
    report.line(&budget.describe());
    let started = Instant::now();
    let mut finished = Vec::new();
    for step in chosen {
        let began = Instant::now();
        eprintln!("  … {}: {}", step.name, step.about);
        let outcome = (step.run)(&context)
            .unwrap_or_else(|error| Outcome::of(false, "could not run".into(), format!("{error:#}")));
        let step = Finished::new(step.name, began.elapsed(), outcome);
        report.step(&step);
        finished.push(step);
    }
    if args.full {
        full_run::write(workspace, &finished, &budget, started.elapsed())?;
        report.line("wrote docs/last-full-run.md");
    }
    report.end(&finished, started.elapsed())?;
    Ok(finished.iter().all(|step| step.ok))
}

fn choose(only: &[String]) -> Vec<&'static Step> {
    steps::ALL.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect()
}

fn named(step: &Step) -> PossibleValue {
    PossibleValue::new(step.name).help(step.about)
}

/// Where lines go: to standard output, or to standard error when that is for JSON.
struct Report {
    json: bool,
}

impl Report {
    fn line(&mut self, text: &str) {
        // A reader that went away must not end the run.
        let _ = if self.json { writeln!(stderr(), "{text}") } else { writeln!(stdout(), "{text}") };
    }

    fn step(&mut self, step: &Finished) {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        self.line(&format!("{mark} {:<10} {:>7.1} s  {}", step.step, step.seconds, step.note));
        for suite in step.suites.iter().filter(|suite| suite.passed + suite.failed + suite.ignored > 0) {
            self.line(&suite_line(suite));
        }
        if !step.ok {
            for line in tail(&step.details, TAIL_LINES) {
                self.line(&format!("    | {line}"));
            }
        }
    }

    fn end(&mut self, finished: &[Finished], elapsed: Duration) -> Result<()> {
        let (passed, failed) = finished.iter().fold((0, 0), |(passed, failed), step| {
            let (more_passed, more_failed) = steps::test_totals(&step.suites);
            (passed + more_passed, failed + more_failed)
        });
        let red: Vec<&str> = finished.iter().filter(|step| !step.ok).map(|step| step.step).collect();
        let verdict = if red.is_empty() { "all green".into() } else { format!("failed: {}", red.join(", ")) };
        self.line(&format!("\nsteps: {}, in {:.0} s, {verdict}", finished.len(), elapsed.as_secs_f64()));
        self.line(&format!("{passed} passed, {failed} failed"));
        if self.json {
            let object = serde_json::json!({
                "ok": red.is_empty(), "seconds": elapsed.as_secs_f64(),
                "passed": passed, "failed": failed, "steps": finished,
            });
            println!("{}", serde_json::to_string(&object)?);
        }
        Ok(())
    }
}

fn suite_line(suite: &Suite) -> String {
    let Suite { name, passed, failed, ignored, broken } = suite;
    let reason = broken.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("       {passed:>5} passed {failed:>3} failed {ignored:>3} ignored  {name}{reason}")
}

fn tail(text: &str, lines: usize) -> impl Iterator<Item = &str> {
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped)
}

const USUAL: Duration = Duration::from_secs(360);
const TAIL_LINES: usize = 120;
const STEPS: &str =
    "A failing step does not keep the later ones from running. The closing line `N passed, N failed` counts \
tests over all test binaries; a binary that crashes counts as one failed test.

Exit codes: 0 all is well; 1 a step failed; 2 the command line is wrong; 3 nothing could be run.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_steps_keep_the_order_of_the_list() {
        let names: Vec<_> = choose(&["test".into(), "fmt".into()]).iter().map(|s| s.name).collect();
        assert_eq!(names, ["fmt", "test"]);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc", 2).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(tail("a", 2).collect::<Vec<_>>(), ["a"]);
    }
}
