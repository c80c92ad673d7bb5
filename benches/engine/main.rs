//! The engine end to end, beside what SQLite and tokio do with the same work.
//!
//! `cargo xtask bench` runs it; docs/performance.md says how to read what it prints. This program is the driver: it prints a
//! table and writes the rows as JSON. What has to be seen from outside runs in children of it, which are this program in
//! another role ([`role`]), the program of benches/peers, or an example.

mod account;
mod actors;
mod annals;
mod backends;
mod bench;
mod busy;
mod child;
mod commits;
mod contestant;
mod event;
mod fairness;
mod fill;
mod growth;
mod loans;
mod many;
mod measure;
mod memory;
mod migrations;
mod parent;
mod plain;
mod raw;
mod role;
mod scenario;
mod sealed;
mod slow_disk;
mod slow_replay;
mod snapshots;
mod stats;
mod suite;
mod table;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Measures Annals end to end, beside the raw limits.
#[derive(Parser)]
struct Options {
    /// What to measure; all when none is named.
    #[arg(value_parser = PossibleValuesParser::new(suite::ALL.iter().map(|suite| suite.name)))]
    names: Vec<String>,
    /// Writes the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer runs of less work: shows that it runs, not how fast.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    extras: bench::Extras,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match role::given(&args) {
        Some(args) => role::play(&args),
        None => drive(&Options::parse()),
    }
}

fn drive(options: &Options) -> Result<()> {
    let began = busy::Ticks::now();
    if let Some(load) = busy::load_average() {
        println!("load average at the start: {load:.2}");
    }
    let bench = bench::Bench::new(options.quick, options.extras.clone())?;
    let mut rows = Vec::new();
    for suite in suite::ALL {
        if options.names.is_empty() || options.names.iter().any(|name| name == suite.name) {
            rows.extend(suite.rows(&bench)?);
            // After each, so that a run that is ended early leaves what it has.
            if let Some(path) = &options.json {
                let json = serde_json::to_vec_pretty(&rows).context("encoding the rows")?;
                std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
            }
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
    Ok(())
}
