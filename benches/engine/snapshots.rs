//! What a snapshot policy costs, until the last snapshot is stored.

use std::path::Path;
use std::time::Duration;

use annals::prelude::*;
use anyhow::{Context as _, Result, ensure};

use crate::account::Account;
use crate::annals::{AnnalsNode, JournalChoice, Settings};
use crate::bench::{Bench, folder, progress, rate};
use crate::contestant::Contestant;
use crate::scenario::Load;
use crate::table::Row;

/// A snapshot every 100 events, beside none.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let with = bench.annals(
        JournalChoice::Sqlite,
        Settings { snapshot_every: Some(EVERY.into()), ..Settings::default() },
    );
    let without = bench.annals(JournalChoice::Sqlite, Settings::default());
    let warm_up = Load::new(1_000, 2 * EVERY, 256);
    let mut load = warm_up;
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for run in bench.turns() {
        let (with_folder, without_folder) = (folder()?, folder()?);
        let persisted = with.persist(&load, with_folder.path(), 0)?;
        let value = rate(load.events(), persisted.elapsed);
        bench.runtime.block_on(check(&with, &load, with_folder.path()))?;
        let persisted = without.persist(&load, without_folder.path(), 0)?;
        let limit = rate(load.events(), persisted.elapsed);
        progress("snapshots", "every 100 events", run, value, "events/s");
        progress("snapshots", "none", run, limit, "events/s");
        if run == 0 {
            let full = Load { events_each: 1_000, ..warm_up };
            load = bench.choose(full.within(LONGEST_RUN, value.min(limit), &warm_up), warm_up);
        } else {
            values.push(value);
            limits.push(limit);
        }
    }
    let row = Row::of("snapshots", "events/s", &values).context("no run")?;
    Ok(vec![row.beside(&values, &limits).at_least(0.9)])
}

/// That the last snapshots are there.
async fn check(node: &AnnalsNode, load: &Load, folder: &Path) -> Result<()> {
    let stores = node.stores(folder).await?;
    for number in [load.entity(0), load.entity(load.entities - 1)] {
        let id = PersistenceId::new(Account::KIND, &format!("a-{number:04}"))?;
        let last = stores.snapshots.list(&id).await?.last().map_or(0, |seq_nr| seq_nr.get());
        let expected = load.events_each - load.events_each % EVERY;
        ensure!(last + u64::from(EVERY) > u64::from(expected), "the last snapshot of {id} is of {last}");
    }
    Ok(())
}

const EVERY: u32 = 100;
const LONGEST_RUN: Duration = Duration::from_secs(60);
