//! `docs/conformance.md`: which backend keeps which clause of the suites, out of what a run of them printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cargo_output;
use crate::command::Invocation;
use crate::services::Services;
use crate::workspace::Workspace;

/// Where the page is.
pub(crate) const PAGE: &str = "docs/conformance.md";

/// Runs the suites over all backends and writes the page; `false` when a clause does not hold.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let services = Services::for_tests(workspace)?;
    ensure!(
        services.missing().is_empty(),
        "the page is about every backend: {}",
        services.missing().join("; ")
    );
    let mut args = vec!["test", "--workspace", "--all-features", "--locked", "--no-fail-fast"];
    for suite in SUITES {
        args.extend(["--test", suite]);
    }
    let mut invocation = Invocation::cargo(&args, workspace.root());
    for (name, value) in services.variables() {
        invocation = invocation.env(name, value);
    }
    let printed = invocation.run(|took, last| eprintln!("  … {} s: {last}", took.as_secs()))?;
    services.stop()?;
    if !printed.success {
        eprintln!("{}", cargo_output::failures(&printed.text));
        return Ok(false);
    }
    std::fs::write(workspace.root().join(PAGE), page(&printed.text))
        .with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(true)
}

/// A complaint when the page says something else than what a run of all tests printed.
pub(crate) fn compare(workspace: &Workspace, printed: &str) -> Result<Option<String>> {
    let written = workspace.read(Path::new(PAGE))?;
    let now = page(printed);
    if written == now {
        return Ok(None);
    }
    let differs = written.lines().zip(now.lines()).find(|(written, now)| written != now);
    let (written, now) = differs.unwrap_or(("", "another length"));
    Ok(Some(format!(
        "{PAGE} is not what this run showed, make it anew with `cargo xtask conformance`:\n  {written}\n  {now}"
    )))
}

/// The page, out of what `cargo test` printed.
fn page(printed: &str) -> String {
    let kept = kept(printed);
    let mut page = String::from(HEAD);
    for (title, of_snapshots) in [("Journals", false), ("Snapshot stores", true)] {
        let rows = kept.iter().filter(|(clause, _)| clause.topic.is_none() == of_snapshots);
        let columns: BTreeSet<&Column> = rows.clone().flat_map(|(_, cells)| cells.keys()).collect();
        let _ = write!(page, "\n## {title}\n\n| clause |");
        for column in &columns {
            let _ = write!(page, " {} |", column.title());
        }
        page.push_str("\n|---|");
        page.push_str(&"---|".repeat(columns.len()));
        page.push('\n');
        for (clause, cells) in rows {
            let topic = clause.topic.as_ref().map(|topic| format!("{topic}: ")).unwrap_or_default();
            let _ = write!(page, "| {topic}{} |", clause.name.replace('_', " "));
            for column in &columns {
                let ways = cells.get(*column).map_or(&[][..], |ways| &ways[..]);
                let _ = match ways.iter().filter(|held| !**held).count() {
                    0 if ways.is_empty() => write!(page, " – |"),
                    0 => write!(page, " {} |", ways.len()),
                    failed => write!(page, " **{failed} of {} failed** |", ways.len()),
                };
            }
            page.push('\n');
        }
    }
    page
}

/// For each clause and each backend, whether it held, in each of the ways in which that backend is set up.
fn kept(printed: &str) -> BTreeMap<Clause, BTreeMap<Column, Vec<bool>>> {
    let mut kept: BTreeMap<Clause, BTreeMap<Column, Vec<bool>>> = BTreeMap::new();
    let mut suite = None;
    for line in printed.lines() {
        if let Some(name) = cargo_output::suite_name(line) {
            suite = SUITES.into_iter().find(|suite| name.ends_with(&format!("({suite})")));
            continue;
        }
        let Some((suite, test)) = suite.zip(line.strip_prefix("test ")) else { continue };
        let Some((path, result)) = test.split_once(" ... ") else { continue };
        if let Some((clause, column)) = place(suite, path) {
            kept.entry(clause).or_default().entry(column).or_default().push(result == "ok");
        }
    }
    kept
}

