//! Events of older versions: recovered, rewritten and copied, and what the steps cost events that need none.

mod instructions;
mod raw;
mod stored;
mod versions;

use std::path::Path;
use std::time::{Duration, Instant};

use annals::actors::Stores;
use annals::migrations::StateAdapter;
use annals::migrations::copy::{Copy, Side};
use annals::migrations::rewrite::{Rewriter, Sweep, Target};
use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::account::Counts;
use crate::annals::{AnnalsNode, FILE, JournalChoice, Settings, recovered};
use crate::bench::{Bench, folder, progress, rate};
use crate::scenario::Load;
use crate::table::Row;

use stored::{Version, close, copied, fill, opened, tables};
use versions::{KIND, Typed, TypedEvent, Valued};

pub(crate) use instructions::role;

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, full) in [("R", Load::new(1, 100_000, 0)), ("R2", Load::new(1_000, 100, 0))] {
        let quick = Load { events_each: full.events_each / 10, ..full };
        rows.extend(recoveries(bench, name, &bench.choose(full, quick))?);
    }
    let load = bench.choose(Load::new(1_000, 100, 0), Load::new(1_000, 10, 0));
    rows.extend(rewrites(bench, &load)?);
    rows.extend(copies(bench, &load)?);
    rows.extend(instructions::rows(bench)?);
    Ok(rows)
}

/// A journal at version 1, through typed steps and through steps on JSON, beside one at today's version.
fn recoveries(bench: &Bench, name: &str, load: &Load) -> Result<Vec<Row>> {
    let node = bench.annals(JournalChoice::Sqlite, Settings::default());
    let filled = |version| {
        let folder = folder()?;
        bench.runtime.block_on(fill(load, version, folder.path()))?;
        anyhow::Ok(folder)
    };
    let (first, today) = (filled(Version::First)?, filled(Version::Today)?);
    let (mut typed, mut valued, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for run in bench.turns() {
        let turn = [
            ("typed chain", recovery::<Typed>(&node, load, &first)?, &mut typed),
            ("value chain", recovery::<Valued>(&node, load, &first)?, &mut valued),
            ("today's version", recovery::<Typed>(&node, load, &today)?, &mut limits),
        ];
        for (contestant, elapsed, values) in turn {
            let speed = rate(load.events(), elapsed);
            progress(&format!("migrations {name}"), contestant, run, speed, "events/s");
            if run > 0 {
                values.push(speed);
            }
        }
    }
    let row = |what: &str, values: &[f64], target| {
        let row = Row::of(format!("{name} {what}"), "events/s", values).context("no run")?;
        anyhow::Ok(row.beside(values, &limits).at_least(target))
    };
    Ok(vec![row("typed chain", &typed, 0.60)?, row("value chain", &valued, 0.35)?])
}

fn recovery<A: Counts>(node: &AnnalsNode, load: &Load, folder: &TempDir) -> Result<Duration> {
    node.runtime.block_on(async {
        let stores = node.stores(folder.path()).await?;
        recovered::<A>(node.start_kind::<A>(stores).await?, load).await
    })
}

/// A journal at version 1 that is rewritten in place, until the look that finds nothing left.
fn rewrites(bench: &Bench, load: &Load) -> Result<Vec<Row>> {
    let base = folder()?;
    bench.runtime.block_on(fill(load, Version::First, base.path()))?;
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for run in bench.turns() {
        let (ours, raw) = (folder()?, folder()?);
        let (rewritten, file) = (copied(base.path(), ours.path())?, copied(base.path(), raw.path())?);
        let value = rate(load.events(), bench.runtime.block_on(rewrite(load, ours.path()))?);
        let limit = rate(load.events(), raw::rewrite(&file, &rewritten)?);
        progress("migrations", "rewrite", run, value, "events/s");
        progress("migrations", "raw rewrite", run, limit, "events/s");
        if run > 0 {
            values.push(value);
            limits.push(limit);
        }
    }
    beside_raw("rewrite", &values, &limits)
}

async fn rewrite(load: &Load, folder: &Path) -> Result<Duration> {
    let file = opened(folder).await?;
    let Stores { journal, snapshots, .. } = file.stores.clone();
    let rewriter = Rewriter::new().kind::<TypedEvent, Typed>(
        KIND,
        TypedEvent::adapter(true)?,
        StateAdapter::new(KIND, 1)?,
    );
    let sweep = Sweep::new(journal, snapshots, rewriter, Target::Newest);
    let began = Instant::now();
    let (done, found) = sweep.apply(&|_| {}).await?;
    let elapsed = began.elapsed();
    close(file).await;
    ensure!(done.replaced() == u64::from(load.events()) && found.replaced() == 0, "{done:?}");
    Ok(elapsed)
}

/// A journal that is copied into an empty file, until the copy is compared and open.
fn copies(bench: &Bench, load: &Load) -> Result<Vec<Row>> {
    let base = folder()?;
    bench.runtime.block_on(fill(load, Version::First, base.path()))?;
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for run in bench.turns() {
        let (from, to, raw_to) = (folder()?, folder()?, folder()?);
        copied(base.path(), from.path())?;
        let value = rate(load.events(), bench.runtime.block_on(copy(load, from.path(), to.path()))?);
        // The tables alone.
        bench.runtime.block_on(tables(raw_to.path()))?;
        let elapsed = raw::copy(&base.path().join(FILE), &raw_to.path().join(FILE))?;
        let limit = rate(load.events(), elapsed);
        progress("migrations", "copy", run, value, "events/s");
        progress("migrations", "raw copy", run, limit, "events/s");
        if run > 0 {
            values.push(value);
            limits.push(limit);
        }
    }
    beside_raw("copy", &values, &limits)
}

async fn copy(load: &Load, from: &Path, to: &Path) -> Result<Duration> {
    let (from, to) = (opened(from).await?, opened(to).await?);
    let side = |name: &str, stores: &Stores| {
        let Stores { journal, records, snapshots } = stores.clone();
        Side { name: name.into(), journal, records, snapshots }
    };
    let copy = Copy::new(side("from", &from.stores), side("to", &to.stores));
    let began = Instant::now();
    let report = copy.cut_over(&|_| {}).await?;
    let elapsed = began.elapsed();
    close(from).await;
    close(to).await;
    ensure!(report.compared_events == u64::from(load.events()), "{report:?}");
    Ok(elapsed)
}

fn beside_raw(name: &str, values: &[f64], limits: &[f64]) -> Result<Vec<Row>> {
    let row = Row::of(name, "events/s", values).context("no run")?;
    let raw = Row::of(format!("{name} raw"), "events/s", limits).context("no run")?;
    Ok(vec![row.beside(values, limits).at_least(0.5), raw])
}
