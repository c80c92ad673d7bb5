use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::budget::Budget;
use crate::machine;
use crate::step::Finished;
use crate::steps;
use crate::workspace::Workspace;

/// Writes `docs/last-full-run.md`: what was run, on which commit, and how it ended.
pub(crate) fn write(
    workspace: &Workspace,
    finished: &[Finished],
    budget: &Budget,
    elapsed: Duration,
) -> Result<()> {
    let commit = workspace.git(&["rev-parse", "HEAD"])?;
    let date = workspace.git(&["show", "--no-patch", "--format=%cI", "HEAD"])?;
    let changed = workspace.git(&["status", "--porcelain", "--", ".", ":!docs/last-full-run.md"])?;
    let commit = Commit { id: commit.trim(), date: date.trim(), clean: changed.trim().is_empty() };
    let page = page(&commit, &machine::describe(), finished, budget.share(), elapsed);
    std::fs::write(workspace.root().join("docs/last-full-run.md"), page)
        .context("writing docs/last-full-run.md")
}

struct Commit<'a> {
    id: &'a str,
    date: &'a str,
    clean: bool,
}

fn page(
    commit: &Commit<'_>,
    machine: &str,
    finished: &[Finished],
    share: Duration,
    elapsed: Duration,
) -> String {
    let mut page =
        String::from("# The last full run\n\nWritten by `cargo xtask test --full`; do not edit.\n\n");
    let changes = if commit.clean { "" } else { ", with changes that are not committed" };
    // Writing to a String cannot fail.
    let _ = writeln!(page, "- commit: {} of {}{changes}", commit.id, commit.date);
    let _ = writeln!(page, "- machine: {machine}");
    let _ = writeln!(page, "- each search: {:.0} s at most", share.as_secs_f64());
    let _ = writeln!(page, "- took: {:.0} s", elapsed.as_secs_f64());
    page.push_str("\n| step | result | seconds | |\n|---|---|---:|---|\n");
    for step in finished {
        let result = if step.ok { "ok" } else { "**failed**" };
        let _ = writeln!(page, "| {} | {result} | {:.1} | {} |", step.step, step.seconds, step.note);
    }
    page.push_str("\n| tests | passed | failed | ignored |\n|---|---:|---:|---:|\n");
    for suite in finished.iter().flat_map(|step| &step.suites) {
        let _ =
            writeln!(page, "| {} | {} | {} | {} |", suite.name, suite.passed, suite.failed, suite.ignored);
    }
    let (passed, failed) = finished
        .iter()
        .map(|step| steps::test_totals(&step.suites))
        .fold((0, 0), |(passed, failed), (more_passed, more_failed)| {
            (passed + more_passed, failed + more_failed)
        });
    let _ = writeln!(page, "\n{passed} passed, {failed} failed");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo_output::Suite;
    use crate::step::Outcome;

    #[test]
    fn the_page_tells_commit_steps_and_counts() {
        let suite = Suite { name: "tests/a.rs (a)".into(), passed: 3, failed: 1, ignored: 0, broken: None };
        let outcome =
            Outcome { ok: false, note: "a note".into(), details: String::new(), suites: vec![suite] };
        let finished = [Finished::new("test", Duration::from_secs(2), outcome)];
        let commit = Commit { id: "abc", date: "2026-01-01", clean: false };
        let page = page(&commit, "2 cores", &finished, Duration::from_secs(36), Duration::from_secs(3));
        assert!(page.contains("commit: abc of 2026-01-01, with changes that are not committed"), "{page}");
        assert!(page.contains("- each search: 36 s at most"), "{page}");
        assert!(page.contains("| test | **failed** | 2.0 | a note |"), "{page}");
        assert!(page.ends_with("\n3 passed, 1 failed\n"), "{page}");
    }
}