/// Which clause a test is about, and which backend; `None`: neither.
fn place(suite: &str, path: &str) -> Option<(Clause, Column)> {
    let (way, name) = path.rsplit_once("::")?;
    let snapshots = matches!(suite, "conformance" | "sealed");
    if snapshots && suite == "sealed" && !way.starts_with("conformance::") {
        return None;
    }
    let (way, topic) = match way.rsplit_once("::") {
        _ if snapshots => (way, None),
        Some((way, topic)) => (way, Some(topic.to_owned())),
        // The process that is killed.
        None => return None,
    };
    let whole = format!("{suite} {way}");
    let backend = BACKENDS.iter().position(|(word, _)| whole.contains(word))?;
    Some((Clause { topic, name: name.to_owned() }, Column { backend, sealed: whole.contains("sealed") }))
}

/// A sentence of the contract. Snapshots have no topics.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Clause {
    topic: Option<String>,
    name: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    /// In [`BACKENDS`].
    backend: usize,
    sealed: bool,
}

impl Column {
    fn title(&self) -> String {
        let name = BACKENDS[self.backend].1;
        if self.sealed { format!("{name}, encrypted") } else { name.to_owned() }
    }
}

/// Test binaries with the clauses.
const SUITES: [&str; 8] = [
    "memory_conformance",
    "sqlite_conformance",
    "postgres_conformance",
    "cassandra_conformance",
    "redb_conformance",
    "sealed_conformance",
    "conformance",
    "sealed",
];

/// A word in the name of a binary or module, and the backend's name.
const BACKENDS: [(&str, &str); 5] = [
    ("memory", "memory"),
    ("sqlite", "SQLite"),
    ("postgres", "PostgreSQL"),
    ("cassandra", "Cassandra"),
    ("redb", "redb"),
];

const HEAD: &str = "# Which backend keeps what

Each row is a clause of the contract of [journals](../journal/src/conformance.rs) or of [snapshot stores](../snapshot/src/conformance.rs), and
a test; each number says in how many setups of the backend it holds: alone, behind group commit, in partitions, with small buckets. redb is
the [backend of somebody else](../tests/redb/src/lib.rs).

`cargo xtask conformance` makes this page from a run; each `cargo xtask test` compares it with its own run, and says where they differ.
";

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str =
        "     Running tests/sqlite_conformance.rs (target/debug/deps/sqlite_conformance-0123456789abcdef)

running 4 tests
test each_commit::append::an_empty_list_has_no_answers ... ok
test each_commit::crash_child ... ok
test os::append::an_empty_list_has_no_answers ... ok
test os::limits::a_long_list_is_stored ... FAILED
     Running tests/sealed_conformance.rs (target/debug/deps/sealed_conformance-0123456789abcdef)
test memory::append::an_empty_list_has_no_answers ... ok
     Running tests/sealed/main.rs (target/debug/deps/sealed-0123456789abcdef)
test conformance::sqlite::file::the_same_number_replaces ... ok
test readable::no_file_of_sqlite_has_a_piece_of_a_state ... ok
     Running tests/other.rs (target/debug/deps/other-0123456789abcdef)
test each_commit::append::another ... ok
";

    #[test]
    fn a_row_is_a_clause_and_a_column_a_backend() {
        let page = page(PRINTED);
        for row in [
            "| clause | memory, encrypted | SQLite |",
            "| append: an empty list has no answers | 1 | 2 |",
            "| limits: a long list is stored | – | **1 of 1 failed** |",
            "| clause | SQLite, encrypted |",
            "| the same number replaces | 1 |",
        ] {
            assert!(page.lines().any(|line| line == row), "{row} is not in\n{page}");
        }
        assert!(
            !page.contains("another") && !page.contains("no file") && !page.contains("crash child"),
            "{page}"
        );
    }
}
