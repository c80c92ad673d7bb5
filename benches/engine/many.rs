//! R2 with 100,000 entities: more than are in memory at a time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::account::Account;
use crate::annals::{AT_ONCE, Counted, JournalChoice, Settings, count};
use crate::bench::{Bench, folder, progress, rate};
use crate::child::Child;
use crate::contestant::Contestant;
use crate::fill::fill;
use crate::parent;
use crate::raw::Raw;
use crate::scenario::Load;
use crate::table::Row;

/// The speed beside raw, and the memory beside that of a fifth of the entities.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (ours, entities) =
        (bench.annals(JournalChoice::Sqlite, Settings::default()), bench.choose(100_000, 10_000));
    let (ours_folder, raw_folder) = (folder()?, folder()?);
    fill(&ours, entities, EVENTS_EACH, ours_folder.path())?;
    fill(&Raw, entities, EVENTS_EACH, raw_folder.path())?;
    let all = Load::new(entities, EVENTS_EACH, 0);
    let (mut values, mut limits, mut memory, mut memory_of_few) = (vec![], vec![], vec![], vec![]);
    for run in bench.turns() {
        let of_all = recover(ours_folder.path(), entities)?;
        let limit = rate(all.events(), Raw.recover(&all, raw_folder.path())?);
        let of_few = recover(ours_folder.path(), entities / 5)?;
        progress("R2-100k", "annals", run, of_all.speed, "events/s");
        progress("R2-100k", "raw", run, limit, "events/s");
        if run > 0 {
            values.push(of_all.speed);
            limits.push(limit);
            memory.push(of_all.memory / 1e6);
            memory_of_few.push(of_few.memory / 1e6);
        }
    }
    let speed = Row::of("R2-100k", "events/s", &values).context("no run")?;
    let peak = Row::of("R2-100k memory", "MB", &memory).context("no run")?;
    Ok(vec![
        speed.beside(&values, &limits).at_least(0.40),
        peak.beside(&memory, &memory_of_few).at_most(1.25),
    ])
}

struct Recovered {
    speed: f64,
    /// The most bytes that the process held.
    memory: f64,
}

fn recover(folder: &Path, entities: u32) -> Result<Recovered> {
    let folder = folder.to_str().context("the path of a folder is not UTF-8")?;
    let mut child = Child::of_ours(&["recover", folder, &entities.to_string()], &[])?;
    let speed = child.number()?;
    let memory = child.peak_memory()?;
    child.go_on()?;
    child.end()?;
    Ok(Recovered { speed, memory })
}

/// The child's part: recovers so many entities, and says how many events a second that were.
pub(crate) fn role(folder: &str, entities: &str) -> Result<()> {
    let load = Load::new(entities.parse()?, EVENTS_EACH, 0);
    let settings = Settings { passivate_after: Some(IDLE), ..Settings::default() };
    let ours = Bench::new(false, Default::default())?.annals(JournalChoice::Sqlite, settings);
    ours.runtime.block_on(async {
        let node = ours.start(Path::new(folder)).await?;
        let Counted { events, elapsed, .. } = count::<Account>(&node, &load, AT_ONCE).await?;
        ensure!(events == load.events(), "{events} events came back, {} were stored", load.events());
        parent::say(rate(events, elapsed))?;
        parent::wait()?;
        node.shutdown().await;
        Ok(())
    })
}

const EVENTS_EACH: u32 = 20;
/// After which an entity leaves the memory.
const IDLE: Duration = Duration::from_millis(100);
