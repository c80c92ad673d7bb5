use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::exit::Exit;
use crate::rewrite::{EXAMPLE, RewriteArgs};

/// Bring the events and snapshots of a journal to the versions of an application's build, or down to those of an older one.
///
/// Steps between versions are code of the application, so its program does it: this runs `PROGRAM migrate rewrite` with the same arguments.
/// Each event and snapshot becomes what that build would store of it today, in its place: id, number, offset, time stamp and tags stay.
/// Without --apply it only counts. With it, applications may run and write meanwhile; run it again at any time, also after it was killed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// The application's program, of the newest build that has stored something: it has `migrate rewrite`, see docs/guide/evolution.md
    #[arg(long, value_name = "PROGRAM", env = "ANNALS_PROGRAM")]
    program: Option<PathBuf>,
    #[command(flatten)]
    rewrite: RewriteArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Some(program) = &args.program else {
        bail!(
            "steps between versions are code of the application: name its program, of the newest build that has stored something, with \
             --program"
        );
    };
    let mut command = Command::new(program);
    command.args(["migrate", "rewrite"]).args(args.rewrite.words());
    let place = || format!("--program {}", program.display());
    // In this one's place, so that whoever ends this one ends it.
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        Err(anyhow::Error::from(command.exec())).with_context(place)
    }
    #[cfg(not(unix))]
    match command.status().with_context(place)?.code() {
        Some(0) => Ok(Exit::Well),
        Some(1) => Ok(Exit::Found),
        _ => bail!("{} did not do it", place()),
    }
}
