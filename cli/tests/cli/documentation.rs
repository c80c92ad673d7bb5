use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;

use crate::bank::pruned_bank;
use crate::sealed_bank::keyed;
use crate::{encrypting, rekeying};

/// The page tells of what can be run: every block of `sh` is, in the order of the page, in one directory with a `bank.db`.
#[test]
fn every_command_of_the_page_runs() {
    let home = pruned_bank();
    let page = include_str!("../../../docs/cli.md");
    let blocks: Vec<&str> =
        page.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() > 5, "the page has {} blocks", blocks.len());
    for block in &blocks {
        let run = shell(home.path(), block);
        assert!(run.0, "{block}\n{}", run.1);
    }
}

/// The blocks of a runbook.
fn runbook(section: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/security.md");
    let section = page.split(&format!("\n## {section}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
    section.unwrap().split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Runs them all; answers what each said.
fn follow(directory: &Path, section: &str) -> Vec<String> {
    let run = |block| {
        let (done, said) = shell(directory, block);
        assert!(done, "{block}\n{said}");
        said
    };
    runbook(section).into_iter().map(run).collect()
}

#[test]
fn the_runbook_of_a_rotation_runs_and_ends_with_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    assert!(shell(home.path(), "annals keys generate ring.json").0);
    keyed(home.path(), "file:ring.json", 20);
    let said = follow(home.path(), "Rotation");
    assert_eq!(said.len(), 3);
    assert!(said[2].contains("20 data keys rewrapped"), "{said:?}");
    assert!(said[2].contains("no longer used by anything: master key 1"), "{said:?}");
}

#[test]
fn the_runbook_of_a_leak_runs_and_ends_with_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    rekeying::sealed(home.path());
    let said = follow(home.path(), "A data key that leaked");
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("2 of 2 ids have a new key, 11 events and "), "{said:?}");
    assert!(said[1].contains("0 of 2 ids have a new key"), "{said:?}");
    assert!(said[1].contains("the file was written anew"), "{said:?}");
}

#[test]
fn the_runbook_of_encrypting_runs_and_ends_with_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    encrypting::plain(home.path());
    let said = follow(home.path(), "Encrypting what is there");
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("2 of 2 ids had something in the clear: 11 events and "), "{said:?}");
    assert!(said[1].contains("0 of 2 ids had something in the clear"), "{said:?}");
    assert!(said[1].contains("the file was written anew"), "{said:?}");
}

#[test]
fn every_command_and_exit_code_is_on_the_page() {
    let page = include_str!("../../../docs/cli.md");
    for name in [
        "inspect",
        "events",
        "export",
        "import",
        "verify",
        "keys generate",
        "keys rotate",
        "keys rekey",
        "keys encrypt",
        "keys status",
        "keys erase",
        "keys allow",
        "schema",
        "migrate legacy",
        "schema hold",
        "schema release",
        "migrate copy",
        "migrate rewrite",
    ] {
        assert!(page.contains(&format!("`annals {name}")), "{name}");
    }
    let codes: BTreeSet<&str> = page
        .lines()
        .skip_while(|line| *line != "## Exit codes")
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|cell| cell.parse::<u8>().is_ok())
        .collect();
    assert_eq!(codes, BTreeSet::from(["0", "1", "2", "3"]));
}

/// Every finding that `verify` can have is explained.
#[test]
fn every_kind_of_finding_is_on_the_page() {
    let source = include_str!("../../src/verify/finding.rs");
    let kinds =
        source.split("pub(super) enum Kind {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let names = kinds.lines().filter_map(|line| line.trim().strip_suffix(',')).map(|variant| {
        let mut name = String::new();
        for character in variant.chars() {
            if character.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(character.to_lowercase());
        }
        name
    });
    let page = include_str!("../../../docs/cli.md");
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not explained");
    }
    assert!(count > 10);
}

fn shell(directory: &Path, block: &str) -> (bool, String) {
    let ours = Path::new(env!("CARGO_BIN_EXE_annals")).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(ours).chain(env::split_paths(&path))).unwrap();
    let output = Command::new("sh")
        .current_dir(directory)
        .env("PATH", path)
        .env_remove("ANNALS_JOURNAL")
        .args(["-e", "-c", block])
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
