use anyhow::{Result, bail};

use crate::plain::{BareTasks, PlainActors};
use crate::{growth, many, memory, migrations, slow_disk, work};

/// What this program does as a child of the driver.
pub(crate) fn play(args: &[&str]) -> Result<()> {
    match *args {
        ["plain", "annals", work, count] => work::measure(PlainActors::new, work, count),
        ["plain", "raw", work, count] => work::measure(|| BareTasks, work, count),
        ["idle", "annals", count] => work::keep(PlainActors::new, count, false),
        ["idle", "annals-used", count] => work::keep(PlainActors::new, count, true),
        ["idle-persistent", folder, count] => memory::role(folder, count),
        ["slow", name, folder, size] => slow_disk::role(name, folder, size == "quick"),
        ["recover", folder, entities] => many::role(folder, entities),
        ["active", folder, entities] => growth::role(folder, entities),
        ["adapt", work, steps, count] => migrations::role(work, steps, count),
        _ => bail!("there is no such part to play: {}", args.join(" ")),
    }
}

/// Whether this program was started as a child: `None`, or what it was told.
pub(crate) fn given(args: &[String]) -> Option<Vec<&str>> {
    let first = args.first()?;
    let roles = ["plain", "idle", "idle-persistent", "slow", "recover", "active", "adapt"];
    roles.contains(&first.as_str()).then(|| args.iter().map(String::as_str).collect())
}
