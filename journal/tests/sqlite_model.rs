//! The SQLite journal gives the answers of the reference in memory, whatever it is asked in whatever order.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use annals_journal::sqlite::{Durability, Options, SqliteJournal};
use annals_journal::{
    CompareAndSet, Journal, MemoryJournal, Offset, PageItem, PersistenceId, RecordKey, Records, ReplayRange,
    Replayed, Revision, SeqNr, SliceRange, StoredEvent, Tag, Write,
};
use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;
use support::{append, id, nr, token};

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Entry>),
    /// Up to this far below the head, or above it.
    Delete {
        name: usize,
        below: u64,
    },
    Replace {
        name: usize,
        number: u64,
        tags: u8,
        current: bool,
    },
    Replay {
        name: usize,
        from: u64,
        to: u64,
        limit: u64,
    },
    ByTag {
        tag: usize,
        after: u64,
        limit: usize,
    },
    BySlice {
        first: u16,
        last: u16,
        after: u64,
        limit: usize,
    },
    Ids {
        after: Option<usize>,
        limit: usize,
    },
    SetRecord {
        key: usize,
        current: bool,
        value: u8,
    },
    DeleteRecord {
        key: usize,
        current: bool,
    },
    ListRecords {
        prefix: usize,
        after: Option<usize>,
        limit: usize,
    },
    OpenAgain,
}

#[derive(Debug, Clone)]
enum Entry {
    /// `gap` away from the head that the list has made so far.
    Append {
        name: usize,
        epoch: u64,
        gap: u64,
        count: u64,
        tags: u8,
    },
    Claim {
        name: usize,
        epoch: u64,
    },
    Verify {
        name: usize,
        epoch: u64,
    },
}

const NAMES: usize = 4;
const TAGS: [&str; 3] = ["red", "green", "blue"];
const KEYS: [&str; 4] = ["a", "a/b", "a/c", "b"];

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        6 => (0..NAMES, 1..4_u64, prop_oneof![9 => Just(0), 1 => 1..3_u64], 0..5_u64, any::<u8>())
            .prop_map(|(name, epoch, gap, count, tags)| Entry::Append { name, epoch, gap, count, tags }),
        1 => (0..NAMES, 1..4_u64).prop_map(|(name, epoch)| Entry::Claim { name, epoch }),
        1 => (0..NAMES, 0..4_u64).prop_map(|(name, epoch)| Entry::Verify { name, epoch }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let limit = 0..12_usize;
    prop_oneof![
        8 => proptest::collection::vec(entry(), 1..6).prop_map(Step::Write),
        2 => (0..NAMES, 0..6_u64).prop_map(|(name, below)| Step::Delete { name, below }),
        2 => (0..NAMES, 0..10_u64, any::<u8>(), any::<bool>())
            .prop_map(|(name, number, tags, current)| Step::Replace { name, number, tags, current }),
        2 => (0..NAMES, 0..12_u64, 0..30_u64, 0..12_u64)
            .prop_map(|(name, from, to, limit)| Step::Replay { name, from, to, limit }),
        2 => (0..TAGS.len(), 0..20_u64, limit.clone())
            .prop_map(|(tag, after, limit)| Step::ByTag { tag, after, limit }),
        2 => (0..1024_u16, 0..1024_u16, 0..20_u64, limit.clone())
            .prop_map(|(first, last, after, limit)| Step::BySlice { first, last, after, limit }),
        1 => (proptest::option::of(0..NAMES), limit.clone()).prop_map(|(after, limit)| Step::Ids { after, limit }),
        2 => (0..KEYS.len(), any::<bool>(), any::<u8>())
            .prop_map(|(key, current, value)| Step::SetRecord { key, current, value }),
        1 => (0..KEYS.len(), any::<bool>()).prop_map(|(key, current)| Step::DeleteRecord { key, current }),
        1 => (0..KEYS.len(), proptest::option::of(0..KEYS.len()), limit)
            .prop_map(|(prefix, after, limit)| Step::ListRecords { prefix, after, limit }),
        1 => Just(Step::OpenAgain),
    ]
}

fn name(number: usize) -> PersistenceId {
    id(&format!("entity-{number}"))
}

fn tags(bits: u8) -> Vec<Tag> {
    (0..TAGS.len()).filter(|n| bits & (1 << n) != 0).map(|n| Tag::new(TAGS[n]).unwrap()).collect()
}

async fn writes(reference: &MemoryJournal, entries: &[Entry]) -> Vec<Write> {
    let mut heads = Vec::new();
    for n in 0..NAMES {
        heads.push(reference.head(&name(n)).await.unwrap().seq_nr.get());
    }
    let mut writes = Vec::new();
    for entry in entries {
        writes.push(match *entry {
            Entry::Append { name: n, epoch, gap, count, tags: bits } => {
                let mut write = append(&name(n), token(epoch, 1), heads[n] + gap, count);
                for event in &mut write.events {
                    event.tags = tags(bits);
                }
                heads[n] = write.last().get();
                Write::Append(write)
            }
            Entry::Claim { name: n, epoch } => {
                Write::Claim { persistence_id: name(n), token: token(epoch, 1) }
            }
            Entry::Verify { name: n, epoch } => {
                Write::Verify { persistence_id: name(n), token: token(epoch, 1) }
            }
        });
    }
    writes
}

async fn replayed(journal: &dyn Journal, range: ReplayRange) -> Vec<Replayed> {
    journal.replay(range).map(|item| item.unwrap()).collect().await
}

async fn event(journal: &dyn Journal, id: &PersistenceId, number: u64) -> Option<StoredEvent> {
    let range = ReplayRange::all(id).from(nr(number)).to(nr(number));
    match replayed(journal, range).await.pop() {
        Some(Replayed::Event(event)) => Some(event),
        _ => None,
    }
}

