//! The journal on redb keeps the contract: alone, behind group commit, and behind keys.

#[path = "../../../journal/tests/support/others.rs"]
mod others;
#[path = "../../../journal/tests/support/sealed.rs"]
mod support;

use std::sync::Arc;

use annals_journal::conformance::{Place, Store};
use annals_journal::{GroupCommit, GroupCommitSettings};
use redb_journal::RedbJournal;

async fn open(place: &Place) -> Arc<RedbJournal> {
    let file = place.directory().join("journal.redb");
    Arc::new(RedbJournal::open(file).await.unwrap_or_else(|error| panic!("{error}")))
}

annals_journal::conformance!(alone, |place| async move {
    let journal = open(&place).await;
    Store::new(journal.clone(), journal).outlives_process()
});

annals_journal::conformance!(group_commit, |place| async move {
    let backend = open(&place).await;
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    Store::new(Arc::new(journal.clone()), backend)
        .on_close(async move || journal.shutdown().await)
        .outlives_process()
});

annals_journal::conformance!(sealed, |place| async move {
    let backend = open(&place).await;
    let group = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    let journal = support::sealed(Arc::new(group.clone()), backend.clone()).await;
    Store::new(Arc::new(journal), Arc::new(others::Others(backend)))
        .on_close(async move || group.shutdown().await)
        .outlives_process()
});
