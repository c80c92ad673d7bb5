use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use annals::actors::Stores;
use annals::actors::plain::Mailbox;
use annals::journal::JournalUrl;
use annals::journal::encryption::Ring;
use annals::prelude::*;
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::account::{Account, Counts, Deposit};
use crate::commits::Commits;
use crate::contestant::{Contestant, Persisted};
use crate::event::Event as Payload;
use crate::scenario::Load;

/// Annals as a user has it: a node of persistent actors, asked for replies.
#[derive(Clone)]
pub(crate) struct AnnalsNode {
    pub(crate) journal: JournalChoice,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) commits: Commits,
    pub(crate) settings: Settings,
}

/// What the node persists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalChoice {
    Sqlite,
    Memory,
    /// The journal with this URL.
    Postgres(&'static str),
}

/// How its entities are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// A snapshot after so many events; `None`, so that only events are compared.
    pub(crate) snapshot_every: Option<u64>,
    /// How long an idle entity stays in memory; `None`: for ever.
    pub(crate) passivate_after: Option<Duration>,
    /// Of an entity's mailbox.
    pub(crate) mailbox: usize,
    /// Behind the keys of a ring beside the file.
    pub(crate) sealed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { snapshot_every: None, passivate_after: None, mailbox: 1024, sealed: false }
    }
}

impl Contestant for AnnalsNode {
    fn name(&self) -> &'static str {
        match self.journal {
            JournalChoice::Sqlite | JournalChoice::Postgres(_) => "annals",
            JournalChoice::Memory => "memory",
        }
    }

    fn persist(&self, load: &Load, folder: &Path, _rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(async {
            let node = self.start(folder).await?;
            let before = self.commits.count();
            let started = Instant::now();
            let Deposited { elapsed: replied, latencies } = deposit(&node, load).await?;
            let commits = self.commits.count() - before;
            node.shutdown().await;
            // The last snapshots are stored when the node has stopped; without them, stopping is nobody's work.
            let elapsed = if self.settings.snapshot_every.is_some() { started.elapsed() } else { replied };
            Ok(Persisted { elapsed, latencies, commits: Some(commits) })
        })
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        self.runtime.block_on(async {
            let node = self.start(folder).await?;
            recovered::<Account>(node, load).await
        })
    }
}

/// How long a node takes to bring all entities of a load back; it is stopped then.
pub(crate) async fn recovered<A: Counts>(node: Node, load: &Load) -> Result<Duration> {
    let Counted { events, elapsed, .. } = count::<A>(&node, load, AT_ONCE).await?;
    node.shutdown().await;
    let stored = load.stored_after();
    ensure!(events == stored, "{events} events came back, {stored} were stored");
    Ok(elapsed)
}

impl AnnalsNode {
    /// A node on the file in a folder.
    pub(crate) async fn start(&self, folder: &Path) -> Result<Node> {
        let stores = self.stores(folder).await?;
        self.start_in(stores, folder).await
    }

    /// The stores of a folder.
    pub(crate) async fn stores(&self, folder: &Path) -> Result<Stores> {
        let url = match self.journal {
            JournalChoice::Sqlite => format!("sqlite://{}", folder.join(FILE).display()),
            JournalChoice::Memory => "memory:".to_owned(),
            JournalChoice::Postgres(url) => url.to_owned(),
        };
        let opened = url.parse::<JournalUrl>()?.open().await?;
        let snapshots = annals::snapshot::open_beside(&opened).await?;
        // A bench of something else than it says would be worse than none.
        let on_disk = folder.join(FILE).exists();
        ensure!(on_disk == (self.journal == JournalChoice::Sqlite), "another journal was opened");
        Ok(Stores { journal: opened.journal, records: opened.records, snapshots })
    }

    /// A node on stores that may be sealed with the ring of a folder.
    pub(crate) async fn start_in(&self, stores: Stores, folder: &Path) -> Result<Node> {
        let keys = if self.settings.sealed { Some(ring(folder)?) } else { None };
        self.start_with::<Account>(stores, keys).await
    }

    pub(crate) async fn start_on(&self, stores: Stores) -> Result<Node> {
        self.start_kind::<Account>(stores).await
    }

    /// A node of another kind of entity.
    pub(crate) async fn start_kind<A: PersistentActor>(&self, stores: Stores) -> Result<Node> {
        self.start_with::<A>(stores, None).await
    }

