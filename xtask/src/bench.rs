use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use crate::command::Invocation;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure: P1, P2, H, R, R2 (end to end, beside the raw limits), envelope (criterion). All when none is
    /// named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(END_TO_END.iter().chain(SMALL)))]
    names: Vec<String>,
    /// Writes the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer runs of less work: shows that it runs, not how fast.
    #[arg(long)]
    quick: bool,
}

/// Runs the benches that are named; `true` when all came to their end.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let (small, end_to_end): (Vec<&str>, Vec<&str>) =
        args.names.iter().map(String::as_str).partition(|name| SMALL.contains(name));
    let all = args.names.is_empty();
    let mut rows = Vec::new();
    for bench in SMALL.iter().filter(|bench| all || small.contains(*bench)) {
        if !criterion(bench, args.quick, workspace)? {
            return Ok(false);
        }
        rows.extend(estimates(bench, workspace)?);
    }
    // Last, because it ends with what is below its target.
    if all || !end_to_end.is_empty() {
        let Some(measured) = engine(&end_to_end, args.quick, workspace)? else { return Ok(false) };
        rows.extend(measured);
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(true)
}

/// The driver for the end-to-end scenarios; its rows, or `None` when it failed.
fn engine(names: &[&str], quick: bool, workspace: &Workspace) -> Result<Option<Vec<Value>>> {
    let file = target(workspace).join("engine-rows.json");
    let path = file.to_str().context("the path of the target folder is not UTF-8")?;
    let mut args =
        vec!["bench", "--locked", "--package", "annals", "--bench", "engine", "--", "--json", path];
    if quick {
        args.push("--quick");
    }
    args.extend(names);
    if !Invocation::cargo(&args, workspace.root()).run_shown()? {
        return Ok(None);
    }
    let rows = std::fs::read(&file).with_context(|| format!("reading {path}"))?;
    Ok(Some(serde_json::from_slice(&rows).with_context(|| format!("reading {path}"))?))
}

fn criterion(bench: &str, quick: bool, workspace: &Workspace) -> Result<bool> {
    let mut args = vec!["bench", "--locked", "--package", "annals", "--bench", bench, "--"];
    if quick {
        args.push("--quick");
    }
    Invocation::cargo(&args, workspace.root()).run_shown()
}

/// Rows out of what criterion left in the target folder: nanoseconds a call, with the ends of the confidence interval.
fn estimates(bench: &str, workspace: &Workspace) -> Result<Vec<Value>> {
    let group = target(workspace).join("criterion").join(bench);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&group)
        .with_context(|| format!("criterion left nothing in {}", group.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("new/estimates.json").is_file())
        .collect();
    folders.sort();
    folders.iter().map(|folder| estimate(bench, folder)).collect()
}

fn estimate(bench: &str, folder: &Path) -> Result<Value> {
    let file = folder.join("new/estimates.json");
    let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let estimates: Value =
        serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let row = row(&format!("{bench} {name}"), &estimates["median"]);
    ensure!(row["median"].is_number(), "{} holds no median", file.display());
    Ok(row)
}

fn row(name: &str, median: &Value) -> Value {
    json!({
        "name": name,
        "unit": "ns",
        "median": median["point_estimate"],
        "min": median["confidence_interval"]["lower_bound"],
        "max": median["confidence_interval"]["upper_bound"],
        "limit": null,
        "ratio": null,
        "target": null,
        "peers": {},
    })
}

fn target(workspace: &Workspace) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.root().join("target"), |folder| workspace.root().join(folder))
}

/// Benches of single functions, by criterion.
const SMALL: &[&str] = &["envelope"];
/// Scenarios of the driver, see `benches/engine/scenario.rs`.
const END_TO_END: &[&str] = &["P1", "P2", "H", "R", "R2"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_that_can_be_named_are_those_of_the_driver() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/engine/scenario.rs");
        let source = std::fs::read_to_string(file).expect("the driver is there");
        let names: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","))
            .collect();
        assert_eq!(names, END_TO_END);
    }

    #[test]
    fn a_criterion_estimate_becomes_a_row() {
        let estimates = json!({
            "point_estimate": 12.5, "standard_error": 0.1,
            "confidence_interval": { "confidence_level": 0.95, "lower_bound": 12.0, "upper_bound": 13.0 },
        });
        let row = row("envelope encode", &estimates);
        assert_eq!((&row["name"], &row["median"]), (&json!("envelope encode"), &json!(12.5)));
        assert_eq!((&row["min"], &row["max"], &row["unit"]), (&json!(12.0), &json!(13.0), &json!("ns")));
    }
}
