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

#[test]
fn every_clause_is_in_the_list() {
    let suite = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    let list = std::fs::read_to_string(suite.join("clauses.rs")).unwrap();
    let listed: Vec<_> = list.split_whitespace().collect();
    let mut clauses = 0;
    for file in std::fs::read_dir(&suite).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let begin = |line: &str| {
            Some(line.strip_prefix("pub async fn ")?.split_once("(h: &mut Harness)")?.0.to_owned())
        };
        for clause in text.lines().filter_map(begin) {
            assert!(listed.contains(&clause.as_str()), "{clause} is not in clauses.rs");
            clauses += 1;
        }
    }
    assert!(clauses > 100, "{clauses} clauses were found");
}
