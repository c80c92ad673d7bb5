//! A full disk: nothing is acknowledged, the journal says so, and it goes on when there is room again.
#![cfg(all(feature = "sqlite", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;
mod support;

use std::process::{Command, Stdio};

use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{Head, Journal, JournalError, JournalExt, PersistenceId, ReplayRange, Replayed, Write};
use bytes::Bytes;
use futures::StreamExt;
use support::{append, id, token};

async fn append_one(journal: &SqliteJournal, id: &PersistenceId, head: u64) -> Result<Head, JournalError> {
    let mut write = append(id, token(1, 1), head, 1);
    write.events[0].payload = Bytes::from(vec![b'x'; 2_000]);
    journal.write_one(Write::Append(write)).await
}

async fn numbers(journal: &SqliteJournal, id: &PersistenceId) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut replay = journal.replay(ReplayRange::all(id));
    while let Some(item) = replay.next().await {
        match item.unwrap() {
            Replayed::Event(event) => numbers.push(event.envelope.seq_nr.get()),
            other => panic!("{other:?}"),
        }
    }
    numbers
}

fn says_full(error: &JournalError) -> bool {
    matches!(error, JournalError::Unavailable { .. }) && error.to_string().contains("disk is full")
}

async fn limit_pages(journal: &SqliteJournal, pages: u32) {
    let limit = journal.database().transact(move |tx| {
        tx.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |row| row.get::<_, i64>(0))
    });
    limit.await.unwrap();
}

#[tokio::test]
async fn a_quota_refuses_and_the_journal_goes_on_when_it_is_raised() {
    let directory = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(directory.path().join("full.db"), Options::default()).await.unwrap();
    let (alice, bob) = (id("alice"), id("bob"));
    limit_pages(&journal, 100).await;
    let mut stored = 0;
    let error = loop {
        match append_one(&journal, &alice, stored).await {
            Ok(head) => stored = head.seq_nr.get(),
            Err(error) => break error,
        }
    };
    assert!(says_full(&error), "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    // A list is stored whole or not at all.
    let list = (0..40).map(|n| Write::Append(append(&bob, token(1, 1), n * 100, 100))).collect();
    for answer in journal.write(list).await {
        assert!(says_full(&answer.unwrap_err()));
    }
    assert_eq!(numbers(&journal, &alice).await, (1..=stored).collect::<Vec<_>>());
    assert_eq!(journal.head(&bob).await.unwrap(), Head::EMPTY);
    limit_pages(&journal, 10_000).await;
    append_one(&journal, &alice, stored).await.unwrap();
    assert_eq!(numbers(&journal, &alice).await, (1..=stored + 1).collect::<Vec<_>>());
}

/// The limit is the shell's, before the child starts, and is raised from outside while it runs.
#[test]
fn a_file_size_limit_refuses_and_the_same_process_goes_on_when_it_is_raised() {
    const NAME: &str = "a_file_size_limit_refuses_and_the_same_process_goes_on_when_it_is_raised";
    const ENOUGH: u64 = 400;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(path) = children::task() {
        runtime.block_on(append_until(&path, ENOUGH));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.db");
    // Without a limit, so that there is a file to append to.
    runtime.block_on(async {
        SqliteJournal::open(&path, Options::default()).await.unwrap().database().close().await;
    });
    let mut limited = Command::new("sh");
    // A write over the limit is to be an error, not a signal. 640 blocks of 512 bytes (1,024 in some shells).
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 640; exec \"$0\" \"$@\""]);
    limited.arg(std::env::current_exe().unwrap()).args(children::arguments(NAME));
    let mut child = children::with_task(&mut limited, path.to_str().unwrap()).spawn().unwrap();
    let (mut acknowledged, mut refused, mut raised) = (0, 0, false);
    for line in children::lines(&mut child) {
        let (what, rest) = line.split_once(' ').unwrap();
        if what == "stored" {
            acknowledged = rest.parse().unwrap();
            continue;
        }
        assert!(rest.contains("disk is full"), "{rest}");
        refused += 1;
        // Some errors later it is certain that it does not help itself by emptying its write-ahead log.
        if refused >= 5 && !raised {
            let pid = child.id().to_string();
            let status = Command::new("prlimit")
                .args(["--pid", &pid, "--fsize=unlimited"])
                .stdin(Stdio::null())
                .status();
            assert!(status.unwrap().success(), "prlimit (util-linux) raises the limit");
            raised = true;
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(raised, "the limit was never reached");
    assert_eq!(acknowledged, ENOUGH);
    runtime.block_on(async {
        let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
        assert_eq!(numbers(&journal, &id("alice")).await, (1..=ENOUGH).collect::<Vec<_>>());
    });
}

async fn append_until(path: &str, enough: u64) {
    let journal = SqliteJournal::open(path, Options::default()).await.unwrap();
    let alice = id("alice");
    let mut stored = 0;
    while stored < enough {
        match append_one(&journal, &alice, stored).await {
            Ok(head) => {
                stored = head.seq_nr.get();
                children::say(format_args!("stored {stored}"));
            }
            Err(error) => {
                assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
                assert_eq!(journal.head(&alice).await.unwrap().seq_nr.get(), stored, "nothing more is seen");
                children::say(format_args!("refused {error}"));
            }
        }
    }
}
