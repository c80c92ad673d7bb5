//! A bank over HTTP: the reference application of Annals.
//!
//! Each account is a persistent actor; its events are in an SQLite file. An answered change is on disk, and a request
//! that is sent again with the same `request_id` gets the first answer and changes nothing, also after a crash.
//!
//! ```text
//! cargo run --release --example bank
//! curl -X POST localhost:8080/accounts/alice/deposit -d '{"cents": 500, "request_id": "a-1"}'
//! curl -X POST localhost:8080/accounts/alice/withdraw -d '{"cents": 200, "request_id": "a-2"}'
//! curl localhost:8080/accounts/alice
//! curl localhost:8080/accounts/alice/events
//! curl -X POST localhost:8080/accounts/bob/deposit -d '{"cents": 1, "request_id": "b-1"}'
//! curl -X POST localhost:8080/transfers -d '{"from": "alice", "to": "bob", "cents": 100, "request_id": "t-1"}'
//! curl localhost:8080/transfers/t-1
//! curl localhost:8080/accounts?top=20
//! curl localhost:8080/turnover?days=7
//! ```
//!
//! With `--keys file:ring.json` events and snapshots are sealed; `annals keys generate ring.json` makes the ring. The balances and the turnover of
//! all accounts are views beside the journal, and would lie there in the clear: a sealed bank has them with `--clear-views` only.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{"id","cents","seq_nr"}` | done and on disk; the first answer, when this `request_id` was answered before |
//! | 200 `{"id","state":"completed"}` | the transfer is done; its id is its `request_id`, for ever |
//! | 202 with `Location` | the transfer takes longer than 5 s, or than `Prefer: wait=seconds`: look there |
//! | 400, 413 | not a request: bad JSON, no `request_id`, cents that are no whole number above zero, a bad account id |
//! | 200 `[{"id","cents"}]`, `[{"day","deposited","withdrawn"}]` | all accounts together, largest first, and per day: everything that was answered before is in it |
//! | 404 | this account was never used; or this bank has no views |
//! | 422 | the transfer failed, and the sender has what it had (a receiver that was never used refuses); or the account says no (nothing is remembered of it), or the `request_id` was used for another change |
//! | 500 | this account is broken: an operator must look |
//! | 503 with `Retry-After` | not now: send it again with the same `request_id`; it counts once |
//!
//! A `request_id` is remembered (by [`Requests`](annals::actors::Requests)) while it is among the last 1,000 of its
//! account, and for 24 hours while it is among the last 10,000.
//!
//! | file | what |
//! |---|---|
//! | `account.rs` | the aggregate: events, commands, decisions |
//! | `transit.rs` | what an account does for a transfer |
//! | `transfer.rs` | the transfer: a process over two accounts, as a persistent actor |
//! | `transfers.rs` | drives transfers to their end, also after a crash |
//! | `transfer_http.rs` | the transfer's routes |
//! | `request.rs` | what a client sends, checked |
//! | `views.rs`, `views/` | balances by size and turnover by day, projected from the events |
//! | `http.rs`, `event_line.rs`, `problem.rs` | routes, the lines of `/events`, errors |

mod account;
mod event_line;
mod http;
mod problem;
mod request;
mod transfer;
mod transfer_http;
mod transfers;
mod transit;
mod views;

use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use annals::prelude::*;
use annals::shutdown::{CoordinatedShutdown, Phase, Reason, ShutdownSettings};
use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use account::Account;
use transfer::Transfer;
use transfers::Transfers;
use views::Views;

/// A bank over HTTP: deposits, withdrawals and balances that survive every crash.
#[derive(Debug, Parser)]
#[command(name = "bank", args_conflicts_with_subcommands = true, after_help = EXAMPLE)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change what is stored.
    #[command(subcommand)]
    Migrate(annals_cli::Migrate),
}

#[derive(Debug, Args)]
struct Options {
    /// Where the events are: sqlite://PATH, postgres://HOST/DATABASE (built with the feature postgres), or memory: to forget
    /// everything on exit.
    #[arg(long, value_name = "URL", default_value = "sqlite://bank.db")]
    journal: String,
    /// Master keys, to seal events and snapshots with: file:ring.json or env:NAME; several times: the first is active.
    #[arg(long, value_name = "SOURCE", env = "ANNALS_KEYS", value_delimiter = ' ')]
    keys: Vec<String>,
    /// Keep the views of a sealed bank, too, although balances then lie in the clear.
    #[arg(long)]
    clear_views: bool,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Start although events of this manifest may be stored that this build does not read: only the accounts and transfers that hold them
    /// fail. May be given several times.
    #[arg(long, value_name = "MANIFEST")]
    allow_unreadable: Vec<String>,
    /// How long the accounts of a transfer may take to agree, in milliseconds; then it fails and the sender has its money back.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    transfer_timeout_ms: u64,
    /// How long an account may take before a client is told to try again, in milliseconds: longer than the journal waits for a lock (5 s),
    /// so that the client hears of that.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 8_000)]
    answer_within_ms: u64,
    /// How long stopping may take, in milliseconds: each phase has its share, and what is not done then is broken off, which is as good as a
    /// crash: every answered change is there. Less than the supervisor's patience (30 s in Kubernetes).
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 25_000)]
    stop_within_ms: u64,
    /// How log lines on standard error look; RUST_LOG chooses which (default: info).
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