    async fn start_with<A: PersistentActor>(&self, stores: Stores, keys: Option<String>) -> Result<Node> {
        let policy =
            self.settings.snapshot_every.map_or_else(SnapshotPolicy::never, SnapshotPolicy::every_events);
        let kind = Kind::<A>::new().snapshots(policy).mailbox(Mailbox::bounded(self.settings.mailbox));
        let kind = match self.settings.passivate_after {
            Some(idle) => kind.passivate_after(idle),
            None => kind.never_passivate(),
        };
        let bench = Annals::builder("bench").stores(stores);
        keys.into_iter()
            .fold(bench, |bench, keys| bench.keys(keys))
            .kind(kind)
            .ask_timeout(PATIENCE)
            .recovery_timeout(PATIENCE)
            .start()
            .await
            .context("starting a node")
    }
}

/// The source of a folder's ring, which is made when there is none.
fn ring(folder: &Path) -> Result<String> {
    let ring = folder.join("ring.json");
    if !ring.exists() {
        std::fs::write(&ring, Ring::generate()?.to_json().as_bytes())?;
    }
    Ok(format!("file:{}", ring.display()))
}

/// What a load's commands took.
pub(crate) struct Deposited {
    /// From the first command to the last reply.
    pub(crate) elapsed: Duration,
    /// Nanoseconds from command to reply.
    pub(crate) latencies: Histogram<u64>,
}

/// Sends a load's commands from as many tasks as may be in flight.
pub(crate) async fn deposit(node: &Node, load: &Load) -> Result<Deposited> {
    let entities: Arc<[EntityRef<Account>]> =
        (0..load.entities).map(|index| entity(node, load, index)).collect();
    let (next, events) = (Arc::new(AtomicU32::new(0)), load.events());
    let payload = Arc::new(Payload::of_bytes(load.bytes));
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..load.in_flight {
        let (entities, next, payload) = (Arc::clone(&entities), Arc::clone(&next), Arc::clone(&payload));
        senders.spawn(async move {
            let mut nanos = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return anyhow::Ok(nanos);
                }
                let entity = &entities[number as usize % entities.len()];
                let began = Instant::now();
                entity.ask(Deposit::from(Payload::clone(&payload))).await.context("a deposit")?;
                nanos.push(u64::try_from(began.elapsed().as_nanos())?);
            }
        });
    }
    let senders = senders.join_all().await;
    let elapsed = started.elapsed();
    let mut latencies = Histogram::new(3)?;
    for sender in senders {
        for nanos in sender? {
            latencies.record(nanos)?;
        }
    }
    ensure!(latencies.len() == u64::from(events), "{} replies to {events} commands", latencies.len());
    Ok(Deposited { elapsed, latencies })
}

/// What came back.
pub(crate) struct Counted {
    pub(crate) events: u32,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from question to answer.
    pub(crate) latencies: Histogram<u64>,
}

/// Wakes all entities of a load, some at a time, and adds up how many events they have.
pub(crate) async fn count<A: Counts>(node: &Node, load: &Load, at_once: u32) -> Result<Counted> {
    let next = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let mut askers = JoinSet::new();
    for _ in 0..at_once.min(load.entities) {
        let (node, load, next) = (node.clone(), *load, Arc::clone(&next));
        askers.spawn(async move {
            let (mut events, mut nanos) = (0, Vec::new());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= load.entities {
                    return anyhow::Ok((events, nanos));
                }
                let began = Instant::now();
                events += A::count(&node.entity(&name(&load, index))).await?;
                nanos.push(u64::try_from(began.elapsed().as_nanos())?);
            }
        });
    }
    let askers = askers.join_all().await;
    let mut all = Counted { events: 0, elapsed: started.elapsed(), latencies: Histogram::new(3)? };
    for asker in askers {
        let (events, latencies) = asker?;
        all.events += events;
        for nanos in latencies {
            all.latencies.record(nanos)?;
        }
    }
    Ok(all)
}

pub(crate) fn entity(node: &Node, load: &Load, index: u32) -> EntityRef<Account> {
    node.entity(&name(load, index))
}

/// What the entity with an index is called.
pub(crate) fn name(load: &Load, index: u32) -> String {
    format!("a-{:04}", load.entity(index))
}

/// Entities that are woken at a time.
pub(crate) const AT_ONCE: u32 = 1_000;
pub(crate) const FILE: &str = "annals.db";
const PATIENCE: Duration = Duration::from_secs(300);
