use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command};
use crate::{events, export, import, inspect, keys, migrate, schema, verify};

/// How a command ended that could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: all is well.
    Well,
    /// 1: something was found or left out, and was named.
    Found,
}

/// Does what a command line says, and tells on standard error what went wrong.
///
/// | code | |
/// |---|---|
/// | 0 | done, and all is well |
/// | 1 | done, and something was found or left out: it is named |
/// | 2 | the command line is wrong (said by its parser, not here) |
/// | 3 | it could not be done |
pub fn run(arguments: Arguments) -> ExitCode {
    init_logs();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_interrupted(arguments.command)));
    code(done)
}

/// Says what went wrong, and which code that is.
pub(crate) fn code(done: anyhow::Result<Exit>) -> ExitCode {
    match done {
        Ok(Exit::Well) => ExitCode::SUCCESS,
        Ok(Exit::Found) => ExitCode::from(FOUND),
        Err(error) if nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(COULD_NOT)
        }
    }
}

/// A command that is interrupted cleans up after itself: no half of a file is left behind.
async fn until_interrupted(command: Command) -> anyhow::Result<Exit> {
    tokio::select! {
        done = Box::pin(perform(command)) => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
}

async fn perform(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Inspect(args) => inspect::run(args).await,
        Command::Events(args) => events::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Schema(args) => schema::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Keys(args) => keys::run(args).await,
    }
}

/// Whether the reader of our output went away, as `| head` does: then there is nobody to tell.
fn nobody_reads(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// What the journal warns of goes to standard error; RUST_LOG asks for more.
fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Somebody who calls us as a library may have their own.
    let _ = logs.try_init();
}

const FOUND: u8 = 1;
const COULD_NOT: u8 = 3;
