//! The PostgreSQL backend keeps the contract, alone, in partitions, behind group commit and behind keys.
#![cfg(all(feature = "conformance", feature = "postgres"))]

#[path = "support/others.rs"]
mod others;
#[path = "support/postgres.rs"]
mod postgres;

use std::sync::Arc;

use annals_journal::conformance::{Place, Store};
use annals_journal::postgres::PostgresJournal;
use annals_journal::{GroupCommit, GroupCommitSettings};

async fn open(place: &Place) -> Option<Arc<PostgresJournal>> {
    Some(Arc::new(postgres::open(&postgres::url()?, &place.name()).await))
}

annals_journal::conformance!(alone, |place| async move {
    let Some(journal) = open(&place).await else { return Store::missing(postgres::MISSING) };
    let database = journal.database().clone();
    Store::new(journal.clone(), journal).on_close(async move || database.close().await).outlives_process()
});

annals_journal::conformance!(partitions, |place| async move {
    let Some(url) = postgres::url() else { return Store::missing(postgres::MISSING) };
    let options = postgres::options(&place.name()).partitions(3);
    let journal = PostgresJournal::open(&url, options).await.unwrap_or_else(|error| panic!("{error}"));
    let journal = Arc::new(journal);
    let database = journal.database().clone();
    Store::new(journal.clone(), journal).on_close(async move || database.close().await).outlives_process()
});

annals_journal::conformance!(group_commit, |place| async move {
    let Some(backend) = open(&place).await else { return Store::missing(postgres::MISSING) };
    let database = backend.database().clone();
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    Store::new(Arc::new(journal.clone()), backend)
        .on_close(async move || {
            journal.shutdown().await;
            database.close().await;
        })
        .outlives_process()
});

#[cfg(feature = "encryption")]
annals_journal::conformance!(sealed, |place| async move {
    let Some(backend) = open(&place).await else { return Store::missing(postgres::MISSING) };
    let database = backend.database().clone();
    let group = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    let journal = Arc::new(sealed_support::sealed(Arc::new(group.clone()), backend.clone()).await);
    Store::new(journal, Arc::new(others::Others(backend)))
        .on_close(async move || {
            group.shutdown().await;
            database.close().await;
        })
        .outlives_process()
});

#[cfg(feature = "encryption")]
#[path = "support/sealed.rs"]
mod sealed_support;
