//! Writes that are late, and writers that never come back: what readers, owners and the gate make of them, on a real server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::time::Duration;

use super::buckets::Look;
use super::intents::{Intent, Kind, Lane};
use super::state::{State, Ticket};
use super::value::Value;
use super::{CassandraJournal, Options};
use crate::{
    CompareAndSet, Gate, Journal, JournalExt, Offset, PersistenceId, Records, SeqNr, SliceRange, Tag, Token,
};

/// A journal of one test; `None`, said aloud, where there is no server. CI has one.
async fn journal() -> Option<CassandraJournal> {
    with_buckets_of(1_000).await
}

async fn with_buckets_of(bucket_events: u64) -> Option<CassandraJournal> {
    let Ok(nodes) = std::env::var("CASSANDRA_NODES") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with Cassandra, and CASSANDRA_NODES is not set");
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with Cassandra: CASSANDRA_NODES is not set");
        return None;
    };
    let options = Options::default()
        .journal(format!("annals_{}", uuid::Uuid::new_v4().simple()))
        .replication_factor(1)
        .bucket_events(bucket_events)
        .request_timeout(Duration::from_secs(60));
    Some(CassandraJournal::open(&format!("cassandra://{nodes}/annals_tests"), options).await.unwrap())
}

fn id() -> PersistenceId {
    PersistenceId::new("test", "late").unwrap()
}

fn token(activation: u64) -> Token {
    Token::new(crate::Epoch(1), activation)
}

/// A writer that has its ticket for one event with a tag, and waits before it writes.
struct Held {
    before: State,
    ticket: Ticket,
}

impl Held {
    async fn begin(journal: &CassandraJournal) -> Self {
        let inner = journal.inner();
        let before = inner.open_bucket(&id(), Look::Plain).await.unwrap();
        let intent = |major| Intent {
            major,
            minor: inner.minor(0),
            kind: Kind::Events,
            id: id(),
            bucket: before.bucket,
            first: before.head.seq_nr.next(),
            count: 1,
        };
        let lanes = [Lane::of(id().slice()), Lane::Tag(Tag::new("late").unwrap())];
        let intents = |major| lanes.iter().map(|lane| (lane.clone(), intent(major))).collect();
        let ticket = inner.ticket(intents).await.unwrap();
        Self { before, ticket }
    }

    /// Writes; whether it was stored.
    async fn write(self, journal: &CassandraJournal, envelope: crate::Envelope) -> bool {
        let inner = journal.inner();
        let mut next = self.before.clone();
        (next.head.seq_nr, next.floor, next.owned) = (next.head.seq_nr.next(), Some(self.ticket.major), true);
        let mut row = inner.bucket_key(&id(), next.bucket).to_vec();
        row.extend([
            Value::int(next.head.seq_nr.get()),
            Value::int(self.ticket.major),
            Value::int(inner.minor(0)),
            Value::Bytes(envelope.encode()),
            Value::labels(&envelope.tags),
        ]);
        inner.change(&id(), &self.before, &next, vec![(&inner.statements.insert_event, row)]).await.unwrap()
    }
}

fn event(number: u64, activation: u64) -> crate::Envelope {
    crate::Envelope {
        persistence_id: id(),
        seq_nr: SeqNr::new(number).unwrap(),
        token: token(activation),
        writer: crate::WriterId::from_bytes([1; 16]),
        timestamp: crate::Timestamp::from_micros(number),
        manifest: crate::Manifest::new("test.happened").unwrap(),
        schema_version: 1,
        codec: crate::Codec::Json,
        tags: vec![Tag::new("late").unwrap()],
        trace_context: None,
        key_id: None,
        payload: "1".into(),
    }
}

fn append(expected: u64, activation: u64) -> crate::AtomicWrite {
    crate::AtomicWrite {
        persistence_id: id(),
        expected: SeqNr::new(expected).unwrap(),
        token: token(activation),
        events: vec![event(expected + 1, activation)],
        mark: None,
    }
}

