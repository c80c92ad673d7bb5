//! `cargo xtask bench`: builds and runs what is asked for, joins the rows, compares them, and ends with what is below target.

mod compare;
mod page;
mod row;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::command::Invocation;
use crate::workspace::Workspace;

use row::{Row, short};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// What to measure; docs/performance.md says what each is. All when none is named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(END_TO_END.iter().chain(SMALL)))]
    names: Vec<String>,
    /// Writes the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer runs of less work, without the peers: shows that it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Names what became slower since these rows by more than the noise. Ratios and memory are compared, not values.
    #[arg(long, value_name = "BASE.json")]
    compare: Option<PathBuf>,
    /// An event log in the XES format, plain or gzip; without it `loans` is left out.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Measures nothing, but takes rows that `--json` wrote; of several files, the later one has the word on a row of both.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "quick", "log"])]
    from: Vec<PathBuf>,
    /// Writes the rows into the table of docs/performance.md.
    #[arg(long)]
    page: bool,
}

/// Runs the benches that are named; `true` when all came to their end.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    // Before anything is measured for nothing.
    let base = args.compare.as_deref().map(row::read).transpose()?;
    let rows = if args.from.is_empty() {
        let Some(rows) = measure(workspace, args)? else { return Ok(false) };
        rows
    } else {
        let files = args.from.iter().map(|file| row::read(file)).collect::<Result<Vec<_>>>()?;
        row::joined(files)
    };
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if args.page {
        page::write(workspace, &rows)?;
    }
    if let Some(base) = base {
        print_comparison(&compare::compare(&base, &rows));
    }
    print_below_target(&rows);
    Ok(true)
}

fn measure(workspace: &Workspace, args: &Args) -> Result<Option<Vec<Row>>> {
    let chosen = |names: &[&'static str]| -> Vec<&'static str> {
        let is_named = |name: &&&str| args.names.is_empty() || args.names.iter().any(|named| named == **name);
        names.iter().filter(is_named).copied().collect()
    };
    let mut rows = Vec::new();
    for bench in chosen(SMALL) {
        if !criterion(bench, args.quick, workspace)? {
            return Ok(None);
        }
        rows.extend(estimates(bench, workspace)?);
    }
    let end_to_end = chosen(END_TO_END);
    if !end_to_end.is_empty() {
        let Some(measured) = engine(&end_to_end, &[], args, workspace)? else { return Ok(None) };
        rows.splice(0..0, measured);
    }
    // Three builds more: the quick form of everything does without.
    if end_to_end.contains(&ENCRYPTION) && !(args.quick && args.names.is_empty()) {
        let Some(measured) = encryption(args, workspace)? else { return Ok(None) };
        rows.extend(measured);
    }
    Ok(Some(rows))
}

/// What encryption costs beside the driver's part: that part again with the other cipher, the ciphers alone, and rotations.
fn encryption(args: &Args, workspace: &Workspace) -> Result<Option<Vec<Row>>> {
    let Some(mut rows) = engine(&[ENCRYPTION], &["aws-lc-rs"], args, workspace)? else { return Ok(None) };
    // Once: the cipher has no part in it.
    rows.retain(|row| row.unit != "reads");
    for (features, part) in [("encryption,sqlite", None), ("encryption,sqlite,aws-lc-rs", Some("--cipher"))] {
        let json = target(workspace).join("encryption-rows.json");
        let bench =
            ["bench", "--locked", "--package", "annals-journal", "--bench", "encryption", "--features"];
        let mut command = [&bench[..], &[features, "--", "--json"]].concat();
        let file = utf8(&json)?;
        command.push(&file);
        command.extend(part);
        if args.quick {
            command.push("--quick");
        }
        if !Invocation::cargo(&command, workspace.root()).run_shown()? {
            return Ok(None);
        }
        rows.extend(row::read(&json)?);
    }
    Ok(Some(rows))
}

/// The driver for what is measured end to end, built with features beside the default; its rows, or `None` when it failed.
fn engine(names: &[&str], features: &[&str], args: &Args, workspace: &Workspace) -> Result<Option<Vec<Row>>> {
    let target = target(workspace);
    let rows = target.join("engine-rows.json");
    let features = [&["postgres"], features].concat().join(",");
    let bench = ["bench", "--locked", "--package", "annals", "--features", &features, "--bench", "engine"];
    let mut command =
        [&bench[..], &["--", "--json"]].concat().iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    command.push(utf8(&rows)?);
    if args.quick {
        command.push("--quick".into());
    }
    if !args.quick && names.iter().any(|name| WITH_PEERS.contains(name)) {
        let folder = target.join("peers");
        let manifest = workspace.root().join("benches/peers/Cargo.toml");
        let (manifest, folder_name) = (utf8(&manifest)?, utf8(&folder)?);
        let build =
            ["build", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &folder_name];
        if !Invocation::cargo(&build, workspace.root()).run_shown()? {
            return Ok(None);
        }
        command.extend(["--peers".into(), utf8(&folder.join("release/annals-peers"))?]);
    }
    if let Some(log) = args.log.as_ref().filter(|_| names.contains(&"loans")) {
        let log = std::path::absolute(log)?;
        ensure!(log.is_file(), "there is no log {}", log.display());
        let build = ["build", "--release", "--locked", "--package", "annals", "--example", "loans"];
        if !Invocation::cargo(&build, workspace.root()).run_shown()? {
            return Ok(None);
        }
        command.extend(["--loans".into(), utf8(&target.join("release/examples/loans"))?]);
        command.extend(["--log".into(), utf8(&log)?]);
    }
    command.extend(names.iter().map(|name| (*name).to_owned()));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    if !Invocation::cargo(&command, workspace.root()).run_shown()? {
        return Ok(None);
    }
    row::read(&rows).map(Some)
}

fn criterion(bench: &str, quick: bool, workspace: &Workspace) -> Result<bool> {
    let mut args = vec!["bench", "--locked", "--package", "annals", "--bench", bench, "--"];
    if quick {
        args.push("--quick");
    }
    Invocation::cargo(&args, workspace.root()).run_shown()
}

/// Rows out of what criterion left in the target folder: nanoseconds a call, with the ends of the confidence interval.
fn estimates(bench: &str, workspace: &Workspace) -> Result<Vec<Row>> {
    let group = target(workspace).join("criterion").join(bench);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&group)
        .with_context(|| format!("criterion left nothing in {}", group.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("new/estimates.json").is_file())
        .collect();
    folders.sort();
    folders.iter().map(|folder| estimate(bench, folder)).collect()
}

fn estimate(bench: &str, folder: &Path) -> Result<Row> {
    let file = folder.join("new/estimates.json");
    let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let estimates: Value =
        serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let row = nanoseconds(&format!("{bench} {name}"), &estimates["median"]);
    row.with_context(|| format!("{} holds no median", file.display()))
}

fn nanoseconds(name: &str, median: &Value) -> Option<Row> {
    let interval = &median["confidence_interval"];
    Some(Row {
        name: name.to_owned(),
        unit: "ns".to_owned(),
        median: median["point_estimate"].as_f64()?,
        min: interval["lower_bound"].as_f64()?,
        max: interval["upper_bound"].as_f64()?,
        less_is_better: true,
        ..Row::default()
    })
}

fn print_comparison(comparison: &compare::Comparison) {
    let compare::Comparison { slower, compared } = comparison;
    if slower.is_empty() {
        println!("\nof {compared} rows that compare, none became slower by more than the noise");
        return;
    }
    println!("\nof {compared} rows that compare, {} became slower by more than the noise:", slower.len());
    for line in slower {
        println!("  {line}");
    }
}

/// What did not reach its target; the end of every run.
fn print_below_target(rows: &[Row]) {
    let below: Vec<&Row> = rows.iter().filter(|row| row.misses_target()).collect();
    if below.is_empty() {
        println!("\nno row is below its target");
        return;
    }
    println!("\nbelow target:");
    for row in below {
        let target = row.target_in_words().unwrap_or_default();
        println!("  {:<26} {:>9}, {target}", row.name, short(row.reached()));
    }
}

fn target(workspace: &Workspace) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.root().join("target"), |folder| workspace.root().join(folder))
}

