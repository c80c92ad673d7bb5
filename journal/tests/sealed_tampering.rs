//! Whoever changes what a journal behind keys has stored is found out, with the id and the number: single bytes, whole records, and
//! where histories end.
#![cfg(all(feature = "sqlite", feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_journal::encryption::{DataKeyOptions, DataKeys, RingKeys, SealedJournal, SealedOptions};
use annals_journal::sqlite::rusqlite::{Connection, params};
use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    AtomicWrite, Codec, Envelope, Head, Journal, JournalError, JournalExt, KeyId, Manifest, MarkChange,
    MemoryJournal, Offset, PageItem, PersistenceId, Records, ReplayRange, Replayed, SeqNr, SliceRange, Tag,
    Timestamp, TraceContext, Write, WriterId,
};
use behind_keys::{ring, sealed};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;
use support::{append, event, id, nr, token};

/// Replays an id through keys that nobody has in memory yet.
async fn read(journal: &SealedJournal, id: &PersistenceId) -> Result<Vec<Envelope>, JournalError> {
    journal.claim(id, token(9, 9)).await?;
    let items: Vec<_> = journal.replay(ReplayRange::all(id)).try_collect().await?;
    Ok(items
        .into_iter()
        .filter_map(|item| match item {
            Replayed::Event(event) => Some(event.envelope),
            _ => None,
        })
        .collect())
}

/// That the error names the id and a number.
fn assert_found(error: &JournalError, id: &PersistenceId, what: &str) {
    let JournalError::Corrupt { persistence_id: Some(named), seq_nr: Some(_), .. } = error else {
        panic!("{what}: {error:?}");
    };
    assert_eq!(named, id, "{what}: {error}");
}

/// Fields of every kind, so that each has bytes that can be changed.
fn full(id: &PersistenceId, number: u64) -> Envelope {
    Envelope {
        tags: vec![Tag::new("vip").unwrap(), Tag::new("eu").unwrap()],
        trace_context: TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        payload: Bytes::from_static(b"a payload of some length"),
        ..event(id, number, token(1, 1))
    }
}

/// Each byte of a stored event is changed in turn, once as rot does and once as somebody who puts the checksum right.
#[tokio::test]
async fn a_changed_byte_of_a_sealed_event_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let backend = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    let journal = sealed(backend.clone(), backend.clone()).await;
    let alice = id("alice");
    let events = (1..=3).map(|number| full(&alice, number)).collect();
    let write = AtomicWrite { events, ..append(&alice, token(1, 1), 0, 0) };
    journal.append(write).await.unwrap();
    assert_eq!(read(&journal, &alice).await.unwrap().len(), 3);

    let conn = Connection::open(&path).unwrap();
    let stored: Vec<u8> =
        conn.query_row("SELECT envelope FROM events WHERE seq = 2", (), |row| row.get(0)).unwrap();
    let put = |bytes: &[u8]| {
        conn.execute("UPDATE events SET envelope = ? WHERE seq = 2", params![bytes]).unwrap();
    };
    let checksum_at = stored.len() - 4;
    let mut unnoticed = Vec::new();
    for at in 0..stored.len() {
        for repaired in [false, true] {
            let mut bytes = stored.clone();
            bytes[at] ^= 0x01;
            if repaired {
                if at >= checksum_at {
                    continue;
                }
                let checksum = crc32fast::hash(&bytes[..stored.len() - 5]).to_le_bytes();
                bytes[checksum_at..].copy_from_slice(&checksum);
            }
            put(&bytes);
            let replayed = read(&journal, &alice).await;
            match &replayed {
                Err(error) if matches!(error, JournalError::Key { .. }) && repaired => {}
                Err(error) => assert_found(error, &alice, &format!("byte {at}")),
                Ok(_) => unnoticed.push((at, repaired)),
            }
            let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await;
            // A page checks each event by itself.
            if page.is_ok() {
                unnoticed.push((at, repaired));
            }
        }
    }
    assert_eq!(unnoticed, [], "of {} bytes", stored.len());
    put(&stored);
    assert_eq!(read(&journal, &alice).await.unwrap().len(), 3);
}

