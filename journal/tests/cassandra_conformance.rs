//! The Cassandra backend keeps the contract: alone, in small buckets, behind group commit and behind keys.
#![cfg(all(feature = "conformance", feature = "cassandra"))]

#[path = "support/cassandra.rs"]
mod cassandra;
#[path = "support/others.rs"]
mod others;

use std::sync::Arc;

use annals_journal::cassandra::CassandraJournal;
use annals_journal::conformance::{Place, Store};
use annals_journal::{GroupCommit, GroupCommitSettings};

async fn open(place: &Place, bucket_events: u64) -> Option<Arc<CassandraJournal>> {
    let options = cassandra::options(&place.name()).bucket_events(bucket_events);
    Some(Arc::new(cassandra::open(&cassandra::url()?, options).await))
}

/// Appends, deletions and replays cross the borders of buckets all the time.
const SMALL: u64 = 3;
const USUAL: u64 = 1_000;

annals_journal::conformance!(alone, |place| async move {
    let Some(journal) = open(&place, SMALL).await else { return Store::missing(cassandra::MISSING) };
    let keyspace = journal.keyspace().clone();
    Store::new(journal.clone(), journal).on_close(async move || keyspace.close().await).outlives_process()
});

annals_journal::conformance!(group_commit, |place| async move {
    let Some(backend) = open(&place, USUAL).await else { return Store::missing(cassandra::MISSING) };
    let keyspace = backend.keyspace().clone();
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    Store::new(Arc::new(journal.clone()), backend)
        .on_close(async move || {
            journal.shutdown().await;
            keyspace.close().await;
        })
        .outlives_process()
});

#[cfg(feature = "encryption")]
annals_journal::conformance!(sealed, |place| async move {
    let Some(backend) = open(&place, USUAL).await else { return Store::missing(cassandra::MISSING) };
    let keyspace = backend.keyspace().clone();
    let group = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    let journal = Arc::new(sealed_support::sealed(Arc::new(group.clone()), backend.clone()).await);
    Store::new(journal, Arc::new(others::Others(backend)))
        .on_close(async move || {
            group.shutdown().await;
            keyspace.close().await;
        })
        .outlives_process()
});

#[cfg(feature = "encryption")]
#[path = "support/sealed.rs"]
mod sealed_support;
