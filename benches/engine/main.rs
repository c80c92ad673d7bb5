//! The engine end to end: P1, P2, H, R and R2 beside what SQLite does with the same bytes.
//!
//! `cargo xtask bench` runs it; docs/performance.md says how to read what it prints.

mod account;
mod annals;
mod busy;
mod commits;
mod contestant;
mod event;
mod measure;
mod raw;
mod scenario;
mod stats;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Measures Annals end to end, beside the raw limits.
#[derive(Parser)]
struct Options {
    /// What to measure; all when none is named.
    #[arg(value_parser = PossibleValuesParser::new(scenario::ALL.iter().map(|scenario| scenario.name)))]
    names: Vec<String>,
    /// Writes the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer runs of less work: shows that it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let began = busy::Ticks::now();
    if let Some(load) = busy::load_average() {
        println!("load average at the start: {load:.2}");
    }
    let measure = measure::Measure::new(options.quick)?;
    let mut rows = Vec::new();
    for scenario in scenario::ALL {
        if options.names.is_empty() || options.names.iter().any(|name| name == scenario.name) {
            rows.extend(measure.rows(scenario)?);
        }
    }
    println!();
    table::print(&rows);
    if let Some(others) = busy::Ticks::now().zip(began).and_then(|(now, began)| now.since(began)) {
        println!("\n{}", others.describe());
        if others.disturbed() {
            println!("the machine was busy with something else: trust the ratios, not the values");
        }
    }
    if options.quick {
        println!("quick: too little work to judge by");
    }
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&rows).context("encoding the rows")?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    table::print_below_target(&rows);
    Ok(())
}
