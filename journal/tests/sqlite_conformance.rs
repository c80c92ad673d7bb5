//! The SQLite backend keeps the contract, in both durabilities.
#![cfg(all(feature = "conformance", feature = "sqlite"))]

use std::sync::Arc;

use annals_journal::conformance::{Place, Store};
use annals_journal::sqlite::{Durability, Options, SqliteJournal};

async fn open(place: &Place, durability: Durability) -> Store {
    let (path, options) = (place.directory().join("journal.db"), Options::default().durability(durability));
    let journal = Arc::new(SqliteJournal::open(path, options).await.expect("the file of this place"));
    let database = journal.database().clone();
    Store::new(journal.clone(), journal).on_close(async move || database.close().await).outlives_process()
}

annals_journal::conformance!(each_commit, |place| async move { open(&place, Durability::EachCommit).await });

annals_journal::conformance!(os, |place| async move { open(&place, Durability::Os).await });
