//! The memory backend keeps the contract, alone and behind group commit.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use annals_journal::conformance::Store;
use annals_journal::{GroupCommit, GroupCommitSettings, MemoryJournal};

annals_journal::conformance!(memory, |_place| async {
    let memory = Arc::new(MemoryJournal::new());
    Store::new(memory.clone(), memory)
});

annals_journal::conformance!(group_commit, |_place| async {
    let memory = Arc::new(MemoryJournal::new());
    let journal = GroupCommit::new(memory.clone(), GroupCommitSettings::default());
    Store::new(Arc::new(journal.clone()), memory).on_close(async move || journal.shutdown().await)
});