/// What is stored, to be changed at will and stored again elsewhere.
#[derive(Clone, Default)]
struct Stored {
    records: Vec<(annals_journal::RecordKey, Bytes)>,
    ids: BTreeMap<PersistenceId, History>,
}

#[derive(Clone)]
struct History {
    head: Head,
    /// As they are stored, from the first that is left on.
    events: Vec<Envelope>,
}

impl Stored {
    async fn of(memory: &MemoryJournal) -> Self {
        let records = memory.list("", None, 1_000).await.unwrap();
        let records = records.into_iter().map(|(key, record)| (key, record.value)).collect();
        let mut ids = BTreeMap::new();
        for id in memory.persistence_ids(None, 100).await.unwrap() {
            let items: Vec<_> = memory.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
            let events = items.into_iter().filter_map(|item| match item {
                Replayed::Event(event) => Some(event.envelope),
                _ => None,
            });
            let events = events.collect();
            ids.insert(id.clone(), History { head: memory.head(&id).await.unwrap(), events });
        }
        Self { records, ids }
    }

    /// A journal with this in it. Events that were deleted are put there and deleted again.
    async fn put(&self) -> Arc<MemoryJournal> {
        let memory = Arc::new(MemoryJournal::new());
        for (key, value) in &self.records {
            drop(memory.compare_and_set(key, None, value.clone()).await.unwrap());
        }
        for (id, history) in &self.ids {
            let deleted_to = history.head.deleted_to.get();
            let gone = (1..=deleted_to).map(|number| event(id, number, token(1, 1)));
            for event in gone.chain(history.events.iter().cloned()) {
                let (expected, token) = (event.seq_nr.previous(), event.token);
                let write = AtomicWrite {
                    persistence_id: id.clone(),
                    expected,
                    token,
                    events: vec![event],
                    mark: None,
                };
                memory.append(write).await.unwrap();
            }
            memory.delete_to(id, history.head.deleted_to).await.unwrap();
            if let Some(to) = history.head.mark {
                let (persistence_id, token) = (id.clone(), memory.head(id).await.unwrap().token);
                let change = MarkChange { from: None, to };
                memory.write_one(Write::Mark { persistence_id, token, change }).await.unwrap();
            }
        }
        memory
    }
}

/// What becomes of a history.
#[derive(Debug, Clone)]
enum Step {
    Append { id: usize, count: u64 },
    Delete { id: usize, to: prop::sample::Index },
    Replace { id: usize, at: prop::sample::Index },
}

/// What somebody does to what is stored.
#[derive(Debug, Clone)]
enum Tamper {
    /// A byte of a sealed payload.
    Flip { at: prop::sample::Index, byte: prop::sample::Index, bit: u8 },
    /// A field of the header.
    Header { at: prop::sample::Index, field: u8 },
    /// Two payloads, or two whole records under each other's numbers.
    Swap { one: prop::sample::Index, other: prop::sample::Index, whole: bool },
    /// Another id's record of this number.
    Move { at: prop::sample::Index },
    /// A plain event in the place of a sealed one.
    Plain { at: prop::sample::Index },
    /// The last events are gone; the mark is as it was, or is gone as well.
    Cut { count: prop::sample::Index, mark: bool },
    /// One from the middle is gone, and the rest moved down.
    TakeOut { at: prop::sample::Index },
    /// An event is stored a second time, at the end.
    Repeat { at: prop::sample::Index },
    /// The first ones are deleted, and no record says so.
    Behead { count: prop::sample::Index },
}

fn index() -> impl Strategy<Value = prop::sample::Index> {
    any::<prop::sample::Index>()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2_usize, 1..5_u64).prop_map(|(id, count)| Step::Append { id, count }),
        1 => (0..2_usize, index()).prop_map(|(id, to)| Step::Delete { id, to }),
        1 => (0..2_usize, index()).prop_map(|(id, at)| Step::Replace { id, at }),
    ];
    prop::collection::vec(step, 1..8)
}

