//! What a child process says to the driver that started it, see `child.rs`.

use std::io::{Write, stdin, stdout};

use anyhow::{Context, Result, ensure};

/// Says a number.
pub(crate) fn say(number: f64) -> Result<()> {
    writeln!(stdout(), "{number}").context("saying a number")?;
    stdout().flush().context("saying a number")
}

/// Waits until the parent has looked.
pub(crate) fn wait() -> Result<()> {
    let mut line = String::new();
    let read = stdin().read_line(&mut line).context("waiting for the parent")?;
    ensure!(read > 0, "the parent went away");
    Ok(())
}
