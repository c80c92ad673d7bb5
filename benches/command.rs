//! One command's way through the engine with the journal in memory, and nothing else in the process: for profilers.
//!
//! `perf stat` and callgrind count what it does; docs/performance.md says what they counted.

#[path = "engine/account.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod account;
#[path = "engine/event.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod event;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use annals::prelude::*;
use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::account::{Account, Deposit};

/// Asks entities on a journal in memory, and prints how many commands a second that makes.
#[derive(Parser)]
struct Options {
    /// Entities that are asked in turn.
    #[arg(long, default_value_t = 1_000)]
    entities: u32,
    /// Commands in all.
    #[arg(long, default_value_t = 200_000)]
    commands: u32,
    /// Commands whose reply is waited for at a time.
    #[arg(long, default_value_t = 256)]
    in_flight: u32,
    /// Worker threads of the runtime; with one, instruction counts repeat.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = Builder::new_multi_thread().worker_threads(options.workers).enable_all().build()?;
    runtime.block_on(async {
        let kind = Kind::<Account>::new().snapshots(SnapshotPolicy::never()).never_passivate();
        let node = Annals::builder("bench").journal("memory:").kind(kind).start().await?;
        let entities: Arc<[EntityRef<Account>]> =
            (0..options.entities).map(|number| node.entity(&format!("a-{number:04}"))).collect();
        let next = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..options.in_flight {
            let (entities, next) = (Arc::clone(&entities), Arc::clone(&next));
            senders.spawn(async move {
                let payload = event::Event::example();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.commands {
                        return anyhow::Ok(());
                    }
                    let entity = &entities[number as usize % entities.len()];
                    entity.ask(Deposit::from(payload.clone())).await.context("a deposit")?;
                }
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender??;
        }
        let each = began.elapsed().as_secs_f64() / f64::from(options.commands);
        println!("{:.0} commands/s, {:.2} us each", each.recip(), each * 1e6);
        node.shutdown().await;
        Ok(())
    })
}