fn shown<T: std::fmt::Debug>(answer: T) -> String {
    format!("{answer:?}")
}

/// Makes one step in both and compares the answers.
async fn compare(reference: &MemoryJournal, journal: &SqliteJournal, step: &Step) {
    match step {
        Step::Write(entries) => {
            let writes = writes(reference, entries).await;
            let (expected, got) = (reference.write(writes.clone()).await, journal.write(writes).await);
            assert_eq!(shown(got), shown(expected));
        }
        Step::Delete { name: n, below } => {
            let head = reference.head(&name(*n)).await.unwrap().seq_nr;
            let to = SeqNr::new((head.get() + 1).saturating_sub(*below)).unwrap();
            let (expected, got) =
                (reference.delete_to(&name(*n), to).await, journal.delete_to(&name(*n), to).await);
            assert_eq!(shown(got), shown(expected));
        }
        Step::Replace { name: n, number, tags: bits, current } => {
            let Some(mut old) = event(reference, &name(*n), *number).await else { return };
            let mut new = old.envelope.clone();
            new.tags = tags(*bits);
            new.payload = Bytes::from(format!("{{\"replaced\":{bits}}}"));
            if !current {
                old.bytes = Bytes::from_static(b"other");
            }
            let (expected, got) =
                (reference.replace(&old, new.clone()).await, journal.replace(&old, new).await);
            assert_eq!(shown(got), shown(expected));
        }
        Step::Replay { name: n, from, to, limit } => {
            let range = ReplayRange::all(&name(*n)).from(nr(*from)).to(nr(*to)).limit(*limit);
            assert_eq!(replayed(journal, range.clone()).await, replayed(reference, range).await);
        }
        Step::ByTag { tag, after, limit } => {
            let (tag, after) = (Tag::new(TAGS[*tag]).unwrap(), Offset::of_position(*after));
            let expected = reference.events_by_tag(&tag, after, *limit).await.unwrap();
            assert_eq!(journal.events_by_tag(&tag, after, *limit).await.unwrap(), expected);
        }
        Step::BySlice { first, last, after, limit } => {
            let slices = SliceRange::new(*first.min(last)..=*first.max(last)).unwrap();
            let after = Offset::of_position(*after);
            let expected = reference.events_by_slice(slices, after, *limit).await.unwrap();
            assert_eq!(journal.events_by_slice(slices, after, *limit).await.unwrap(), expected);
        }
        Step::Ids { after, limit } => {
            let after = after.map(name);
            let expected = reference.persistence_ids(after.as_ref(), *limit).await.unwrap();
            assert_eq!(journal.persistence_ids(after.as_ref(), *limit).await.unwrap(), expected);
        }
        Step::SetRecord { key, current, value } => {
            let (key, expected) = expectation(reference, *key, *current).await;
            let value = Bytes::from(vec![*value]);
            let ours = journal.compare_and_set(&key, expected, value.clone()).await.unwrap();
            assert_eq!(ours, reference.compare_and_set(&key, expected, value).await.unwrap());
        }
        Step::DeleteRecord { key, current } => {
            let (key, expected) = expectation(reference, *key, *current).await;
            let Some(expected) = expected else { return };
            let ours: CompareAndSet = journal.delete(&key, expected).await.unwrap();
            assert_eq!(ours, reference.delete(&key, expected).await.unwrap());
        }
        Step::ListRecords { prefix, after, limit } => {
            let after = after.map(|n| RecordKey::new(KEYS[n]).unwrap());
            let expected = reference.list(KEYS[*prefix], after.as_ref(), *limit).await.unwrap();
            assert_eq!(journal.list(KEYS[*prefix], after.as_ref(), *limit).await.unwrap(), expected);
        }
        Step::OpenAgain => {}
    }
}

async fn expectation(reference: &MemoryJournal, key: usize, current: bool) -> (RecordKey, Option<Revision>) {
    let key = RecordKey::new(KEYS[key]).unwrap();
    let revision = reference.get(&key).await.unwrap().map(|record| record.revision);
    (key, if current { revision } else { Some(Revision(1)) })
}

/// At the end everything is read from both.
async fn compare_all(reference: &MemoryJournal, journal: &SqliteJournal) {
    for n in 0..NAMES {
        assert_eq!(journal.head(&name(n)).await.unwrap(), reference.head(&name(n)).await.unwrap());
        let all = ReplayRange::all(&name(n));
        assert_eq!(replayed(journal, all.clone()).await, replayed(reference, all).await);
    }
    let expected = reference.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 1_000).await.unwrap();
    assert!(expected.items.windows(2).all(|pair: &[PageItem]| pair[0].offset() < pair[1].offset()));
    assert_eq!(journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 1_000).await.unwrap(), expected);
    for tag in TAGS {
        let tag = Tag::new(tag).unwrap();
        let expected = reference.events_by_tag(&tag, Offset::BEGINNING, 1_000).await.unwrap();
        assert_eq!(journal.events_by_tag(&tag, Offset::BEGINNING, 1_000).await.unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_the_reference_does(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("model.db");
            let options = Options::default().durability(Durability::Os);
            let reference = MemoryJournal::new();
            let mut journal = SqliteJournal::open(&path, options).await.unwrap();
            for step in &steps {
                if matches!(step, Step::OpenAgain) {
                    journal.database().close().await;
                    journal = SqliteJournal::open(&path, options).await.unwrap();
                }
                compare(&reference, &journal, step).await;
            }
            compare_all(&reference, &journal).await;
        });
    }
}
