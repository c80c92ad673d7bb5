//! What becomes slower when a journal grows: 10^4, 10^5 and 10^6 entities, of ten events each.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::account::Account;
use crate::annals::{AT_ONCE, AnnalsNode, Counted, JournalChoice, Settings, count};
use crate::bench::{Bench, folder, progress, rate};
use crate::child::Child;
use crate::contestant::Contestant;
use crate::fill::fill;
use crate::measure::micros;
use crate::parent;
use crate::raw::Raw;
use crate::scenario::Load;
use crate::stats::{Summary, ratios};
use crate::table::Row;

/// For each size: writing beside raw at the same size; recovery, start-up and memory beside the smallest size.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let sizes: &[u32] = bench.choose(&[10_000, 100_000, 1_000_000], &[2_000, 20_000]);
    let ours = bench.annals(JournalChoice::Sqlite, Settings::default());
    let mut journals =
        sizes.iter().map(|entities| Journal::new(&ours, *entities)).collect::<Result<Vec<_>>>()?;
    for run in bench.turns() {
        for journal in &mut journals {
            let sample = journal.sample(&ours)?;
            progress(&format!("growth {}", journal.entities), "annals", run, sample.writes, "events/s");
            progress(&format!("growth {}", journal.entities), "raw", run, sample.raw_writes, "events/s");
            if run > 0 {
                journal.samples.push(sample);
            }
        }
    }
    let smallest = &journals[0];
    let ratios = ratios(&smallest.of(|sample| sample.writes), &smallest.of(|sample| sample.raw_writes));
    let ratio = Summary::of(&ratios).context("no run")?.median;
    let mut rows = Vec::new();
    for journal in &journals {
        rows.extend(journal.rows(smallest, ratio));
    }
    Ok(rows)
}

/// Two files of one size, ours and raw.
struct Journal {
    entities: u32,
    ours: TempDir,
    raw: TempDir,
    /// Runs that have written so far.
    written: u32,
    samples: Vec<Sample>,
}

struct Sample {
    writes: f64,
    raw_writes: f64,
    /// Microseconds to recover one entity, the middle one of some.
    recovery: f64,
    /// Microseconds to start a node.
    start: f64,
    /// Megabytes of a process with a thousand active entities.
    memory: f64,
}

impl Journal {
    fn new(ours: &AnnalsNode, entities: u32) -> Result<Self> {
        let journal = Self { entities, ours: folder()?, raw: folder()?, written: 0, samples: Vec::new() };
        let began = Instant::now();
        fill(ours, entities, EVENTS_EACH, journal.ours.path())?;
        fill(&Raw, entities, EVENTS_EACH, journal.raw.path())?;
        println!("  {entities} entities were stored in {:.0} s", began.elapsed().as_secs_f64());
        Ok(journal)
    }

    fn sample(&mut self, ours: &AnnalsNode) -> Result<Sample> {
        let stride = self.entities / ACTIVE;
        // Each run writes to entities of its own, or after what the runs before wrote.
        let (first, before) = (self.written % stride, self.written / stride * WRITES_EACH);
        let load =
            Load { first, stride, stored: EVENTS_EACH + before, ..Load::new(ACTIVE, WRITES_EACH, 256) };
        self.written += 1;
        let persisted = ours.persist(&load, self.ours.path(), 0)?;
        let rows_a_commit = persisted.rounded_rows_a_commit(&load).unwrap_or(load.in_flight);
        let writes = rate(load.events(), persisted.elapsed);
        let raw_writes = rate(load.events(), Raw.persist(&load, self.raw.path(), rows_a_commit)?.elapsed);
        let (start, recovery) = ours.runtime.block_on(self.wake(ours, &load))?;
        Ok(Sample { writes, raw_writes, recovery, start, memory: self.active_memory()? })
    }

    /// Starts a node, and recovers entities that were just written to, one after the other.
    async fn wake(&self, ours: &AnnalsNode, load: &Load) -> Result<(f64, f64)> {
        let began = Instant::now();
        let node = ours.start(self.ours.path()).await?;
        let start = began.elapsed().as_secs_f64() * 1e6;
        let few = Load { entities: RECOVERED, ..*load };
        let Counted { events, latencies, .. } = count::<Account>(&node, &few, 1).await?;
        node.shutdown().await;
        ensure!(events == few.stored_after(), "{events} events came back");
        Ok((start, micros(&latencies, 0.5)))
    }

    fn active_memory(&self) -> Result<f64> {
        let folder = self.ours.path().to_str().context("the path of a folder is not UTF-8")?;
        let mut child = Child::of_ours(&["active", folder, &self.entities.to_string()], &[])?;
        child.number()?;
        let memory = child.settled_memory()?;
        child.go_on()?;
        child.end()?;
        Ok(memory / 1e6)
    }

    fn of(&self, part: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(part).collect()
    }

    fn rows(&self, smallest: &Self, smallest_ratio: f64) -> Vec<Row> {
        let name = |part| format!("growth {} {part}", self.entities);
        let is_larger = self.entities > smallest.entities;
        let writes = self.of(|sample| sample.writes);
        let row = Row::of(name("writes"), "events/s", &writes);
        let target = is_larger.then_some(smallest_ratio * (1.0 - WITHIN));
        let mut rows: Vec<Row> = row
            .map(|row| row.beside(&writes, &self.of(|sample| sample.raw_writes)).at_least(target))
            .into_iter()
            .collect();
        let parts = [
            self.beside(smallest, name("recovery"), "us", 1.0 + WITHIN, |sample| sample.recovery),
            self.beside(smallest, name("start"), "us", 1.5, |sample| sample.start),
            self.beside(smallest, name("memory"), "MB", 1.0 + WITHIN, |sample| sample.memory),
        ];
        rows.extend(parts.into_iter().flatten());
        rows
    }

    /// A row that has to stay as it is in the smallest journal.
    fn beside(
        &self,
        smallest: &Self,
        name: String,
        unit: &'static str,
        most: f64,
        part: fn(&Sample) -> f64,
    ) -> Option<Row> {
        let values = self.of(part);
        let row = Row::of(name, unit, &values)?.at_most(None);
        if self.entities == smallest.entities {
            return Some(row);
        }
        Some(row.beside(&values, &smallest.of(part)).at_most(most))
    }
}

/// The child's part: a thousand active entities of a journal with so many.
pub(crate) fn role(folder: &str, entities: &str) -> Result<()> {
    let load = Load { stride: entities.parse::<u32>()? / ACTIVE, ..Load::new(ACTIVE, EVENTS_EACH, 0) };
    let ours = Bench::new(false, Default::default())?.annals(JournalChoice::Sqlite, Settings::default());
    ours.runtime.block_on(async {
        let node = ours.start(Path::new(folder)).await?;
        let Counted { events, .. } = count::<Account>(&node, &load, AT_ONCE).await?;
        parent::say(f64::from(events))?;
        parent::wait()?;
        node.shutdown().await;
        Ok(())
    })
}

const EVENTS_EACH: u32 = 10;
/// Entities that a run writes to.
const ACTIVE: u32 = 1_000;
const WRITES_EACH: u32 = 20;
/// Entities that a run recovers one after the other.
const RECOVERED: u32 = 300;
/// How much worse a larger journal may be.
const WITHIN: f64 = 0.20;
