//! What is said when a journal in Cassandra cannot be opened, or may not be written.
#![cfg(feature = "cassandra")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/cassandra.rs"]
mod cassandra;
mod support;

use annals_journal::cassandra::{CassandraJournal, OpenError};
use annals_journal::{
    Head, Journal, JournalError, JournalExt, Offset, RecordKey, Records, ReplayRange, SliceRange,
};
use futures::TryStreamExt as _;
use support::{append, id, token};

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    // Nobody listens on the port that was given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("cassandra://annals:sesame@127.0.0.1:{port}/bank");
    let error = CassandraJournal::open(&url, cassandra::options("a")).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(&format!("127.0.0.1:{port}")) && !said.contains("sesame"), "{said}");
}

#[tokio::test]
async fn who_only_looks_makes_nothing() {
    let Some(url) = cassandra::url() else { return };
    let missing = url.replace("annals_tests", "annals_nowhere");
    for _ in 0..2 {
        let error = CassandraJournal::open_read_only(&missing, cassandra::options("a")).await.unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_journal_that_was_opened_for_reading_refuses_what_changes_it() {
    let Some(url) = cassandra::url() else { return };
    let options = cassandra::options(&cassandra::name());
    let (a, token) = (id("a"), token(1, 1));
    let writer = cassandra::open(&url, options.clone()).await;
    writer.append(append(&a, token, 0, 3)).await.unwrap();
    let journal = CassandraJournal::open_read_only(&url, options).await.unwrap();
    let key = RecordKey::new("a").unwrap();
    let refused = [
        journal.append(append(&a, token, 3, 1)).await.map(drop),
        journal.claim(&a, token).await.map(drop),
        journal.delete_to(&a, support::nr(1)).await,
        journal.compare_and_set(&key, None, "1".into()).await.map(drop),
    ];
    for answer in refused {
        assert!(matches!(answer, Err(JournalError::Rejected { .. })), "{answer:?}");
    }
    let replayed: Vec<_> = journal.replay(ReplayRange::all(&a)).try_collect().await.unwrap();
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    assert_eq!((replayed.len(), page.items.len()), (3, 3));
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), std::slice::from_ref(&a));
    assert_eq!(journal.head(&a).await.unwrap().seq_nr, support::nr(3));
    writer.keyspace().close().await;
    let closed = writer.append(append(&a, token, 3, 1)).await.unwrap_err();
    assert!(matches!(closed, JournalError::Unavailable { .. }), "{closed}");
}

#[tokio::test]
async fn what_one_write_cannot_take_is_rejected_whole() {
    let Some(url) = cassandra::url() else { return };
    let journal = cassandra::open(&url, cassandra::options(&cassandra::name())).await;
    let (a, token) = (id("a"), token(1, 1));
    let mut write = append(&a, token, 0, 3);
    for event in &mut write.events {
        event.payload = vec![7; CassandraJournal::MAX_APPEND_BYTES / 3 + 1].into();
    }
    let error = journal.append(write.clone()).await.unwrap_err();
    assert!(matches!(error, JournalError::Rejected { .. }), "{error}");
    assert_eq!(journal.head(&a).await.unwrap(), Head::EMPTY);
    // As much as is allowed is one write.
    for event in &mut write.events {
        event.payload = vec![7; CassandraJournal::MAX_APPEND_BYTES / 3].into();
    }
    assert_eq!(journal.append(write).await.unwrap().seq_nr, support::nr(3));
}

#[tokio::test]
async fn an_offset_ahead_of_the_journal_is_refused() {
    let Some(url) = cassandra::url() else { return };
    let journal = cassandra::open(&url, cassandra::options(&cassandra::name())).await;
    journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap();
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    let ahead = Offset { major: page.complete_to.major + 1, ..page.complete_to };
    let error = journal.events_by_slice(SliceRange::ALL, ahead, 10).await.unwrap_err();
    assert!(
        matches!(error, JournalError::Rejected { .. }) && error.to_string().contains("backup"),
        "{error}"
    );
}
