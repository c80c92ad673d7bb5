//! What steps cost events that need none: instructions, counted by callgrind, which repeat.

use std::process::{Command, Stdio};

use annals::journal::{PersistenceId, SeqNr};
use annals::migrations::{EventAdapter, KindAdapter, ListAdapter};
use anyhow::{Context, Result, bail, ensure};

use super::stored::Version;
use super::versions::{KIND, TypedEvent, ValueEvent};
use crate::bench::Bench;
use crate::child::ours;
use crate::table::Row;

/// Reading and storing an event at today's version by an adapter with three steps, beside one without any.
pub(super) fn rows(_: &Bench) -> Result<Vec<Row>> {
    if Command::new(VALGRIND).arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("  instructions left out: {VALGRIND} is not installed");
        return Ok(Vec::new());
    }
    let without = each("read", "none")?;
    let mut rows = vec![
        row("read of today's version", each("read", "steps")?, without)?.at_most(1.03),
        row("store of today's version", each("store", "steps")?, each("store", "none")?)?.at_most(1.03),
    ];
    for (name, work) in [("read through typed chain", "typed"), ("read through value chain", "value")] {
        rows.push(row(name, each(work, "steps")?, without)?.at_most(None));
    }
    Ok(rows)
}

fn row(name: &str, value: f64, limit: f64) -> Result<Row> {
    eprintln!("  … migrations {name}: {value:.1} instructions an event, beside {limit:.1}");
    Ok(Row::of(name, "instr", &[value]).context("no count")?.beside(&[value], &[limit]))
}

/// Instructions an event: the difference of two counts, so that what a process does besides is gone.
fn each(work: &str, steps: &str) -> Result<f64> {
    let (few, many) = (counted(work, steps, FEW)?, counted(work, steps, MANY)?);
    Ok((many - few) / f64::from(MANY - FEW))
}

fn counted(work: &str, steps: &str, count: u32) -> Result<f64> {
    let output = Command::new(VALGRIND)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(ours()?)
        .args(["adapt", work, steps, &count.to_string()])
        .output()
        .context("starting callgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind failed: {said}");
    // `==123== Collected : 123456`
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.with_context(|| format!("callgrind counted nothing: {said}"))?;
    count.trim().parse().context("callgrind's count")
}

/// Reads or stores an event so many times.
pub(crate) fn role(work: &str, steps: &str, count: &str) -> Result<()> {
    let count = count.parse()?;
    let adapter = TypedEvent::adapter(steps == "steps")?;
    match work {
        "read" => read(&adapter, Version::Today, count),
        "typed" => read(&adapter, Version::First, count),
        "value" => read(&ListAdapter::new(KindAdapter::<ValueEvent>::new(KIND)?), Version::First, count),
        "store" => {
            let event = TypedEvent::example();
            for _ in 0..count {
                std::hint::black_box(adapter.to_journal(&event)?);
            }
            Ok(())
        }
        other => bail!("there is no work {other:?}"),
    }
}

fn read<E: 'static>(adapter: &impl EventAdapter<E>, version: Version, count: u32) -> Result<()> {
    let stored = version.event(&PersistenceId::new(KIND, "a-0000")?, SeqNr::FIRST)?;
    let mut done = 0;
    for _ in 0..count {
        adapter.from_journal(&stored, &mut |event| {
            std::hint::black_box(event);
            done += 1;
        })?;
    }
    ensure!(done == count, "{done} of {count} events");
    Ok(())
}

const VALGRIND: &str = "valgrind";
const FEW: u32 = 1_000;
const MANY: u32 = 11_000;
