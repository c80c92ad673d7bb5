//! What encryption costs the engine: the same node on the same disk, with keys and without.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use annals::actors::Stores;
use annals::journal::{JournalError, Record, RecordChange, RecordKey, Records, Timestamp, Verdict};
use anyhow::{Context as _, Result};
use async_trait::async_trait;

use crate::account::Account;
use crate::annals::{AT_ONCE, AnnalsNode, JournalChoice, Settings, count};
use crate::bench::{Bench, folder, progress, rate};
use crate::contestant::Contestant;
use crate::scenario::{self, Load, Scenario, Work};
use crate::table::Row;

/// P2, R and R2 with keys beside without, and how many reads of keys R2 needs.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (scenario, target) in [
        (&scenario::P2, Some(0.90)),
        (&scenario::R, Some(if CIPHER == "aes-gcm" { 0.75 } else { 0.88 })),
        (&scenario::R2, None),
    ] {
        let (values, limits) = turns(bench, scenario)?;
        let row =
            Row::of(format!("{} sealed {CIPHER}", scenario.name), "events/s", &values).context("no run")?;
        rows.push(row.beside(&values, &limits).at_least(target));
    }
    rows.extend(key_reads(bench)?);
    Ok(rows)
}

fn turns(bench: &Bench, scenario: &Scenario) -> Result<(Vec<f64>, Vec<f64>)> {
    let contestants = [true, false].map(|sealed| node(bench, sealed));
    let load = bench.choose(&scenario.load, &scenario.quick);
    let stored = match scenario.work {
        Work::Commands => None,
        Work::Recovery => Some([persisted(&contestants[0], load)?, persisted(&contestants[1], load)?]),
    };
    let mut values = [Vec::new(), Vec::new()];
    for run in bench.turns() {
        // Deleted after the turn, so that nobody's fsyncs carry what another left behind.
        let mut folders = Vec::new();
        for (index, node) in contestants.iter().enumerate() {
            let elapsed = match &stored {
                Some(stored) => node.recover(load, stored[index].path())?,
                None => {
                    let folder = folder()?;
                    let persisted = node.persist(load, folder.path(), 0)?;
                    folders.push(folder);
                    persisted.elapsed
                }
            };
            let speed = rate(load.events(), elapsed);
            let name = if node.settings.sealed { "sealed" } else { "in the clear" };
            progress(&format!("{} {CIPHER}", scenario.name), name, run, speed, "events/s");
            if run > 0 {
                values[index].push(speed);
            }
        }
    }
    let [sealed, clear] = values;
    Ok((sealed, clear))
}

/// How often a node reads records of keys, and of how many ids, while it recovers what R2 has.
fn key_reads(bench: &Bench) -> Result<Vec<Row>> {
    let node = node(bench, true);
    let load = bench.choose(&scenario::R2.load, &scenario::R2.quick);
    let folder = persisted(&node, load)?;
    let (reads, keys) = bench.runtime.block_on(async {
        let stores = node.stores(folder.path()).await?;
        let counted = Arc::new(Counted { records: stores.records.clone(), reads: 0.into(), keys: 0.into() });
        let running = node.start_in(Stores { records: counted.clone(), ..stores }, folder.path()).await?;
        let before = (counted.reads.load(Ordering::Relaxed), counted.keys.load(Ordering::Relaxed));
        count::<Account>(&running, load, AT_ONCE).await?;
        let after = (counted.reads.load(Ordering::Relaxed), counted.keys.load(Ordering::Relaxed));
        running.shutdown().await;
        anyhow::Ok((after.0 - before.0, after.1 - before.1))
    })?;
    let row = |what: &str, value: u32| Row::of(format!("R2 sealed {what}"), "reads", &[value.into()]);
    Ok(row("reads of keys", reads).into_iter().chain(row("keys read", keys)).collect())
}

fn node(bench: &Bench, sealed: bool) -> AnnalsNode {
    bench.annals(JournalChoice::Sqlite, Settings { sealed, ..Settings::default() })
}

fn persisted(node: &AnnalsNode, load: &Load) -> Result<tempfile::TempDir> {
    let folder = folder()?;
    node.persist(load, folder.path(), 0)?;
    Ok(folder)
}

/// Records that count how often those of data keys are read.
struct Counted {
    records: Arc<dyn Records>,
    reads: AtomicU32,
    keys: AtomicU32,
}

impl Counted {
    fn read(&self, keys: &[RecordKey]) {
        let count = keys.iter().filter(|key| key.as_str().starts_with("encryption/key/")).count();
        self.reads.fetch_add(u32::from(count > 0), Ordering::Relaxed);
        self.keys.fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

#[async_trait]
impl Records for Counted {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.read(std::slice::from_ref(key));
        self.records.get(key).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        self.read(keys);
        self.records.get_all(keys).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        self.records.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.records.now().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.records.list(prefix, after, limit).await
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.fmt(f)
    }
}

/// The cipher of this build.
const CIPHER: &str = if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "aes-gcm" };