const EXAMPLE: &str = "\
Example:
  bank --journal sqlite://bank.db --listen 127.0.0.1:8080
  curl -X POST localhost:8080/accounts/alice/deposit -d '{\"cents\": 500, \"request_id\": \"a-1\"}'
  curl localhost:8080/accounts/alice
  bank migrate rewrite --journal sqlite://bank.db --to older.schemas.lock

SIGTERM or Ctrl-C stops it: it answers what it has begun, then exits with 0; with 1 when something did not finish, which its log names.
The second one ends it at once, with 143 or 130.";

fn main() -> ExitCode {
    let Arguments { command, options } = Arguments::parse();
    init_logs(options.log);
    let done = match command {
        None => run(&options),
        Some(Command::Migrate(what)) => migrate(what),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn migrate(what: annals_cli::Migrate) -> anyhow::Result<ExitCode> {
    let rewriter = Annals::builder("bank").entity::<Account>().entity::<Transfer>().rewriter()?;
    Ok(annals_cli::migrate(what, rewriter).await)
}

fn init_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = ShutdownSettings::within(Duration::from_millis(options.stop_within_ms));
    let shutdown = CoordinatedShutdown::start(settings)?;
    let transfers = Transfers::new(Duration::from_millis(options.transfer_timeout_ms));
    let cannot = "the bank cannot start; see --journal and --keys";
    let journal = annals::journal::open(&options.journal).await.context(cannot)?;
    let bank = Annals::builder("bank").open_journal(journal.clone());
    let bank = options.keys.iter().fold(bank, |bank, source| bank.keys(source));
    let bank = options.allow_unreadable.iter().fold(bank, |bank, manifest| bank.allow_unreadable(manifest));
    let node = bank
        .entity::<Account>()
        .kind(Kind::<Transfer>::new().service(transfers.clone()))
        .ask_timeout(Duration::from_millis(options.answer_within_ms))
        .shutdown(&shutdown)
        .start()
        .await
        .context(cannot)?;
    let has_views = options.keys.is_empty() || options.clear_views;
    let views = if has_views { Views::start(&node, &journal)? } else { None };
    transfers.resume(&node).await.context("transfers under way could not be found; see --journal")?;
    // They end, or are left for the next start, when the entities refuse commands.
    let under_way = transfers.clone();
    shutdown.register(Phase::Passivate, "transfers", async move {
        under_way.ended().await;
        Ok::<_, Infallible>(())
    })?;
    let listener = TcpListener::bind(&options.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", options.listen)
    })?;
    // For whoever chose port 0; nobody has to read it.
    let _ = writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?);

    serve(listener, http::routes(node, transfers, views, shutdown.clone()), &shutdown)?;
    Ok(ExitCode::from(shutdown.ended().await.exit_code()))
}

/// Answers requests until the bank stops: then no new connections, and answers to what has begun.
fn serve(listener: TcpListener, routes: Router, shutdown: &CoordinatedShutdown) -> anyhow::Result<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = listener.tap_io(|connection| {
        // Answers are small and complete: waiting for more to send would only delay them.
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let begins = shutdown.clone();
    let mut server = tokio::spawn(async move {
        if let Err(error) = server.await {
            begins.begin(Reason::Failed(format!("the HTTP server failed: {error}")));
        }
    });
    shutdown.register(Phase::StopAccepting, "http", async {
        drop(stop);
        Ok::<_, Infallible>(())
    })?;
    let patience = shutdown.settings().deadline_of(Phase::Drain).mul_f64(0.9);
    shutdown.register(Phase::Drain, "http", async move {
        match timeout(patience, &mut server).await {
            Ok(served) => served.context("the HTTP server died"),
            // A client that is slow, or does not read, is no reason to end otherwise.
            Err(_) => {
                tracing::warn!(?patience, "breaking off clients that did not finish");
                server.abort();
                Ok(())
            }
        }
    })?;
    Ok(())
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use annals::testing::SchemaLock;

    use crate::account::Account;
    use crate::transfer::Transfer;

    #[test]
    fn what_older_builds_stored_is_read() {
        SchemaLock::at("examples/bank/schemas.lock").entity::<Account>().entity::<Transfer>().check();
    }
}
