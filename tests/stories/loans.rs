//! The loans: any log is imported once, whatever happens on the way.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::budget;
use crate::example::{example, url};

#[test]
fn a_log_of_any_process_is_imported_once_and_recovered_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("any.xes");
    fs::write(
        &log,
        r#"<log>
          <trace><string key="concept:name" value="one"/>
            <event><string key="concept:name" value="Register request"/></event>
            <event><string key="concept:name" value="A_APPROVED"/><string key="lifecycle:transition" value="complete"/></event>
          </trace>
          <trace><event><string key="concept:name" value="A_DECLINED"/></event></trace>
          <trace><string key="concept:name" value="one"/><event><int key="cost" value="7"/></event></trace>
          <trace><string key="concept:name" value="without events"/></trace>
        </log>"#,
    )
    .unwrap();
    let loans = Loans::beside(&log);
    let totals = json!({"cases": 4, "events": 4, "approved": 1, "declined": 1, "cancelled": 0, "open": 2});
    assert_eq!(loans.import(&log), totals);
    assert_eq!(loans.import(&log), totals, "again");
    assert_eq!(loans.replay(), totals);

    let shown = loans.succeeds(&["show", "one"]);
    assert!(shown.contains("outcome  approved") && shown.contains("Register request"), "{shown}");
    assert!(loans.succeeds(&["show", "one#2"]).contains("cost=7"));
    assert!(loans.succeeds(&["show", "trace-2"]).contains("declined"));
    assert!(loans.fails(&["show", "two"]).contains("there is no case \"two\""));
    assert!(loans.succeeds(&["replay"]).contains("every recovered case is what its events make"));
}

#[test]
fn a_log_that_grew_is_imported_from_where_it_grew() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.xes");
    let loans = Loans::beside(&log);
    fs::write(&log, generated(3, |_| 2)).unwrap();
    assert_eq!(loans.import(&log)["events"], 6);
    fs::write(&log, generated(4, |case| 2 + case)).unwrap();
    let said = loans.succeeds(&["import", path(&log)]);
    assert!(said.contains("8 events are new, 6 were imported before"), "{said}");
    assert_eq!(loans.replay()["events"], 14);
}

#[test]
fn a_malformed_log_says_line_and_reason_and_keeps_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("malformed.xes");
    let loans = Loans::beside(&log);
    let whole = generated(40, |_| 3);
    let torn = whole.replace("value=\"case 30\"/>", "value=\"case 30\">");
    fs::write(&log, &torn).unwrap();
    let line = 1 + torn.lines().position(|line| line.contains("case 30")).unwrap();
    let said = loans.fails(&["import", path(&log), "--json"]);
    let reason =
        format!("line {}: <event> stands inside attribute \"concept:name\", which is not closed", line + 1);
    assert!(said.contains(&format!("malformed.xes: {reason}")), "{said}");
    assert!(said.contains("30 cases and 90 events before it are imported"), "{said}");
    assert_eq!(loans.replay()["cases"], 30);

    fs::write(&log, &whole).unwrap();
    assert_eq!(loans.import(&log)["cases"], 40);
    assert_eq!(loans.replay()["events"], 120);
}

#[test]
fn what_is_not_there_is_said_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("missing.xes");
    let loans = Loans::beside(&log);
    assert!(loans.fails(&["import", path(&log)]).contains("missing.xes"));
    assert!(loans.fails(&["replay"]).contains("there is no journal"));
    assert!(loans.fails(&["show", "1"]).contains("there is no journal"));
    assert!(!loans.journal.exists());
    fs::write(&log, "PK\u{3}\u{4}").unwrap();
    assert!(loans.fails(&["import", path(&log)]).contains("line 1: not an XES log"));
}

