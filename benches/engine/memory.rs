//! What an idle actor holds, looked at from outside of the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::account::Account;
use crate::actors::PEERS;
use crate::annals::{JournalChoice, Settings, deposit};
use crate::bench::{Bench, folder, progress};
use crate::child::{self, Child};
use crate::parent;
use crate::scenario::Load;
use crate::table::Row;

/// Bytes of memory a plain actor and a persistent entity, when all are idle.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.choose(1_000_000, 100_000);
    let ours = child::ours()?;
    let plain = idle(Child::start(&ours, &["idle", "annals", &count.to_string()], &[])?, "annals")?;
    let used = idle(Child::start(&ours, &["idle", "annals-used", &count.to_string()], &[])?, "annals, used")?;
    let mut peers = BTreeMap::new();
    if let Some(program) = &bench.extras.peers {
        for (peer, _) in PEERS {
            // Some of them need a lot for each.
            let count = (count / 10).to_string();
            peers.insert(
                (*peer).to_owned(),
                idle(Child::start(program, &["idle", peer, &count], &[])?, peer)?,
            );
        }
    }
    let folder = folder()?;
    let path = folder.path().to_str().context("the path of a folder is not UTF-8")?;
    let persistent =
        idle(Child::of_ours(&["idle-persistent", path, &count.to_string()], &[])?, "persistent")?;
    #[allow(clippy::cast_precision_loss, reason = "some bytes")]
    let state = size_of::<Account>() as f64;
    let row = |name, bytes, most| Row::of(name, "bytes", &[bytes]).map(|row| row.at_most(most));
    let mut rows = Vec::new();
    rows.extend(row("idle plain actor", plain, Some(700.0)).map(|row| Row { peers, ..row }));
    rows.extend(row("idle plain actor, used", used, None));
    rows.extend(row("idle persistent entity", persistent - state, Some(1_200.0)));
    Ok(rows)
}

/// Of each that came after the first ones.
fn idle(mut child: Child, contestant: &str) -> Result<f64> {
    child.number()?;
    let before = child.settled_memory()?;
    child.go_on()?;
    let count = child.number()?;
    let each = (child.settled_memory()? - before) / count;
    child.go_on()?;
    child.end()?;
    progress("memory", contestant, 1, each, "bytes each");
    Ok(each)
}

/// The child's part for persistent entities: each has one event in a SQLite file, and stays in memory.
pub(crate) fn role(folder: &str, count: &str) -> Result<()> {
    let count: u32 = count.parse()?;
    let ours = Bench::new(false, Default::default())?.annals(JournalChoice::Sqlite, Settings::default());
    ours.runtime.block_on(async {
        let node = ours.start(Path::new(folder)).await?;
        // The caches of SQLite are full after the first ones.
        let first = count / 10;
        for (from, count) in [(0, first), (first, count)] {
            // Some at a time, so that what the senders need is small beside the entities.
            for first in (from..from + count).step_by(WINDOW as usize) {
                let entities = WINDOW.min(from + count - first);
                deposit(&node, &Load { first, ..Load::new(entities, 1, 1_000) }).await?;
            }
            // The caretaker of the kind has looked twice, so that all have given back what their queues had grown to.
            tokio::time::sleep(RESTED).await;
            parent::say(f64::from(count))?;
            parent::wait()?;
        }
        // Nobody measures how they stop.
        std::process::exit(0)
    })
}

const WINDOW: u32 = 10_000;
const RESTED: Duration = Duration::from_secs(12);
