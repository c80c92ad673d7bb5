/// What one test binary, or the doc tests of one crate, counted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Suite {
    /// As cargo names it: `unittests src/lib.rs (journal)`, `doc tests of annals`.
    pub(crate) name: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Why the counts are not the whole truth.
    pub(crate) broken: Option<String>,
}

/// Reads the counts out of what `cargo test` printed.
///
/// A binary that started and printed no result (it crashed, or was killed) counts as one failed test.
pub(crate) fn suites(printed: &str) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut open: Option<Suite> = None;
    for line in printed.lines() {
        if let Some(name) = suite_name(line) {
            suites.extend(open.take().map(without_result));
            open = Some(Suite { name, passed: 0, failed: 0, ignored: 0, broken: None });
        } else if let Some((passed, failed, ignored)) = counts(line) {
            // Doc tests print one result for the merged tests and one for those that stand alone.
            match (&mut open, suites.last_mut()) {
                (Some(_), _) => {
                    suites.extend(open.take().map(|suite| Suite { passed, failed, ignored, ..suite }))
                }
                (None, Some(last)) => {
                    last.passed += passed;
                    last.failed += failed;
                    last.ignored += ignored;
                }
                (None, None) => {}
            }
        }
    }
    suites.extend(open.take().map(without_result));
    suites
}

/// What cargo printed about the tests that failed and about binaries that crashed, without all that went well around it.
///
/// Everything, when nothing is found: then it did not come to testing.
pub(crate) fn failures(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let mut kept: Vec<&str> = Vec::new();
    for suite in lines.chunk_by(|_, next| suite_name(next).is_none()) {
        let ran = suite_name(suite[0]).is_some();
        if ran && !suite.iter().any(|line| counts(line).is_some()) {
            kept.extend_from_slice(suite);
            continue;
        }
        let mut inside = false;
        for &line in suite {
            inside |= line == "failures:";
            if inside {
                kept.push(line);
            }
            inside &= counts(line).is_none();
        }
    }
    if kept.is_empty() { printed.to_owned() } else { kept.join("\n") }
}

fn without_result(suite: Suite) -> Suite {
    Suite { failed: 1, broken: Some("ended without a result: crashed or was killed".into()), ..suite }
}

/// The name of the suite that begins with this line.
pub(crate) fn suite_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(running) = line.strip_prefix("Running ") {
        // `unittests src/lib.rs (target/debug/deps/annals_journal-0123456789abcdef)`
        let (what, binary) = running.strip_suffix(')')?.rsplit_once(" (")?;
        let file = binary.rsplit('/').next().unwrap_or(binary);
        let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
        return Some(format!("{what} ({name})"));
    }
    line.strip_prefix("Doc-tests ").map(|name| format!("doc tests of {name}"))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn counts(line: &str) -> Option<(u64, u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut passed = None;
    let mut failed = None;
    let mut ignored = 0;
    for part in counts.split(';') {
        match part.trim().split_once(' ') {
            Some((number, "passed")) => passed = number.parse().ok(),
            Some((number, "failed")) => failed = number.parse().ok(),
            Some((number, "ignored")) => ignored = number.parse().unwrap_or(0),
            _ => {}
        }
    }
    Some((passed?, failed?, ignored))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "   Compiling annals v0.1.0
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.10s
     Running unittests src/lib.rs (target/debug/deps/annals_journal-0123456789abcdef)

running 2 tests
test seq_nr::tests::first_is_one ... ok
test token::tests::orders ... FAILED

failures:
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/crash.rs (target/debug/deps/crash-fedcba9876543210)

running 1 test
     Running tests/story.rs (target/debug/deps/story-fedcba9876543210)

running 3 tests
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests annals_journal

running 4 tests
test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s

all doctests ran in 0.61s; merged doctests compilation took 0.32s
";

    fn suite(name: &str, passed: u64, failed: u64, ignored: u64) -> Suite {
        Suite { name: name.into(), passed, failed, ignored, broken: None }
    }

    #[test]
    fn each_binary_and_the_doc_tests_are_a_suite() {
        let found = suites(PRINTED);
        assert_eq!(found[0], suite("unittests src/lib.rs (annals_journal)", 1, 1, 0));
        assert_eq!(found[2], suite("tests/story.rs (story)", 2, 0, 1));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn results_of_merged_and_of_single_doc_tests_add_up() {
        assert_eq!(suites(PRINTED)[3], suite("doc tests of annals_journal", 5, 0, 0));
    }

    #[test]
    fn a_binary_that_ends_without_a_result_counts_as_one_failure() {
        let crashed = &suites(PRINTED)[1];
        assert_eq!((crashed.passed, crashed.failed), (0, 1));
        assert!(crashed.broken.is_some());
    }

    #[test]
    fn a_binary_that_crashes_last_is_not_forgotten() {
        let found =
            suites("     Running tests/crash.rs (target/debug/deps/crash-fedcba9876543210)\n\nrunning");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].failed, 1);
    }

    #[test]
    fn what_is_no_result_line_counts_nothing() {
        assert_eq!(suites("test result: I say 5 passed\nRunning late\n12 passed; 3 failed\n"), []);
    }

    #[test]
    fn of_a_failed_run_only_failures_and_crashes_are_kept() {
        let kept = failures(PRINTED);
        assert!(kept.starts_with("failures:\ntest result: FAILED. 1 passed;"), "{kept}");
        assert!(kept.ends_with("(target/debug/deps/crash-fedcba9876543210)\n\nrunning 1 test"), "{kept}");
    }

    #[test]
    fn of_a_build_that_failed_everything_is_kept() {
        let printed = "Compiling x\nerror[E0308]: mismatched types\n  --> src/lib.rs\n";
        assert_eq!(failures(printed), printed);
    }
}
