use anyhow::Result;

use crate::budget;
use crate::cargo_output::{self, Suite};
use crate::conformance;
use crate::services::Services;
use crate::step::{Context, Outcome};

/// All tests: unit, integration and example tests, then the doc tests, each to its end; with the servers that they need.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let services = Services::for_tests(context.workspace)?;
    let mut all_ok = true;
    let mut printed = String::new();
    for targets in [&["--tests", "--examples"][..], &["--doc"]] {
        let mut args = vec!["test", "--workspace", "--all-features", "--locked", "--no-fail-fast"];
        args.extend(targets);
        let share = context.budget.share().as_secs().to_string();
        let mut invocation = context
            .cargo(&args)
            .env(budget::VARIABLE, &share)
            .env("ANNALS_EXAMPLE_FLAGS", "--workspace --all-features --locked");
        for (name, value) in services.variables() {
            invocation = invocation.env(name, value);
        }
        let shown = invocation.shown().to_owned();
        let result = context.run(invocation)?;
        all_ok &= result.success;
        printed.push_str(&format!("$ {shown}\n{}", result.text));
    }
    let suites = cargo_output::suites(&printed);
    let (passed, failed) = totals(&suites);
    let ignored: u64 = suites.iter().map(|suite| suite.ignored).sum();
    let mut note = format!("{passed} passed, {failed} failed");
    if ignored > 0 {
        note.push_str(&format!(", {ignored} ignored"));
    }
    for missing in services.missing() {
        note.push_str(&format!("; SKIPPED: {missing}"));
    }
    let ok = all_ok && failed == 0;
    let details = cargo_output::failures(&printed);
    // The page is about all backends, and about a run in which everything holds.
    if ok
        && services.missing().is_empty()
        && let Some(complaint) = conformance::compare(context.workspace, &printed)?
    {
        note.push_str(&format!("; {complaint}"));
    }
    services.stop()?;
    Ok(Outcome { ok, note, details, suites })
}

/// Passed and failed tests of all suites.
pub(crate) fn totals(suites: &[Suite]) -> (u64, u64) {
    suites.iter().fold((0, 0), |(passed, failed), suite| (passed + suite.passed, failed + suite.failed))
}
