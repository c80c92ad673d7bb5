//! The SQLite backend keeps the contract, in both durabilities and behind group commit.
#![cfg(all(feature = "conformance", feature = "sqlite"))]

use std::sync::Arc;

use annals_journal::conformance::{Place, Store};
use annals_journal::sqlite::{Durability, Options, SqliteJournal};
use annals_journal::{GroupCommit, GroupCommitSettings};

async fn open(place: &Place, durability: Durability) -> Arc<SqliteJournal> {
    let (path, options) = (place.directory().join("journal.db"), Options::default().durability(durability));
    Arc::new(SqliteJournal::open(path, options).await.expect("the file of this place"))
}

fn store(journal: Arc<SqliteJournal>) -> Store {
    let database = journal.database().clone();
    Store::new(journal.clone(), journal).on_close(async move || database.close().await).outlives_process()
}

annals_journal::conformance!(each_commit, |place| async move {
    store(open(&place, Durability::EachCommit).await)
});

annals_journal::conformance!(os, |place| async move { store(open(&place, Durability::Os).await) });

annals_journal::conformance!(group_commit, |place| async move {
    let backend = open(&place, Durability::EachCommit).await;
    let database = backend.database().clone();
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    Store::new(Arc::new(journal.clone()), backend)
        .on_close(async move || {
            journal.shutdown().await;
            database.close().await;
        })
        .outlives_process()
});
