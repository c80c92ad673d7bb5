use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::licence::Expression;
use crate::metadata::{Metadata, Package};
use crate::step::{Context, Outcome};

/// Every dependency has an allowed licence and comes from crates.io; those in several major versions are named. Reads `deny.toml`, which `cargo deny` reads too; where that is installed, it is asked as well.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let metadata = Metadata::load(context)?;
    let rules: Rules =
        toml::from_str(&context.workspace.read(Path::new("deny.toml"))?).context("deny.toml")?;
    let mut complaints: Vec<String> =
        metadata.packages.iter().flat_map(|package| complaints(package, &rules)).collect();
    let duplicates = duplicates(&metadata.packages);
    if rules.bans.multiple_versions == "deny" {
        complaints.extend(duplicates.iter().map(|line| format!("in more than one major version: {line}")));
    }
    if context.cargo(&["deny", "--version"]).run(|_, _| {})?.success {
        let args = ["deny", "--offline", "check", "licenses", "bans", "sources"];
        let printed = context.run(context.cargo(&args))?;
        if !printed.success {
            complaints.push(printed.text);
        }
    }
    let note = format!(
        "{} packages; in more than one major version: {}",
        metadata.packages.len(),
        if duplicates.is_empty() { "none".to_owned() } else { duplicates.join("; ") }
    );
    Ok(Outcome::from_complaints(note, &complaints))
}

/// The part of `deny.toml` that we check ourselves.
#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    multiple_versions: String,
}

fn complaints(package: &Package, rules: &Rules) -> Vec<String> {
    let named = format!("{} {}", package.name, package.version);
    let mut complaints = Vec::new();
    match package.license.as_deref().map(Expression::parse) {
        None => complaints.push(format!("{named} names no licence")),
        Some(Err(error)) => complaints.push(format!("{named}: {error}")),
        Some(Ok(expression)) if !expression.is_met_by(&rules.licenses.allow) => {
            let licence = package.license.as_deref().unwrap_or_default();
            complaints.push(format!("{named}: `{licence}` is not met by what deny.toml allows"));
        }
        Some(Ok(_)) => {}
    }
    match package.source.as_deref() {
        None | Some(CRATES_IO) => {}
        Some(other) => complaints.push(format!("{named} comes from {other}, not from crates.io")),
    }
    complaints
}

/// `name 1.0.2, 2.1.0` for each that stands in the graph in versions that are not compatible.
fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(compatible(&package.version), &package.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} {}", versions.into_values().collect::<Vec<_>>().join(", ")))
        .collect()
}

/// The part of a version that a caret requirement holds: `1`, `0.3`, `0.0.7`.
fn compatible(version: &str) -> String {
    let mut parts = version.split('.');
    let mut kept = Vec::new();
    for part in parts.by_ref() {
        kept.push(part);
        if part != "0" {
            break;
        }
    }
    kept.join(".")
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compatible_versions_are_those_of_a_caret_requirement() {
        for (version, kept) in [("1.2.3", "1"), ("0.3.9", "0.3"), ("0.0.7", "0.0.7"), ("10.0.0-rc.1", "10")] {
            assert_eq!(compatible(version), kept);
        }
    }

    #[test]
    fn a_dependency_from_elsewhere_or_with_a_foreign_licence_is_named() {
        let rules: Rules = toml::from_str("[licenses]\nallow = ['MIT']\n[bans]\nmultiple-versions = 'warn'")
            .expect("valid rules");
        let package = |license: &str, source: &str| -> Package {
            serde_json::from_value(serde_json::json!({
                "id": "x", "name": "x", "version": "1.0.0", "license": license, "source": source, "features": {},
            }))
            .expect("a package")
        };
        assert_eq!(complaints(&package("MIT OR GPL-3.0-only", CRATES_IO), &rules), [] as [String; 0]);
        assert_eq!(complaints(&package("GPL-3.0-only", CRATES_IO), &rules).len(), 1);
        assert_eq!(complaints(&package("MIT", "git+https://example.com/x"), &rules).len(), 1);
    }
}