fn tampers() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        (index(), index(), 0..8_u8).prop_map(|(at, byte, bit)| Tamper::Flip { at, byte, bit }),
        (index(), 0..9_u8).prop_map(|(at, field)| Tamper::Header { at, field }),
        (index(), index(), any::<bool>()).prop_map(|(one, other, whole)| Tamper::Swap { one, other, whole }),
        index().prop_map(|at| Tamper::Move { at }),
        index().prop_map(|at| Tamper::Plain { at }),
        (index(), any::<bool>()).prop_map(|(count, mark)| Tamper::Cut { count, mark }),
        index().prop_map(|at| Tamper::TakeOut { at }),
        index().prop_map(|at| Tamper::Repeat { at }),
        index().prop_map(|count| Tamper::Behead { count }),
    ]
}

impl Tamper {
    /// Changes a history of at least three events; the other id's has as many numbers.
    fn apply(&self, history: &mut History, other: &History) {
        let events = &mut history.events;
        let len = events.len();
        let place = |event: &Envelope| (event.persistence_id.clone(), event.seq_nr);
        match self {
            Self::Flip { at, byte, bit } => {
                let event = &mut events[at.index(len)];
                let mut payload = event.payload.to_vec();
                let byte = byte.index(payload.len());
                payload[byte] ^= 1 << bit;
                event.payload = payload.into();
            }
            Self::Header { at, field: 7 } => {
                // Tokens never go down, so the later ones go with it.
                events[at.index(len)..].iter_mut().for_each(|event| event.token.activation += 1);
            }
            Self::Header { at, field } => {
                let event = &mut events[at.index(len)];
                match field {
                    0 => event.manifest = Manifest::new("test.another").unwrap(),
                    1 => event.schema_version += 1,
                    2 => event.codec = Codec::Protobuf,
                    3 => event.tags.push(Tag::new("more").unwrap()),
                    4 => event.timestamp = Timestamp::from_micros(event.timestamp.as_micros() + 1),
                    5 => event.writer = WriterId::from_bytes([8; 16]),
                    6 => event.trace_context = TraceContext::new("another"),
                    _ => event.key_id = Some(KeyId(event.key_id.map_or(0, |key| key.0) + 1)),
                }
            }
            Self::Swap { one, other, whole } => {
                let (one, other) = (one.index(len), other.index(len));
                let (first, second) = (events[one].clone(), events[other].clone());
                if *whole {
                    let (at_first, at_second) = (first.seq_nr, second.seq_nr);
                    events[one] = Envelope { seq_nr: at_first, ..second };
                    events[other] = Envelope { seq_nr: at_second, ..first };
                } else {
                    events[one].payload = second.payload;
                    events[other].payload = first.payload;
                }
            }
            Self::Move { at } => {
                let event = &mut events[at.index(len)];
                let Some(moved) = other.events.iter().find(|other| other.seq_nr == event.seq_nr) else {
                    return;
                };
                let (persistence_id, seq_nr) = place(event);
                *event = Envelope { persistence_id, seq_nr, ..moved.clone() };
            }
            Self::Plain { at } => {
                let event = &mut events[at.index(len)];
                *event = Envelope { key_id: None, payload: Bytes::from_static(b"forged"), ..event.clone() };
            }
            Self::Cut { count, mark } => {
                events.truncate(len - 1 - count.index(len - 1));
                if *mark {
                    history.head.mark = None;
                }
            }
            Self::TakeOut { at } => {
                let at = at.index(len);
                drop(events.remove(at));
                for event in &mut events[at..] {
                    event.seq_nr = event.seq_nr.previous();
                }
            }
            Self::Repeat { at } => {
                let event = events[at.index(len)].clone();
                let seq_nr = events[len - 1].seq_nr.next();
                events.push(Envelope { seq_nr, ..event });
            }
            Self::Behead { count } => {
                let gone = 1 + count.index(len - 1);
                drop(events.drain(..gone));
                history.head.deleted_to = history.head.deleted_to.plus(gone as u64);
            }
        }
    }
}