#[test]
fn an_import_that_is_killed_at_any_moment_ends_with_the_same_totals() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.xes");
    let loans = Loans::beside(&log);
    let (seed, deadline) = (budget::seed(), budget::deadline());
    println!("ANNALS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let cases = 600;
    fs::write(&log, generated(cases, |case| 1 + case % 40)).unwrap();
    let events: usize = (0..cases).map(|case| 1 + case % 40).sum();

    let mut kills = 0;
    // Each start takes a while until it imports, so a kill comes later when the last ones changed nothing.
    let mut patience = 30;
    let mut finished = false;
    while !finished && kills < 40 && Instant::now() < deadline {
        finished = !loans.killed_after(&log, Duration::from_millis(random.random_range(10..10 + patience)));
        kills += u32::from(!finished);
        patience += 20;
    }
    println!("killed {kills} times");
    let third = |outcome: usize| (0..cases).filter(|case| case % 4 == outcome).count();
    let totals = json!({
        "cases": cases, "events": events,
        "approved": third(0), "declined": third(1), "cancelled": third(2), "open": third(3),
    });
    assert_eq!(loans.import(&log), totals);
    assert_eq!(loans.replay(), totals);
}

#[test]
fn the_log_of_the_bpi_challenge_2012_ends_with_its_known_totals() {
    let Some(log) = bpic2012() else {
        println!("SKIPPED: no bpic2012.xes.gz; name the file in ANNALS_BPIC2012 to import the real log");
        eprintln!("SKIPPED: no bpic2012.xes.gz; name the file in ANNALS_BPIC2012 to import the real log");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let loans = Loans { journal: dir.path().join("loans.db") };
    let totals = json!({
        "cases": 13_087, "events": 262_200,
        "approved": 2_246, "declined": 7_635, "cancelled": 2_807, "open": 399,
    });
    loans.killed_after(&log, Duration::from_secs(2));
    assert_eq!(loans.import(&log), totals);
    assert_eq!(loans.replay(), totals);
}

/// The application on a journal of its own.
struct Loans {
    journal: PathBuf,
}

impl Loans {
    fn beside(log: &Path) -> Self {
        Self { journal: log.with_file_name("loans.db") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("loans"));
        command.args(arguments).args(["--journal", &url(&self.journal)]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The totals without the rate, which must be there.
    fn report(&self, arguments: &[&str]) -> Value {
        let mut report: Value = serde_json::from_str(&self.succeeds(arguments)).unwrap();
        let rate = report.as_object_mut().unwrap().remove("events_per_second");
        assert!(rate.is_some_and(|rate| rate.as_u64() > Some(0)));
        report
    }

    fn import(&self, log: &Path) -> Value {
        self.report(&["import", path(log), "--json"])
    }

    fn replay(&self) -> Value {
        self.report(&["replay", "--json"])
    }

    /// Imports, and kills that after a while; `false` when it was done before.
    fn killed_after(&self, log: &Path, patience: Duration) -> bool {
        let mut command = self.command(&["import", path(log)]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(patience);
        let killed = process.try_wait().unwrap().is_none();
        process.kill().unwrap();
        process.wait().unwrap();
        killed
    }
}

/// A log whose cases end, in turn, approved, declined, cancelled and not at all; case n has `rows(n)` rows, at least one.
fn generated(cases: usize, rows: impl Fn(usize) -> usize) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<log>\n");
    for case in 0..cases {
        writeln!(xml, "<trace>\n<string key=\"concept:name\" value=\"case {case}\"/>").unwrap();
        let end = ["A_APPROVED", "A_DECLINED", "A_CANCELLED", "A_FINALIZED"][case % 4];
        for row in (0..rows(case)).rev() {
            let activity = if row == 0 { end } else { "W_Nabellen offertes" };
            writeln!(
                xml,
                "<event><string key=\"concept:name\" value=\"{activity}\"/>\
                 <date key=\"time:timestamp\" value=\"2012-01-01T00:00:00Z\"/></event>"
            )
            .unwrap();
        }
        xml.push_str("</trace>\n");
    }
    xml + "</log>\n"
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The real log, when it is there.
fn bpic2012() -> Option<PathBuf> {
    let given = std::env::var_os("ANNALS_BPIC2012").map(PathBuf::from);
    if let Some(given) = &given {
        assert!(given.exists(), "ANNALS_BPIC2012 names {given:?}, which is not there");
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bpic2012.xes.gz");
    given.or_else(|| beside.exists().then_some(beside))
}
