//! An id whose key was destroyed: every way of reading and writing says *erased*, as what it is, and the ids beside it go on. Over each backend.
#![cfg(all(feature = "sqlite", feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use annals_journal::encryption::{
    DataKeyOptions, DataKeys, Eraser, ErasureLog, RingKeys, SealedJournal, SealedOptions,
};
use annals_journal::sqlite::rusqlite::Connection;
use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{
    AtomicWrite, Envelope, Head, Journal, JournalError, JournalExt as _, MemoryJournal, Offset, PageItem,
    PersistenceId, Record, RecordChange, RecordKey, Records, ReplayRange, Replayed, SliceRange, Tag,
    Timestamp, Verdict, Write,
};
use behind_keys::{ring, sealed};
use futures::TryStreamExt as _;
use support::{append, id, nr, token};

struct Told {
    journal: SealedJournal,
    inner: Arc<dyn Journal>,
    records: Arc<dyn Records>,
    home: tempfile::TempDir,
}

impl Told {
    /// Over each backend.
    async fn all() -> [Self; 2] {
        let memory = Arc::new(MemoryJournal::new());
        let home = tempfile::tempdir().unwrap();
        let sqlite = SqliteJournal::open(home.path().join("journal.db"), Options::default()).await.unwrap();
        let sqlite = Arc::new(sqlite);
        let homeless = tempfile::tempdir().unwrap();
        [Self::over(memory.clone(), memory, homeless).await, Self::over(sqlite.clone(), sqlite, home).await]
    }

    async fn over(inner: Arc<dyn Journal>, records: Arc<dyn Records>, home: tempfile::TempDir) -> Self {
        let journal = sealed(inner.clone(), records.clone()).await;
        Self { journal, inner, records, home }
    }

    fn eraser(&self) -> Eraser {
        Eraser::new(self.inner.clone(), self.records.clone())
    }

    async fn erase(&self, id: &PersistenceId) {
        let mut log = ErasureLog::open(log(self.home.path())).unwrap();
        self.eraser().erase(id, &mut log).await.unwrap();
    }

    /// A process that has nothing in memory yet.
    async fn another(&self) -> SealedJournal {
        sealed(self.inner.clone(), self.records.clone()).await
    }

    async fn append(
        &self,
        id: &PersistenceId,
        owner: u64,
        expected: u64,
        count: u64,
    ) -> Result<Head, JournalError> {
        self.journal.append(tagged(append(id, token(1, owner), expected, count))).await
    }
}

fn log(home: &Path) -> std::path::PathBuf {
    home.join("erased.jsonl")
}

fn blue() -> Tag {
    Tag::new("blue").unwrap()
}

/// Every second event is blue.
fn tagged(append: AtomicWrite) -> AtomicWrite {
    let tag = |event: Envelope| match event.seq_nr.get() % 2 {
        0 => Envelope { tags: vec![blue()], ..event },
        _ => event,
    };
    AtomicWrite { events: append.events.into_iter().map(tag).collect(), ..append }
}

fn shown(item: &Replayed) -> String {
    match item {
        Replayed::Event(event) => event.envelope.seq_nr.to_string(),
        Replayed::Erased { from, to } => format!("erased {from}-{to}"),
        other => format!("{other:?}"),
    }
}

async fn replayed(journal: &SealedJournal, range: ReplayRange) -> Result<String, JournalError> {
    let items: Vec<_> = journal.replay(range).try_collect().await?;
    Ok(items.iter().map(shown).collect::<Vec<_>>().join(", "))
}

/// All pages of so many items; each but the last is full, and offsets rise.
async fn pages(journal: &SealedJournal, tag: Option<&Tag>, limit: usize) -> Vec<String> {
    let (mut after, mut shown) = (Offset::BEGINNING, Vec::new());
    loop {
        let page = match tag {
            None => journal.events_by_slice(SliceRange::ALL, after, limit).await.unwrap(),
            Some(tag) => journal.events_by_tag(tag, after, limit).await.unwrap(),
        };
        assert!(page.items.len() <= limit && page.complete_to >= after);
        for item in &page.items {
            assert!(item.offset() > after && item.offset() <= page.complete_to);
            after = item.offset();
            shown.push(match item {
                PageItem::Event(event) => {
                    let Envelope { persistence_id, seq_nr, .. } = &event.envelope;
                    format!("{}{seq_nr}", persistence_id.entity_id())
                }
                PageItem::Erased { persistence_id, from, to, .. } => {
                    format!("{} erased {from}-{to}", persistence_id.entity_id())
                }
                other => format!("{other:?}"),
            });
        }
        if page.items.len() < limit {
            return shown;
        }
        after = page.complete_to;
    }
}

