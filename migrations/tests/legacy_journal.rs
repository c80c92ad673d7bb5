//! A journal around a journal, in which the rows of something else are the first events of their ids.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use annals_journal::conformance::Store;
use annals_journal::{
    AtomicWrite, Envelope, Epoch, Head, Journal, JournalError, JournalExt, MemoryJournal, PersistenceId,
    ReplayRange, Replayed, SeqNr, Token, Write, WriterId,
};
use annals_migrations::{LegacyJournal, LegacyMapping, LegacyRows};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

// Where there are no rows, it is the journal.
annals_journal::conformance!(without_rows, |_place| async {
    let journal = Arc::new(MemoryJournal::new());
    Store::new(Arc::new(LegacyJournal::new(journal.clone(), LegacyRows::default())), journal)
});

fn rows(count: usize) -> LegacyRows {
    let mapping: LegacyMapping =
        serde_json::from_value(json!({"kind": "account", "id": "stream", "event": "type", "time": "at",
            "events": {"Moved": "legacy.moved"}}))
        .unwrap();
    let rows: Vec<Value> = (0..count)
        .map(|n| json!({"stream": "alice", "type": "Moved", "at": 7, "cents": n}))
        .chain([json!({"stream": "bob", "type": "Moved", "at": 8, "cents": 1})])
        .collect();
    LegacyRows::new(&mapping, rows.iter().map(|row| row.as_object().unwrap())).unwrap()
}

fn id(name: &str) -> PersistenceId {
    PersistenceId::new("account", name).unwrap()
}

fn token(epoch: u64) -> Token {
    Token::new(Epoch(epoch), 1)
}

async fn payloads(journal: &dyn Journal, range: ReplayRange) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let mut replay = journal.replay(range);
    while let Some(item) = replay.try_next().await.unwrap() {
        let Replayed::Event(event) = item else { panic!("nothing was deleted") };
        let text = String::from_utf8(event.envelope.payload.to_vec()).unwrap();
        found.push((event.envelope.seq_nr.get(), text));
    }
    found
}

#[tokio::test]
async fn rows_are_read_where_they_are_and_taken_over_by_the_first_claim() {
    let inner = Arc::new(MemoryJournal::new());
    let journal = LegacyJournal::new(inner.clone(), rows(600));
    assert_eq!(journal.head(&id("alice")).await.unwrap().seq_nr.get(), 600);
    let some = ReplayRange::all(&id("alice")).from(SeqNr::new(300).unwrap()).limit(2);
    let expected = vec![(300, r#"{"cents":299}"#.to_owned()), (301, r#"{"cents":300}"#.to_owned())];
    assert_eq!(payloads(&journal, some.clone()).await, expected);
    assert_eq!(inner.head(&id("alice")).await.unwrap(), Head::EMPTY, "nothing is written by reading");

    let before = payloads(&journal, ReplayRange::all(&id("alice"))).await;
    let head = journal.claim(&id("alice"), token(3)).await.unwrap();
    assert_eq!((head.seq_nr.get(), head.token), (600, token(3)));
    assert_eq!(inner.head(&id("alice")).await.unwrap(), head);
    assert_eq!(payloads(&*inner, ReplayRange::all(&id("alice"))).await, before);
    assert_eq!(journal.claim(&id("alice"), token(4)).await.unwrap().seq_nr.get(), 600, "once");
    assert_eq!(inner.head(&id("bob")).await.unwrap(), Head::EMPTY, "each id by itself");
}

#[tokio::test]
async fn ids_of_both_are_listed_in_order() {
    let inner = Arc::new(MemoryJournal::new());
    inner.claim(&id("bertha"), token(1)).await.unwrap();
    let journal = LegacyJournal::new(inner, rows(1));
    let names = |ids: Vec<PersistenceId>| ids.iter().map(|id| id.entity_id().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(journal.persistence_ids(None, 10).await.unwrap()), ["alice", "bertha", "bob"]);
    assert_eq!(names(journal.persistence_ids(None, 2).await.unwrap()), ["alice", "bertha"]);
    assert_eq!(names(journal.persistence_ids(Some(&id("bertha")), 2).await.unwrap()), ["bob"]);
}

#[tokio::test]
async fn a_taking_over_that_was_broken_off_goes_on() {
    let inner = Arc::new(MemoryJournal::new());
    // The first list of events came through, and then the process was killed.
    LegacyJournal::new(inner.clone(), rows(256)).claim(&id("alice"), token(1)).await.unwrap();
    let journal = LegacyJournal::new(inner.clone(), rows(600));
    assert_eq!(payloads(&journal, ReplayRange::all(&id("alice"))).await.len(), 600, "reads see all rows");
    assert_eq!(journal.claim(&id("alice"), token(2)).await.unwrap().seq_nr.get(), 600);
    let all = payloads(&*inner, ReplayRange::all(&id("alice"))).await;
    assert!(
        all.iter().enumerate().all(|(at, (seq_nr, text))| {
            *seq_nr == at as u64 + 1 && *text == format!("{{\"cents\":{at}}}")
        })
    );
}

#[tokio::test]
async fn a_claim_that_is_fenced_takes_nothing_over_and_other_entries_are_decided_by_themselves() {
    let inner = Arc::new(MemoryJournal::new());
    inner.claim(&id("alice"), token(9)).await.unwrap();
    let journal = LegacyJournal::new(inner.clone(), rows(3));
    let claim = |name, epoch| Write::Claim { persistence_id: id(name), token: token(epoch) };
    let answers = journal.write(vec![claim("alice", 2), claim("carol", 2), claim("bob", 2)]).await;
    assert!(matches!(answers[0], Err(JournalError::Fenced { .. })), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().seq_nr, SeqNr::ZERO);
    assert_eq!(answers[2].as_ref().unwrap().seq_nr.get(), 1);
    assert_eq!(inner.head(&id("alice")).await.unwrap().seq_nr, SeqNr::ZERO);
    assert_eq!(journal.claim(&id("alice"), token(10)).await.unwrap().seq_nr.get(), 3);
}

#[tokio::test]
async fn events_of_another_origin_are_not_taken_for_rows() {
    let inner = Arc::new(MemoryJournal::new());
    let stored = LegacyJournal::new(inner.clone(), rows(1));
    stored.claim(&id("alice"), token(1)).await.unwrap();
    // The same number, but not of a row: an application has written it itself.
    let mut replay = inner.replay(ReplayRange::all(&id("alice")));
    let Some(Replayed::Event(first)) = replay.try_next().await.unwrap() else { panic!() };
    let own = Envelope { seq_nr: SeqNr::new(2).unwrap(), writer: WriterId::random(), ..first.envelope };
    let append = AtomicWrite {
        persistence_id: id("alice"),
        expected: SeqNr::FIRST,
        token: token(1),
        events: vec![own],
        mark: None,
    };
    inner.append(append).await.unwrap();
    let error = LegacyJournal::new(inner.clone(), rows(5)).claim(&id("alice"), token(2)).await.unwrap_err();
    assert!(error.to_string().contains("5 legacy rows, and 2 events in the journal"), "{error}");
    assert_eq!(inner.head(&id("alice")).await.unwrap().seq_nr.get(), 2);
}