async fn perform(journal: &SealedJournal, ids: &[PersistenceId], steps: &[Step]) {
    for id in ids {
        journal.claim(id, token(1, 1)).await.unwrap();
        journal.append(append(id, token(1, 1), 0, 2)).await.unwrap();
    }
    for step in steps {
        match step {
            Step::Append { id, count } => {
                let head = journal.head(&ids[*id]).await.unwrap().seq_nr.get();
                journal.append(append(&ids[*id], token(1, 1), head, *count)).await.unwrap();
            }
            Step::Delete { id, to } => {
                let head = journal.head(&ids[*id]).await.unwrap();
                let to = to.index(usize::try_from(head.seq_nr.get()).unwrap()) as u64;
                journal.delete_to(&ids[*id], nr(to)).await.unwrap();
            }
            Step::Replace { id, at } => {
                let items: Vec<_> = journal.replay(ReplayRange::all(&ids[*id])).try_collect().await.unwrap();
                let old = items.into_iter().filter_map(|item| match item {
                    Replayed::Event(event) => Some(event),
                    _ => None,
                });
                let old: Vec<_> = old.collect();
                let Some(old) = (!old.is_empty()).then(|| &old[at.index(old.len())]) else { continue };
                let new = Envelope { payload: Bytes::from_static(b"rewritten"), ..old.envelope.clone() };
                assert!(journal.replace(old, new).await.unwrap());
            }
        }
    }
    for id in ids {
        let head = journal.head(id).await.unwrap().seq_nr.get();
        journal.append(append(id, token(1, 1), head, 3)).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_history_is_found(steps in steps(), tamper in tampers()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ids = [id("alice"), id("bob")];
            let memory = Arc::new(MemoryJournal::new());
            let journal = sealed(memory.clone(), memory.clone()).await;
            perform(&journal, &ids, &steps).await;
            let original = Stored::of(&memory).await;

            // Copied as it is, everything is as it was.
            let copy = original.put().await;
            let copied = sealed(copy.clone(), copy).await;
            let mut expected = Vec::new();
            for id in &ids {
                let events = read(&copied, id).await.unwrap();
                assert_eq!(events, read(&journal, id).await.unwrap());
                expected.push(events);
            }

            let mut tampered = original.clone();
            let bob = tampered.ids[&ids[1]].clone();
            tamper.apply(tampered.ids.get_mut(&ids[0]).unwrap(), &bob);
            let changed = tampered.ids[&ids[0]].events != original.ids[&ids[0]].events
                || tampered.ids[&ids[0]].head != original.ids[&ids[0]].head;
            let copy = tampered.put().await;
            let journal = sealed(copy.clone(), copy).await;
            match read(&journal, &ids[0]).await {
                Ok(events) => assert!(!changed && events == expected[0], "{tamper:?} was not found"),
                // A generation of the data key that never was.
                Err(JournalError::Key { .. }) if matches!(tamper, Tamper::Header { field: 8, .. }) => {}
                Err(error) => {
                    assert!(changed, "{error}");
                    assert_found(&error, &ids[0], &format!("{tamper:?}"));
                }
            }
            assert_eq!(read(&journal, &ids[1]).await.unwrap(), expected[1], "the other id is as it was");
        });
    }
}

