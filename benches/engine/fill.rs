use std::path::Path;

use anyhow::Result;

use crate::contestant::Contestant;
use crate::scenario::Load;

/// Puts so many entities into a contestant's file, some at a time, so that few of them are in memory.
pub(crate) fn fill(
    contestant: &dyn Contestant,
    entities: u32,
    events_each: u32,
    folder: &Path,
) -> Result<()> {
    let mut first = 0;
    while first < entities {
        let window = Load::new((entities - first).min(WINDOW), events_each, ROWS_A_COMMIT);
        contestant.persist(&Load { first, ..window }, folder, ROWS_A_COMMIT)?;
        first += window.entities;
        eprintln!("  … {}: {first} of {entities} entities are stored", contestant.name());
    }
    Ok(())
}

const WINDOW: u32 = 20_000;
const ROWS_A_COMMIT: u32 = 1_024;