#[tokio::test]
async fn a_write_that_comes_behind_a_reader_is_not_stored_under_its_ticket() {
    let Some(journal) = journal().await else { return };
    journal.append(append(0, 1)).await.unwrap();
    for by_tag in [false, true] {
        let held = Held::begin(&journal).await;
        let head = held.before.head.seq_nr;
        // The reader waits, and then goes past it for good.
        let page = if by_tag {
            journal.events_by_tag(&Tag::new("late").unwrap(), Offset::BEGINNING, 10).await.unwrap()
        } else {
            journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap()
        };
        assert_eq!(page.items.len() as u64, head.get());
        assert!(page.complete_to.major >= held.ticket.major);
        assert!(!held.write(&journal, event(head.get() + 1, 1)).await, "stored behind a reader");
        // The same event is stored under another ticket, and seen behind the mark.
        journal.append(append(head.get(), 1)).await.unwrap();
        let next = journal.events_by_slice(SliceRange::ALL, page.complete_to, 10).await.unwrap();
        assert_eq!(next.items.len(), 1);
    }
}

#[tokio::test]
async fn a_write_that_comes_in_time_is_waited_for() {
    let Some(journal) = journal().await else { return };
    let held = Held::begin(&journal).await;
    let reader = {
        let journal = journal.clone();
        tokio::spawn(async move { journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await })
    };
    let (stored, page) = (held.write(&journal, event(1, 1)).await, reader.await.unwrap().unwrap());
    // Whichever came first: it is read, or it is not stored.
    assert_eq!(page.items.len(), usize::from(stored));
    let all = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    assert_eq!(all.items.len(), usize::from(stored));
}

#[tokio::test]
async fn a_stale_write_is_not_stored_behind_a_claim() {
    let Some(journal) = journal().await else { return };
    journal.append(append(0, 1)).await.unwrap();
    let held = Held::begin(&journal).await;
    assert_eq!(journal.claim(&id(), token(2)).await.unwrap().seq_nr.get(), 1);
    assert!(!held.write(&journal, event(2, 1)).await, "stored behind a claim");
    assert_eq!(journal.head(&id()).await.unwrap().seq_nr.get(), 1);
    // Neither when the new owner has deleted all that there was.
    let held = Held::begin(&journal).await;
    journal.append(append(1, 2)).await.unwrap();
    journal.delete_to(&id(), SeqNr::new(2).unwrap()).await.unwrap();
    assert!(!held.write(&journal, event(2, 2)).await, "a number was used again");
}

#[tokio::test]
async fn nothing_that_did_not_see_the_gate_is_stored_behind_it() {
    let Some(journal) = journal().await else { return };
    journal.append(append(0, 1)).await.unwrap();
    let held = Held::begin(&journal).await;
    assert!(held.ticket.gate.is_none(), "it did not see the gate");
    let sealed = Gate::Sealed { to: "b".into() };
    let set = journal.compare_and_set(Gate::key(), None, sealed.encode()).await.unwrap();
    assert!(matches!(set, CompareAndSet::Set(_)));
    assert!(!held.write(&journal, event(2, 1)).await, "stored behind the seal");
    assert_eq!(journal.head(&id()).await.unwrap().seq_nr.get(), 1);
}

/// Heads below, at and behind the border of a bucket, and appends across it and longer than it: each with a stale writer, and with
/// everything deleted.
#[tokio::test]
async fn a_stale_writer_passes_no_border_of_buckets() {
    let Some(journal) = with_buckets_of(3).await else { return };
    let mut head = 0;
    for (owner, count) in (1..).zip([2, 1, 1, 3, 4, 7, 2, 2]) {
        journal.claim(&id(), token(owner)).await.unwrap();
        let held = Held::begin(&journal).await;
        let mut write = append(head, owner);
        write.events = (head + 1..=head + count).map(|number| event(number, owner)).collect();
        head = journal.append(write).await.unwrap().seq_nr.get();
        assert!(!held.write(&journal, event(head - count + 1, owner)).await, "stored twice at {head}");
        // Held at the head, where the next owner claims, and deletes all that there is.
        let held = Held::begin(&journal).await;
        journal.claim(&id(), token(owner + 1)).await.unwrap();
        assert!(!held.write(&journal, event(head + 1, owner)).await, "stored behind a claim at {head}");
        let stale = journal.append(append(head, owner)).await.unwrap_err();
        assert_eq!(stale.kind(), "superseded", "at {head}");
        if count % 2 == 1 {
            journal.delete_to(&id(), SeqNr::new(head).unwrap()).await.unwrap();
            let stale = journal.append(append(head, owner)).await.unwrap_err();
            assert_eq!(stale.kind(), "superseded", "at {head}, deleted");
        }
        assert_eq!(journal.head(&id()).await.unwrap().seq_nr.get(), head);
    }
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 100).await.unwrap();
    let events = page.items.iter().filter(|item| matches!(item, crate::PageItem::Event(_))).count();
    assert_eq!(events, 4, "what was not deleted: {page:?}");
}