#[tokio::test]
async fn a_part_of_a_history_is_checked_upon_the_event_before_it() {
    let memory = Arc::new(MemoryJournal::new());
    let journal = sealed(memory.clone(), memory.clone()).await;
    let alice = id("alice");
    journal.append(append(&alice, token(1, 1), 0, 9)).await.unwrap();
    let mut stored = Stored::of(&memory).await;
    let events = &mut stored.ids.get_mut(&alice).unwrap().events;
    // A record of another history of the same id and number, sealed with the same keys.
    let fork = Stored::of(&memory).await.put().await;
    let other = sealed(fork.clone(), fork.clone()).await;
    let old = one(&other, &alice, 4).await;
    let new = Envelope { payload: Bytes::from_static(b"another"), ..old.envelope.clone() };
    assert!(other.replace(&old, new).await.unwrap());
    let forked = Stored::of(&fork).await;
    events[4] = Envelope { seq_nr: nr(5), ..forked.ids[&alice].events[3].clone() };
    let copy = stored.put().await;
    let journal = sealed(copy.clone(), copy).await;
    for range in [ReplayRange::all(&alice).from(nr(5)), ReplayRange::all(&alice).from(nr(6)).limit(1)] {
        let error = journal.replay(range).try_collect::<Vec<_>>().await.unwrap_err();
        assert_found(&error, &alice, "a part");
    }
    let part: Vec<_> =
        journal.replay(ReplayRange::all(&alice).from(nr(7)).limit(2)).try_collect().await.unwrap();
    assert_eq!(part.len(), 2);
}

/// A restored backup went on by itself: its events have right seals under the same key, and the numbers that are wanted.
#[tokio::test]
async fn an_event_of_another_branch_is_found_in_the_middle_of_many() {
    let memory = Arc::new(MemoryJournal::new());
    let journal = sealed(memory.clone(), memory.clone()).await;
    let alice = id("alice");
    journal.append(append(&alice, token(1, 1), 0, 100)).await.unwrap();
    let restored = Stored::of(&memory).await.put().await;
    let branch = sealed(restored.clone(), restored.clone()).await;
    for journal in [&journal, &branch] {
        journal.append(append(&alice, token(1, 1), 100, 500)).await.unwrap();
    }
    let (stored, other) = (Stored::of(&memory).await, Stored::of(&restored).await);
    for (from, to) in [(100, 101), (299, 300), (300, 400), (598, 599), (599, 600), (100, 600)] {
        let mut mixed = stored.clone();
        let events = &mut mixed.ids.get_mut(&alice).unwrap().events;
        events[from..to].clone_from_slice(&other.ids[&alice].events[from..to]);
        let copy = mixed.put().await;
        let journal = sealed(copy.clone(), copy).await;
        let error = read(&journal, &alice).await.unwrap_err();
        assert_found(&error, &alice, &format!("{from} to {to}"));
    }
    assert_eq!(read(&journal, &alice).await.unwrap().len(), 600);
}