fn utf8(path: &Path) -> Result<String> {
    Ok(path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?.to_owned())
}

/// Benches of single functions, by criterion.
const SMALL: &[&str] = &["envelope"];
/// What the driver measures, see `benches/engine/suite.rs`.
const END_TO_END: &[&str] = &[
    "P1",
    "P2",
    "H",
    "R",
    "R2",
    "R2-100k",
    "loans",
    "large",
    "burst",
    "slow-fsync",
    "snapshots",
    "growth",
    "migrations",
    "encryption",
    "backends",
    "fairness",
    "tell",
    "ask",
    "ask-100",
    "spawn",
    "memory",
];
/// Measured with each cipher, which are two builds.
const ENCRYPTION: &str = "encryption";
/// What other libraries do as well.
const WITH_PEERS: &[&str] = &["backends", "tell", "ask", "ask-100", "spawn", "memory"];
const HELP: &str = "It takes about half an hour; --quick takes a minute, and a name only as long as its part. \
Nothing fails for being slow.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_named_is_what_the_driver_measures() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/engine/suite.rs");
        let source = std::fs::read_to_string(file).expect("the driver is there");
        let names: Vec<&str> =
            source.lines().filter_map(|line| line.split_once("name: \"")?.1.split('"').next()).collect();
        assert_eq!(names, END_TO_END);
    }

    #[test]
    fn a_criterion_estimate_becomes_a_row() {
        let estimates = json!({
            "point_estimate": 12.5, "standard_error": 0.1,
            "confidence_interval": { "confidence_level": 0.95, "lower_bound": 12.0, "upper_bound": 13.0 },
        });
        let row = nanoseconds("envelope encode", &estimates).expect("an estimate");
        assert_eq!((row.name.as_str(), row.median, row.min, row.max), ("envelope encode", 12.5, 12.0, 13.0));
        assert_eq!(row.unit, "ns");
    }
}
