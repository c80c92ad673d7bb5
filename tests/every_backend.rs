//! One entity is what its callers were told, on every backend, plain and behind keys: the model test of `actors/tests/model`, with its
//! faults in front of real stores.
//!
//! Runs last as long as their clock says, so many of them share the stores at a time.

#![cfg(all(feature = "postgres", feature = "cassandra", feature = "encryption", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

#[path = "../journal/tests/support/cassandra.rs"]
mod cassandra;
#[path = "../actors/tests/model/faulty.rs"]
mod faulty;
#[path = "../journal/tests/support/sealed.rs"]
mod keys;
#[path = "../actors/tests/model/ledger.rs"]
mod ledger;
#[path = "../journal/tests/support/postgres.rs"]
mod postgres;
#[path = "../actors/tests/model/run.rs"]
mod run;

use std::sync::Arc;

use annals_actors::Stores;
use annals_journal::encryption::{SealedJournal, SealedOptions};
use annals_journal::sqlite::{self, SqliteJournal};
use annals_journal::{Journal, MemoryJournal};
use annals_snapshot::{
    CassandraSnapshotStore, MemorySnapshotStore, PostgresSnapshotStore, SealedSnapshots, SqliteSnapshotStore,
};
use futures::FutureExt;
use run::{Place, Run, Seal};
use tokio::task::JoinSet;

/// How many runs a backend has at a time.
const RUNS: u64 = 8;

async fn memory() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

async fn sqlite(file: &std::path::Path) -> Stores {
    let journal = Arc::new(SqliteJournal::open(file, sqlite::Options::default()).await.unwrap());
    let snapshots = SqliteSnapshotStore::in_database(journal.database().clone()).await.unwrap();
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(snapshots) }
}

async fn postgres(url: &str) -> Stores {
    let journal = Arc::new(postgres::open(url, &postgres::schema()).await);
    let snapshots = PostgresSnapshotStore::in_database(journal.database().clone()).await.unwrap();
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(snapshots) }
}

async fn cassandra(url: &str) -> Stores {
    let journal = Arc::new(cassandra::open(url, cassandra::options(&cassandra::name())).await);
    let snapshots = CassandraSnapshotStore::in_keyspace(journal.keyspace().clone());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(snapshots) }
}

/// Runs the model on these stores, `ANNALS_SEED` or some that nobody has tried.
async fn holds(stores: Stores, sealed: bool) {
    let seal = match sealed {
        false => None,
        true => {
            let keys = keys::keys(Arc::clone(&stores.records)).await;
            let of_snapshots = keys.clone();
            Some(Seal {
                events: Arc::new(move |journal| {
                    let sealed = SealedJournal::open(journal, keys.clone(), SealedOptions::default());
                    async { Ok(Arc::new(sealed.await?) as Arc<dyn Journal>) }.boxed()
                }),
                snapshots: Arc::new(move |inner| Arc::new(SealedSnapshots::new(inner, of_snapshots.clone()))),
            })
        }
    };
    let place = Place { stores, seal, real_time: true };
    let only = std::env::var("ANNALS_SEED").ok().map(|seed| seed.parse().unwrap());
    let first = only.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64);
    let mut runs = JoinSet::new();
    for seed in first..first + only.map_or(RUNS, |_| 1) {
        runs.spawn(Run::new(seed, place.clone(), false).all());
    }
    let mut entered = 0;
    while let Some(ended) = runs.join_next().await {
        match ended {
            Ok([done, _, _]) => entered += done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    assert!(entered > 0, "no command was done");
}

macro_rules! on_every_backend {
    ($($name:ident: $sealed:expr;)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn memory() {
                super::holds(super::memory().await, $sealed).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let home = tempfile::tempdir().unwrap();
                super::holds(super::sqlite(&home.path().join("journal.db")).await, $sealed).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let Some(url) = super::postgres::url() else { return };
                super::holds(super::postgres(&url).await, $sealed).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cassandra() {
                let Some(url) = super::cassandra::url() else { return };
                super::holds(super::cassandra(&url).await, $sealed).await;
            }
        }
    )*};
}

on_every_backend! {
    plain: false;
    encrypted: true;
}
