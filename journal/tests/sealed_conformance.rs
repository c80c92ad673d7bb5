//! A journal behind keys keeps the contract, over every backend and in front of group commit.
#![cfg(all(feature = "conformance", feature = "sqlite", feature = "encryption"))]

#[path = "support/others.rs"]
mod others;
#[path = "support/sealed.rs"]
mod support;

use std::sync::Arc;

use annals_journal::conformance::{Place, Store};
use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{GroupCommit, GroupCommitSettings, Journal, MemoryJournal};
use others::Others;
use support::sealed;

async fn store(place: &Place, commits: bool) -> Store {
    let path = place.directory().join("journal.db");
    let backend = SqliteJournal::open(path, Options::default()).await.expect("the file of this place");
    let (backend, database) = (Arc::new(backend.clone()), backend.database().clone());
    let group = commits.then(|| GroupCommit::new(backend.clone(), GroupCommitSettings::default()));
    let inner: Arc<dyn Journal> = match &group {
        Some(group) => Arc::new(group.clone()),
        None => backend.clone(),
    };
    let journal = Arc::new(sealed(inner, backend.clone()).await);
    Store::new(journal, Arc::new(Others(backend)))
        .on_close(async move || {
            if let Some(group) = group {
                group.shutdown().await;
            }
            database.close().await;
        })
        .outlives_process()
}

annals_journal::conformance!(memory, |_place| async {
    let memory = Arc::new(MemoryJournal::new());
    Store::new(Arc::new(sealed(memory.clone(), memory.clone()).await), Arc::new(Others(memory)))
});

annals_journal::conformance!(memory_group_commit, |_place| async {
    let memory = Arc::new(MemoryJournal::new());
    let group = GroupCommit::new(memory.clone(), GroupCommitSettings::default());
    let journal = Arc::new(sealed(Arc::new(group.clone()), memory.clone()).await);
    Store::new(journal, Arc::new(Others(memory))).on_close(async move || group.shutdown().await)
});

annals_journal::conformance!(sqlite, |place| async move { store(&place, false).await });

annals_journal::conformance!(sqlite_group_commit, |place| async move { store(&place, true).await });