#[tokio::test]
async fn every_way_of_reading_says_that_it_was_erased_and_nothing_else_fails() {
    for told in Told::all().await {
        let (alice, bob) = (id("alice"), id("bob"));
        for number in 0..6 {
            told.append(&alice, 1, number, 1).await.unwrap();
            told.append(&bob, 1, number, 1).await.unwrap();
        }
        told.erase(&alice).await;
        for journal in [told.another().await] {
            assert_eq!(replayed(&journal, ReplayRange::all(&alice)).await.unwrap(), "erased 1-6");
            let part = ReplayRange::all(&alice).from(nr(2)).to(nr(5));
            assert_eq!(replayed(&journal, part.clone()).await.unwrap(), "erased 2-5");
            assert_eq!(replayed(&journal, part.limit(2)).await.unwrap(), "erased 2-3");
            assert_eq!(replayed(&journal, ReplayRange::all(&bob)).await.unwrap(), "1, 2, 3, 4, 5, 6");
            let head = journal.head(&alice).await.unwrap();
            assert_eq!((head.seq_nr, head.erased_to), (nr(6), nr(6)));
            assert_eq!(journal.head(&bob).await.unwrap().erased_to, nr(0));
            for limit in [1, 2, 3, 5, 100] {
                let all = ["bob1", "bob2", "bob3", "bob4", "bob5", "alice erased 1-6", "bob6"];
                assert_eq!(pages(&journal, None, limit).await, all, "{limit} a page");
            }
            let blues = ["alice erased 1-6", "bob2", "bob4", "bob6"];
            assert_eq!(pages(&journal, Some(&blue()), 100).await, blues);
        }
    }
}

