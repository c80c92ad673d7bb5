use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use annals::prelude::*;
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::account::{Account, Count, Deposit};
use crate::commits::Commits;
use crate::contestant::{Contestant, Persisted};
use crate::event::Event as Payload;
use crate::scenario::Load;

/// Annals as a user has it: a node of persistent actors, asked for replies. No snapshots, so that only events are compared.
pub(crate) struct AnnalsNode {
    pub(crate) journal: JournalChoice,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) commits: Commits,
}

/// What the node persists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalChoice {
    Sqlite,
    Memory,
}

impl Contestant for AnnalsNode {
    fn name(&self) -> &'static str {
        match self.journal {
            JournalChoice::Sqlite => "annals",
            JournalChoice::Memory => "memory",
        }
    }

    fn persist(&self, load: &Load, folder: &Path, _rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(async {
            let node = self.start(folder).await?;
            let before = self.commits.count();
            let started = Instant::now();
            let latencies = deposit(&node, load).await?;
            let elapsed = started.elapsed();
            let commits = self.commits.count() - before;
            node.shutdown().await;
            Ok(Persisted { elapsed, latencies, commits: Some(commits) })
        })
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        self.runtime.block_on(async {
            let node = self.start(folder).await?;
            let started = Instant::now();
            let counts = count(&node, load).await?;
            let elapsed = started.elapsed();
            node.shutdown().await;
            ensure!(counts == load.events(), "{counts} events came back, {} were stored", load.events());
            Ok(elapsed)
        })
    }
}

impl AnnalsNode {
    async fn start(&self, folder: &Path) -> Result<Node> {
        let file = folder.join("annals.db");
        let url = match self.journal {
            JournalChoice::Sqlite => format!("sqlite://{}", file.display()),
            JournalChoice::Memory => "memory:".to_owned(),
        };
        let kind = Kind::<Account>::new().snapshots(SnapshotPolicy::never()).never_passivate();
        let node = Annals::builder("bench")
            .journal(url)
            .kind(kind)
            .ask_timeout(PATIENCE)
            .recovery_timeout(PATIENCE)
            .start()
            .await
            .context("starting a node")?;
        // A bench of something else than it says would be worse than none.
        ensure!(file.exists() == (self.journal == JournalChoice::Sqlite), "the node uses another journal");
        Ok(node)
    }
}

/// Sends a load's commands from as many tasks as may be in flight; nanoseconds from each command to its reply.
async fn deposit(node: &Node, load: &Load) -> Result<Histogram<u64>> {
    let entities: Arc<[EntityRef<Account>]> = entities(node, load).collect();
    let (next, events) = (Arc::new(AtomicU32::new(0)), load.events());
    let mut senders = JoinSet::new();
    for _ in 0..load.in_flight {
        let (entities, next) = (Arc::clone(&entities), Arc::clone(&next));
        senders.spawn(async move {
            let payload = Payload::example();
            let mut latencies = Histogram::<u64>::new(3)?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return anyhow::Ok(latencies);
                }
                let entity = &entities[number as usize % entities.len()];
                let began = Instant::now();
                entity.ask(Deposit::from(payload.clone())).await.context("a deposit")?;
                latencies.record(u64::try_from(began.elapsed().as_nanos())?)?;
            }
        });
    }
    let mut latencies = Histogram::new(3)?;
    while let Some(sender) = senders.join_next().await {
        latencies.add(sender??)?;
    }
    ensure!(latencies.len() == u64::from(events), "{} replies to {events} commands", latencies.len());
    Ok(latencies)
}

/// Wakes all entities of a load at once; how many events they have together.
async fn count(node: &Node, load: &Load) -> Result<u32> {
    let mut asks = JoinSet::new();
    for entity in entities(node, load) {
        asks.spawn(async move { entity.ask(Count).await });
    }
    let mut events = 0;
    while let Some(answer) = asks.join_next().await {
        events += answer?.context("a recovery")?;
    }
    Ok(events)
}

fn entities(node: &Node, load: &Load) -> impl Iterator<Item = EntityRef<Account>> {
    (0..load.entities).map(|number| node.entity::<Account>(&format!("a-{number:04}")))
}

const PATIENCE: Duration = Duration::from_secs(120);