async fn one(journal: &SealedJournal, id: &PersistenceId, number: u64) -> annals_journal::StoredEvent {
    let range = ReplayRange::all(id).from(nr(number)).to(nr(number));
    match journal.replay(range).try_next().await.unwrap() {
        Some(Replayed::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// Plain events of the time before the keys are read, by whole histories, parts and pages; behind a sealed one they are not.
#[tokio::test]
async fn plain_events_are_read_up_to_the_first_sealed_one() {
    let memory = Arc::new(MemoryJournal::new());
    let alice = id("alice");
    memory.append(append(&alice, token(1, 1), 0, 5)).await.unwrap();
    let journal = sealed(memory.clone(), memory.clone()).await;
    assert_eq!(read(&journal, &alice).await.unwrap().len(), 5);
    journal.append(append(&alice, token(9, 9), 5, 5)).await.unwrap();
    assert_eq!(read(&journal, &alice).await.unwrap().len(), 10);
    // One that has nothing in memory.
    let fresh = sealed(memory.clone(), memory.clone()).await;
    let range = ReplayRange::all(&alice).from(nr(2)).to(nr(3));
    assert_eq!(fresh.replay(range).try_collect::<Vec<_>>().await.unwrap().len(), 2);
    let fresh = sealed(memory.clone(), memory.clone()).await;
    let page = fresh.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 100).await.unwrap();
    assert_eq!(page.items.len(), 10);
    assert!(
        page.items
            .iter()
            .all(|item| matches!(item, PageItem::Event(event) if event.envelope.key_id.is_none()))
    );

    // Plain events that were deleted before and after.
    for to in [2, 5, 7] {
        journal.delete_to(&alice, nr(to)).await.unwrap();
        let fresh = sealed(memory.clone(), memory.clone()).await;
        assert_eq!(read(&fresh, &alice).await.unwrap().len() as u64, 10 - to);
    }

    let strict = SealedOptions { refuse_plaintext: true, ..SealedOptions::default() };
    let bob = id("bob");
    memory.append(append(&bob, token(1, 1), 0, 1)).await.unwrap();
    let masters = Arc::new(RingKeys::from(ring()));
    let keys = DataKeys::open(memory.clone(), masters, DataKeyOptions::default()).await.unwrap();
    let strict = SealedJournal::open(memory.clone(), keys, strict).await.unwrap();
    assert_found(&read(&strict, &bob).await.unwrap_err(), &bob, "a plain event is refused");

    // Somebody without keys writes behind sealed events.
    let forged = append(&alice, token(9, 9), 10, 1);
    memory.append(forged).await.unwrap();
    let fresh = sealed(memory.clone(), memory.clone()).await;
    assert_found(&read(&fresh, &alice).await.unwrap_err(), &alice, "behind a sealed one");
    let page = fresh.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 100).await;
    assert_found(&page.unwrap_err(), &alice, "in a page");
}

/// In memory the mark stands beside the head; this is about the file.
#[tokio::test]
async fn events_that_were_cut_off_the_end_in_a_sqlite_file_are_found_when_the_id_is_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let backend = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    let journal = sealed(backend.clone(), backend.clone()).await;
    let [alice, bob] = ["alice", "bob"].map(id);
    // In appends of one and of several events, by two writers, and with some that were deleted.
    for (of_id, writer, expected, count) in [
        (&alice, 1, 0, 1),
        (&alice, 1, 1, 1),
        (&bob, 1, 0, 3),
        (&alice, 1, 2, 3),
        (&alice, 2, 5, 1),
        (&bob, 1, 3, 1),
        (&alice, 2, 6, 2),
    ] {
        journal.append(append(of_id, token(writer, 1), expected, count)).await.unwrap();
    }
    journal.delete_to(&alice, nr(2)).await.unwrap();
    let conn = Connection::open(&path).unwrap();
    for left in (2..8).rev() {
        // All that is left is as it was written, and no row knows better.
        conn.execute("DELETE FROM events WHERE stream = 1 AND seq > ?", params![left]).unwrap();
        conn.execute("UPDATE streams SET known_head = min(known_head, ?) WHERE id = 1", params![left])
            .unwrap();
        assert_found(&read(&journal, &alice).await.unwrap_err(), &alice, &format!("{left} left"));
        let keys =
            DataKeys::open(backend.clone(), Arc::new(RingKeys::from(ring())), DataKeyOptions::default());
        let other = SealedJournal::open(backend.clone(), keys.await.unwrap(), SealedOptions::default())
            .await
            .unwrap();
        assert_found(&read(&other, &alice).await.unwrap_err(), &alice, &format!("{left} left"));
        assert_found(&other.head(&alice).await.unwrap_err(), &alice, &format!("{left} left"));
        other.keys().close().await;
    }
    assert_eq!(read(&journal, &bob).await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_envelope_that_is_sealed_already_and_a_mark_of_somebody_else_are_rejected() {
    let memory = Arc::new(MemoryJournal::new());
    let journal = sealed(memory.clone(), memory.clone()).await;
    let alice = id("alice");
    let mut write = append(&alice, token(1, 1), 0, 1);
    write.events[0].key_id = Some(KeyId(1));
    assert!(matches!(journal.append(write).await, Err(JournalError::Rejected { .. })));
    assert_eq!(memory.head(&alice).await.unwrap(), Head::EMPTY);
    journal.append(append(&alice, token(1, 1), 0, 1)).await.unwrap();
    let old = one(&journal, &alice, 1).await;
    let new = Envelope { key_id: Some(KeyId(1)), ..old.envelope.clone() };
    assert!(matches!(journal.replace(&old, new).await, Err(JournalError::Rejected { .. })));
    assert_eq!(journal.head(&alice).await.unwrap().mark, None);
    assert_eq!(SeqNr::FIRST, journal.head(&alice).await.unwrap().seq_nr);
}
