//! How the journal in this directory was recorded: by three builds, one after the other, from commands.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use annals::actors::{Node, Stores};
use annals::journal::MemoryJournal;
#[cfg(test)]
use annals::journal::{PersistenceId, SeqNr};
use annals::prelude::*;
#[cfg(test)]
use annals::snapshot::SnapshotStore as _;
use annals::snapshot::{MemorySnapshotStore, SnapshotPolicy};
use annals::testing::export;
use serde::{Deserialize, Serialize};

use crate::{first, second, today};

/// Money comes in, or goes out when it is below zero.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Change {
    pub(crate) cents: i64,
}

/// What only the first build knew.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Ping;

/// What an account has.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Read;

/// What one build does before the next one takes its place.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// Events between snapshots; 0: none.
    pub(crate) snapshot_every: usize,
    /// Accounts, and what comes in or goes out.
    pub(crate) changes: Vec<(String, i64)>,
}

/// Three builds on one journal.
#[derive(Clone)]
pub(crate) struct Builds {
    journal: Arc<MemoryJournal>,
    snapshots: Arc<MemorySnapshotStore>,
}

impl Builds {
    pub(crate) fn new() -> Self {
        Self { journal: Arc::new(MemoryJournal::new()), snapshots: Arc::new(MemorySnapshotStore::new()) }
    }

    /// The same journal, with all snapshots lost.
    #[cfg(test)]
    pub(crate) fn without_snapshots(&self) -> Self {
        Self { journal: Arc::clone(&self.journal), snapshots: Arc::new(MemorySnapshotStore::new()) }
    }

    /// Each build in its turn.
    pub(crate) async fn run(&self, phases: &[Phase; 3]) -> anyhow::Result<()> {
        let node = self.node(kind::<first::Account>(&phases[0])).await?;
        for (account, cents) in &phases[0].changes {
            node.entity::<first::Account>(account).ask(Change { cents: *cents }).await?;
            node.entity::<first::Account>(account).ask(Ping).await?;
        }
        node.shutdown().await;
        let node = self.node(kind::<second::Account>(&phases[1])).await?;
        for (account, cents) in &phases[1].changes {
            node.entity::<second::Account>(account).ask(Change { cents: *cents }).await?;
        }
        node.shutdown().await;
        let node = self.node(kind::<today::Account>(&phases[2])).await?;
        for (account, cents) in &phases[2].changes {
            node.entity::<today::Account>(account).ask(Change { cents: *cents }).await?;
        }
        node.shutdown().await;
        Ok(())
    }

    /// What an account has when today's build recovers it, and the number and version of the newest snapshot that is there.
    #[cfg(test)]
    pub(crate) async fn today(
        &self,
        account: &str,
    ) -> anyhow::Result<(serde_json::Value, Option<(SeqNr, u32)>)> {
        let id = PersistenceId::new(today::Account::KIND, account)?;
        let snapshot = self.snapshots.load(&id, SeqNr::MAX).await?;
        let node = self.node(Kind::<today::Account>::new()).await?;
        let read = node.entity::<today::Account>(account).ask(Read).await?;
        node.shutdown().await;
        Ok((read, snapshot.map(|snapshot| (snapshot.seq_nr, snapshot.schema_version))))
    }

    async fn node<A: PersistentActor>(&self, kind: Kind<A>) -> anyhow::Result<Node> {
        let stores = Stores {
            journal: self.journal.clone(),
            records: self.journal.clone(),
            snapshots: self.snapshots.clone(),
        };
        Ok(Node::builder("golden").kind(kind).start(stores).await?)
    }
}

fn kind<A: PersistentActor>(phase: &Phase) -> Kind<A> {
    let policy = match phase.snapshot_every {
        0 => SnapshotPolicy::never(),
        events => SnapshotPolicy::every_events(events as u64),
    };
    Kind::new().snapshots(policy)
}

/// Writes a new recording; answers how many events it has.
pub(crate) async fn record(to: &Path) -> anyhow::Result<u64> {
    let builds = Builds::new();
    // Each build on all accounts, because an older one does not start beside what a newer one has stored.
    let phase = |from: i64| {
        let changes = (0..6_i64).flat_map(|number| {
            let amounts = (0..=number % 4).map(move |at| from + 7 * at - 10 * number);
            amounts.map(move |amount| (format!("{}", 1_001 + number), amount))
        });
        Phase { snapshot_every: 0, changes: changes.collect() }
    };
    builds.run(&[phase(21), phase(30), phase(45)]).await?;
    let mut out = BufWriter::new(File::create(to)?);
    Ok(export(&*builds.journal, &mut out).await?)
}
