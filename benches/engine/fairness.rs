//! What entities have of the node while one of them has too much to do, or does not come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use annals::actors::Stores;
use annals::prelude::*;
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::account::{Account, Count, Deposit};
use crate::annals::{AnnalsNode, JournalChoice, Settings, deposit, entity};
use crate::bench::{Bench, folder, progress};
use crate::event::Event as Payload;
use crate::measure::micros;
use crate::scenario::Load;
use crate::slow_replay::SlowReplay;
use crate::table::Row;

/// The p99 of 100 others beside a hot entity, and beside a recovery that does not end; each against that of the same 100 alone.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let settings = Settings { mailbox: 2 * WAITING as usize, ..Settings::default() };
    let ours = bench.annals(JournalChoice::Sqlite, settings);
    let others = Load { first: 1, ..Load::new(100, bench.choose(300, 50), 0) };
    let [mut alone, mut hot, mut recovering, mut alone_from_cold] = [vec![], vec![], vec![], vec![]];
    for run in bench.turns() {
        let samples = bench.runtime.block_on(async {
            anyhow::Ok([
                beside_nobody(&ours, &others).await?,
                beside_a_hot_one(&ours, &others).await?,
                beside_a_recovery(&ours, &others, Recovering::Ends).await?,
                beside_a_recovery(&ours, &others, Recovering::NeverEnds).await?,
            ])
        })?;
        progress("fairness", "p99 alone", run, samples[0], "us");
        progress("fairness", "p99 beside a hot one", run, samples[1], "us");
        progress("fairness", "p99 from cold", run, samples[2], "us");
        progress("fairness", "p99 beside a recovery", run, samples[3], "us");
        if run > 0 {
            for (values, sample) in
                [&mut alone, &mut hot, &mut alone_from_cold, &mut recovering].into_iter().zip(samples)
            {
                values.push(sample);
            }
        }
    }
    let hot_row = Row::of("fairness hot p99", "us", &hot).context("no run")?;
    let recovering_row = Row::of("fairness recovery p99", "us", &recovering).context("no run")?;
    Ok(vec![
        hot_row.beside(&hot, &alone).at_most(2.0),
        recovering_row.beside(&recovering, &alone_from_cold).at_most(2.0),
    ])
}

async fn beside_nobody(ours: &AnnalsNode, others: &Load) -> Result<f64> {
    let folder = folder()?;
    let node = ours.start(folder.path()).await?;
    let p99 = p99(&node, others).await?;
    node.shutdown().await;
    Ok(p99)
}

/// One entity has 10,000 commands waiting all the time.
async fn beside_a_hot_one(ours: &AnnalsNode, others: &Load) -> Result<f64> {
    let folder = folder()?;
    let node = ours.start(folder.path()).await?;
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let hot = entity(&node, &Load::new(1, 0, 0), 0);
    let mut senders = JoinSet::new();
    for _ in 0..WAITING {
        let (hot, stop, begun) = (hot.clone(), Arc::clone(&stop), Arc::clone(&begun));
        senders.spawn(async move {
            let payload = Payload::example();
            while !stop.load(Ordering::Relaxed) {
                hot.ask(Deposit::from(payload.clone())).await.context("a command of the hot one")?;
                begun.notify_one();
            }
            anyhow::Ok(())
        });
    }
    begun.notified().await;
    let p99 = p99(&node, others).await?;
    stop.store(true, Ordering::Relaxed);
    for sender in senders.join_all().await {
        sender?;
    }
    node.shutdown().await;
    Ok(p99)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recovering {
    Ends,
    NeverEnds,
}

/// The others have to recover themselves, while one does not come back before they are done.
async fn beside_a_recovery(ours: &AnnalsNode, others: &Load, recovering: Recovering) -> Result<f64> {
    let folder = folder()?;
    let before = Load { events_each: 10, in_flight: 101, first: 0, entities: 101, ..*others };
    let node = ours.start(folder.path()).await?;
    deposit(&node, &before).await?;
    node.shutdown().await;
    let stores = ours.stores(folder.path()).await?;
    let go_on = Arc::new(Notify::new());
    let slow_id = PersistenceId::new(Account::KIND, "a-0000")?;
    let (journal, begun) = SlowReplay::new(stores.journal, slow_id, Arc::clone(&go_on));
    let node = ours.start_on(Stores { journal: Arc::new(journal), ..stores }).await?;
    let slow: EntityRef<Account> = entity(&node, &before, 0);
    let slow = async move { slow.ask(Count).await.context("the slow recovery") };
    let mut asking = JoinSet::new();
    if recovering == Recovering::NeverEnds {
        asking.spawn(slow);
        begun.notified().await;
    }
    let p99 = p99(&node, others).await?;
    ensure!(asking.try_join_next().is_none(), "the recovery ended before the others were done");
    go_on.notify_one();
    for events in asking.join_all().await {
        ensure!(events? == before.events_each, "the slow recovery brought another number of events back");
    }
    node.shutdown().await;
    Ok(p99)
}

/// Of these entities, each with one command after the other.
async fn p99(node: &Node, others: &Load) -> Result<f64> {
    let mut senders = JoinSet::new();
    for index in 0..others.entities {
        let (entity, commands) = (entity(node, others, index), others.events_each);
        senders.spawn(async move {
            let payload = Payload::example();
            let mut nanos = Vec::new();
            for _ in 0..commands {
                let began = Instant::now();
                entity.ask(Deposit::from(payload.clone())).await.context("a command of another")?;
                nanos.push(u64::try_from(began.elapsed().as_nanos())?);
            }
            anyhow::Ok(nanos)
        });
    }
    let mut latencies = Histogram::new(3)?;
    for sender in senders.join_all().await {
        for nanos in sender? {
            latencies.record(nanos)?;
        }
    }
    Ok(micros(&latencies, 0.99))
}

/// Commands for the hot entity that have no reply yet.
const WAITING: u32 = 10_000;
