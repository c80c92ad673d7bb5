//! An e-mail address belongs to one user only, whoever asks at the same time and whenever the process dies.
//!
//! ```text
//! cargo run --example signup -- --journal sqlite://users.db
//! signup u-1 Ada@Example.com
//! ```
//!
//! It reads lines from standard input and answers each on standard output when it is on disk:
//!
//! | answer | what to do next |
//! |---|---|
//! | `welcome u-1` | nothing: the address is theirs |
//! | `taken u-1` | tell the user; another user has the address |
//! | `expired u-1` | sign up again with a new id: it took so long that another was let through |
//! | `busy u-1` | send it again later: another user is signing up with the address |
//! | `failed u-1 rejected …` | nothing: the user is registered with another address |
//! | `failed u-1 …` | send it again: nobody knows what came of it, and it counts once |
//!
//! `ready` says that it has begun. End it with the end of its input, or as you like.
//!
//! | file | what |
//! |---|---|
//! | `address.rs` | the address: free, reserved, taken |
//! | `user.rs` | the user: registered, or abandoned |
//! | `registration.rs` | the steps over both, and what is done about those that a crash cut off |

mod address;
mod registration;
mod user;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use annals::prelude::*;
use anyhow::Context as _;
use clap::Parser;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;

use address::Address;
use registration::{Outcome, Registration};
use user::User;

/// Reads `signup USER ADDRESS` from standard input.
#[derive(Debug, Parser)]
#[command(
    name = "signup",
    after_help = "Example:\n  echo 'signup u-1 Ada@Example.com' | signup --journal sqlite://users.db\n\n\
                  Each line is answered when it is on disk: welcome, taken, expired, busy or failed, and the user."
)]
struct Options {
    /// Where the events are: sqlite://PATH, or memory: to forget everything on exit.
    #[arg(long, value_name = "URL", default_value = "sqlite://users.db")]
    journal: String,
    /// How long an address is kept for a user who does not come to an end, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 60_000)]
    reservation_ms: u64,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<()> {
    let node = Annals::builder("users")
        .journal(&options.journal)
        .entity::<Address>()
        .entity::<User>()
        .start()
        .await
        .context("cannot start; see --journal")?;
    let registration = Registration::new(node.clone(), Duration::from_millis(options.reservation_ms));
    say("ready");

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut under_way = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        while under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let registration = registration.clone();
        under_way.spawn(async move { say(&answer(&registration, &line).await) });
    }
    while under_way.join_next().await.is_some() {}
    node.shutdown().await;
    Ok(())
}

/// Sign-ups that are carried out at a time; more wait in the pipe.
const AT_ONCE: usize = 64;

async fn answer(registration: &Registration, line: &str) -> String {
    let ["signup", user, address] = *line.split(' ').collect::<Vec<_>>() else {
        return format!("failed {line} write `signup USER ADDRESS`");
    };
    match registration.sign_up(user, address).await {
        Ok(Outcome::Welcome) => format!("welcome {user}"),
        Ok(Outcome::Taken) => format!("taken {user}"),
        Ok(Outcome::Busy) => format!("busy {user}"),
        Ok(Outcome::Expired) => format!("expired {user}"),
        Err(error) => format!("failed {user} {error:#}"),
    }
}

fn say(line: &str) {
    // Whoever does not listen any more need not be told.
    let _ = writeln!(std::io::stdout(), "{line}");
}
