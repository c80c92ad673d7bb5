//! Coordinated shutdown, with tasks that do not behave: see what is reported, how long it takes, and with which code the process exits.
//!
//! ```text
//! cargo run --example shutdown                                 # SIGTERM or Ctrl-C ends it, with 0
//! cargo run --example shutdown -- --hang drain --within-ms 3000
//! cargo run --example shutdown -- --fail flush --panic leave
//! cargo run --example shutdown -- --block passivate --reason downed
//! ```

use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use annals::shutdown::{CoordinatedShutdown, Phase, Reason, ShutdownSettings};
use anyhow::Context as _;
use clap::{Parser, ValueEnum};

/// Stops in an order.
#[derive(Debug, Parser)]
#[command(name = "shutdown")]
struct Arguments {
    /// What the supervisor grants between SIGTERM and SIGKILL, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    within_ms: u64,
    /// A phase and how long it may take, as drain=60000; may be given several times.
    #[arg(long, value_name = "PHASE=MILLISECONDS")]
    deadline: Vec<String>,
    /// A phase with a task that never ends.
    #[arg(long, value_name = "PHASE")]
    hang: Option<String>,
    /// A phase with a task that fails.
    #[arg(long, value_name = "PHASE")]
    fail: Option<String>,
    /// A phase with a task that panics.
    #[arg(long, value_name = "PHASE")]
    panic: Option<String>,
    /// A phase with tasks that block all threads of the runtime for ever.
    #[arg(long, value_name = "PHASE")]
    block: Option<String>,
    /// Ends by itself for this reason, without a signal.
    #[arg(long, value_enum)]
    reason: Option<Why>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Why {
    Requested,
    Left,
    Downed,
    JoinFailed,
    Incompatible,
    Failed,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut settings = ShutdownSettings::within(Duration::from_millis(arguments.within_ms));
    for deadline in &arguments.deadline {
        let (name, limit) = deadline.split_once('=').context("write --deadline drain=60000")?;
        settings = settings.deadline(phase(name)?, Duration::from_millis(limit.parse()?));
    }
    let shutdown = CoordinatedShutdown::start(settings)?;
    for phase in Phase::ALL {
        shutdown.register(phase, "well-behaved", async { Ok::<_, Infallible>(()) })?;
    }
    if let Some(name) = &arguments.hang {
        shutdown.register(phase(name)?, "hanging", std::future::pending::<Result<(), Infallible>>())?;
    }
    if let Some(name) = &arguments.fail {
        shutdown.register(phase(name)?, "failing", async { Err("no space left on device") })?;
    }
    if let Some(name) = &arguments.panic {
        shutdown.register(phase(name)?, "panicking", async {
            Vec::<Result<(), Infallible>>::new().pop().expect("it was there before")
        })?;
    }
    if let Some(name) = &arguments.block {
        for number in 0..2 {
            shutdown.register(phase(name)?, format!("blocking {number}"), async {
                loop {
                    std::thread::park();
                }
                #[allow(unreachable_code, reason = "says of which type the task is")]
                Ok::<_, Infallible>(())
            })?;
        }
    }
    println!("ready");
    std::io::stdout().flush()?;
    if let Some(why) = arguments.reason {
        let text = || "as --reason says".to_owned();
        shutdown.begin(match why {
            Why::Requested => Reason::Requested(text()),
            Why::Left => Reason::Left,
            Why::Downed => Reason::Downed,
            Why::JoinFailed => Reason::JoinFailed(text()),
            Why::Incompatible => Reason::Incompatible(text()),
            Why::Failed => Reason::Failed(text()),
        });
    }
    let report = shutdown.ended().await;
    println!("{report}");
    Ok(ExitCode::from(report.exit_code()))
}

fn phase(name: &str) -> anyhow::Result<Phase> {
    let found = Phase::ALL.into_iter().find(|phase| phase.name() == name);
    found.with_context(|| format!("`{name}` is none of {}", Phase::ALL.map(Phase::name).join(", ")))
}