/// Whoever has the keys in memory is told at the claim that being superseded leads to, whatever reads them at the same time.
#[tokio::test]
async fn an_owner_with_warm_caches_is_superseded_and_then_told() {
    for told in Told::all().await {
        let alice = id("alice");
        told.journal.claim(&alice, token(1, 1)).await.unwrap();
        told.append(&alice, 1, 0, 3).await.unwrap();
        told.erase(&alice).await;
        let error = told.append(&alice, 1, 3, 1).await.unwrap_err();
        let JournalError::Superseded { stored, .. } = error else { panic!("{error:?}") };
        for list in [false, true] {
            let newer = token(1, stored.activation + 1 + u64::from(list));
            let error = if list {
                // Together with another id's.
                let claim = |id: &PersistenceId| Write::Claim { persistence_id: id.clone(), token: newer };
                told.append(&id("bob"), 1, 0, 1).await.unwrap();
                let mut answers = told.journal.write(vec![claim(&alice), claim(&id("bob"))]).await;
                answers.pop().unwrap().unwrap();
                answers.pop().unwrap().unwrap_err()
            } else {
                told.journal.claim(&alice, newer).await.unwrap_err()
            };
            let JournalError::Erased { persistence_id, seq_nr } = error else { panic!("{error:?}") };
            assert_eq!((persistence_id, seq_nr), (alice.clone(), Some(nr(3))));
            let error = told.append(&alice, newer.activation, 3, 1).await.unwrap_err();
            assert!(matches!(error, JournalError::Erased { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_new_life_goes_on_from_the_old_number_and_is_all_that_can_be_read() {
    for told in Told::all().await {
        let (alice, eraser) = (id("alice"), told.eraser());
        told.append(&alice, 1, 0, 4).await.unwrap();
        told.erase(&alice).await;
        assert!(eraser.allow_new_life(&alice).await.unwrap());
        let owner = told.journal.head(&alice).await.unwrap().token.activation + 1;
        let head = told.journal.claim(&alice, token(1, owner)).await.unwrap();
        assert_eq!((head.seq_nr, head.erased_to), (nr(4), nr(4)), "it begins behind the old one");
        told.append(&alice, owner, 4, 3).await.unwrap();
        for journal in [&told.journal, &told.another().await] {
            let head = journal.claim(&alice, token(1, owner + 1)).await.unwrap();
            assert_eq!((head.seq_nr, head.erased_to), (nr(7), nr(4)));
            let lives = ReplayRange::all(&alice).from(head.erased_to.next());
            assert_eq!(replayed(journal, lives).await.unwrap(), "5, 6, 7");
            assert_eq!(replayed(journal, ReplayRange::all(&alice)).await.unwrap(), "erased 1-4, 5, 6, 7");
            assert_eq!(pages(journal, None, 2).await, ["alice erased 1-4", "alice5", "alice6", "alice7"]);
        }

        // Events of the new life may be deleted, and it may be erased as well.
        told.journal.delete_to(&alice, nr(5)).await.unwrap();
        let deleted_to_5 =
            replayed(&told.another().await, ReplayRange::all(&alice).from(nr(6))).await.unwrap();
        assert_eq!(deleted_to_5, "6, 7");
        told.erase(&alice).await;
        let another = told.another().await;
        assert_eq!(replayed(&another, ReplayRange::all(&alice).from(nr(6))).await.unwrap(), "erased 6-7");
        assert!(matches!(another.claim(&alice, token(2, 1)).await, Err(JournalError::Erased { .. })));
    }
}

/// The chain needs no data key: what was changed or cut off is found among erased events, too.
#[tokio::test]
async fn erased_events_are_still_checked() {
    let told = Told::all().await.into_iter().next_back().unwrap();
    let alice = id("alice");
    told.append(&alice, 1, 0, 4).await.unwrap();
    told.erase(&alice).await;
    let database = Connection::open(told.home.path().join("journal.db")).unwrap();
    let bytes: Vec<u8> =
        database.query_row("SELECT envelope FROM events WHERE seq = 2", (), |row| row.get(0)).unwrap();
    database.execute("UPDATE events SET envelope = ? WHERE seq = 3", [bytes]).unwrap();
    let error = replayed(&told.another().await, ReplayRange::all(&alice)).await.unwrap_err();
    let JournalError::Corrupt { persistence_id, .. } = &error else { panic!("{error:?}") };
    assert_eq!(persistence_id.as_ref(), Some(&alice), "{error}");
}

/// A projection has keys in memory, and claims nothing.
#[tokio::test]
async fn who_only_reads_forgets_the_key_when_it_sees_that_something_was_erased() {
    for told in Told::all().await {
        let alice = id("alice");
        told.append(&alice, 1, 0, 3).await.unwrap();
        let options = DataKeyOptions { watch: Duration::from_millis(10), ..DataKeyOptions::default() };
        let keys =
            DataKeys::open(told.records.clone(), Arc::new(RingKeys::from(ring())), options).await.unwrap();
        let reader = SealedJournal::open(told.inner.clone(), keys, SealedOptions::default()).await.unwrap();
        assert_eq!(replayed(&reader, ReplayRange::all(&alice)).await.unwrap(), "1, 2, 3");
        told.erase(&alice).await;
        let begin = Instant::now();
        while replayed(&reader, ReplayRange::all(&alice)).await.unwrap() != "erased 1-3" {
            assert!(begin.elapsed() < Duration::from_secs(60), "it goes on reading");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reader.keys().close().await;
    }
}

/// Recovering reads an id's key record once, at the claim; those of ids that recover together come in few looks.
#[tokio::test]
async fn claims_and_the_replays_after_them_read_each_key_record_once_and_together() {
    const IDS: usize = 64;
    let told = Told::all().await.into_iter().next().unwrap();
    let ids: Vec<_> = (0..IDS).map(|n| id(&format!("e{n}"))).collect();
    for id in &ids {
        told.append(id, 1, 0, 2).await.unwrap();
    }
    let counted = Arc::new(Counted {
        records: told.records.clone(),
        looks: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
    });
    let journal = sealed(told.inner.clone(), counted.clone()).await;
    let before = (counted.looks.load(Ordering::Relaxed), counted.read.load(Ordering::Relaxed));
    let recover = ids.iter().map(|id| {
        let journal = journal.clone();
        async move {
            journal.claim(id, token(2, 1)).await.unwrap();
            replayed(&journal, ReplayRange::all(id)).await.unwrap()
        }
    });
    assert!(futures::future::join_all(recover).await.iter().all(|items| items == "1, 2"));
    let looks = counted.looks.load(Ordering::Relaxed) - before.0;
    assert_eq!(counted.read.load(Ordering::Relaxed) - before.1, IDS, "a record an id");
    assert!(looks <= 8, "{looks} looks for {IDS} ids");
}

/// Counts what is read of the records.
#[derive(Debug)]
struct Counted {
    records: Arc<dyn Records>,
    looks: AtomicUsize,
    read: AtomicUsize,
}

#[async_trait::async_trait]
impl Records for Counted {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.records.get(key).await
    }

    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(keys.len(), Ordering::Relaxed);
        self.records.get_all(keys).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.records.list(prefix, after, limit).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        self.records.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.records.now().await
    }
}
